//! What three versions of OpenSSH print, and programs that are no good `ssh`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use russh::keys::ssh_key::private::{KeypairData, SkEd25519};
use russh::keys::ssh_key::{LineEnding, public};
use russh::keys::{Algorithm, PrivateKey};
use rustix::process::Pid;
use tempfile::TempDir;

use super::*;

/// By the versions in Debian 11, 12 and 13: what `ssh -G` prints without and with a configuration.
const RECORDED: &[(&str, &str, &str)] = &[
    (
        "8.4",
        include_str!("recorded/8.4-defaults.txt"),
        include_str!("recorded/8.4-full.txt"),
    ),
    (
        "9.2",
        include_str!("recorded/9.2-defaults.txt"),
        include_str!("recorded/9.2-full.txt"),
    ),
    (
        "10.0",
        include_str!("recorded/10.0-defaults.txt"),
        include_str!("recorded/10.0-full.txt"),
    ),
];

#[test]
fn versions_say_the_same_in_different_words() {
    for (version, defaults, full) in RECORDED {
        let answer = Answer::parse(full);
        for (keyword, value) in [
            ("user", "ms"),
            ("hostname", "popserver.example.org"),
            ("port", "2222"),
            ("identityagent", "/home/msingh/.ssh/agent_ms"),
            (
                "userknownhostsfile",
                "/home/msingh/hosts /home/msingh/more hosts",
            ),
            ("globalknownhostsfile", "none"),
            ("proxyjump", "a@gate:22,[2001:db8::1]:33"),
            ("stricthostkeychecking", "accept-new"),
            ("rekeylimit", "1073741824 3600"),
            ("pubkeyacceptedalgorithms", "ssh-ed25519"),
            ("ciphers", "aes128-gcm@openssh.com,aes256-ctr"),
        ] {
            assert_eq!(answer.get(keyword), Some(value), "{version} {keyword}");
        }
        let identities = ["~/.ssh/id_pop", "/keys/with blank"];
        assert_eq!(answer.all("identityfile"), identities, "{version}");
        assert_eq!(answer.get("proxycommand"), None, "{version}");

        let defaults = Answer::parse(defaults);
        assert_eq!(
            defaults.get("controlpath"),
            Some("/home/msingh"),
            "{version}"
        );
        assert_eq!(defaults.get("proxyjump"), None, "{version}");
        assert!(defaults.all("identityfile").len() > 4, "{version}");
    }
}

#[test]
fn odd_lines_are_no_mistake() {
    let answer = Answer::parse("\nPort 22\ncanonicaldomains \nbare\n new thing\nport 23\n");
    assert_eq!(answer.all("port"), ["22", "23"]);
    assert_eq!(answer.get("canonicaldomains"), Some(""));
    assert_eq!(answer.get("bare"), Some(""));
    assert_eq!(answer.get("absent"), None);
}

/// Whoever adds a keyword to the recordings decides what is done with it.
#[test]
fn the_manual_says_what_is_done_with_every_keyword() {
    let manual = include_str!("../../../../doc/posthole.toml.5").to_lowercase();
    let words: Vec<&str> = manual.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let recorded = RECORDED
        .iter()
        .flat_map(|(_, defaults, full)| [defaults, full]);
    for line in recorded.flat_map(|text| text.lines()) {
        let answer = Answer::parse(line);
        for keyword in answer.settings.keys() {
            assert!(words.contains(&keyword.as_str()), "{keyword}");
        }
    }
}

/// A program in the place of `ssh`.
fn ssh(script: &str) -> (TempDir, Ssh) {
    ssh_within(Duration::from_secs(60), script)
}

fn ssh_within(limit: Duration, script: &str) -> (TempDir, Ssh) {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("ssh");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (dir, Ssh::of(program, limit))
}

fn query(host: &str) -> Query {
    Query {
        host: host.to_owned(),
        ..Query::default()
    }
}

#[test]
fn nothing_is_asked_twice() {
    let (dir, ssh) = ssh("echo \"$*\" >> \"$0.log\"; echo \"hostname of-$$\"");
    let first = ssh.answer(&query("h")).unwrap().unwrap();
    let again = ssh.answer(&query("h")).unwrap().unwrap();
    assert_eq!(first, again);
    ssh.answer(&Query::defaults()).unwrap().unwrap();
    let mut log: Vec<_> = fs::read_to_string(dir.path().join("ssh.log"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    log.sort();
    assert_eq!(
        log,
        [
            "-G -T -- h",
            "-G -T -F /dev/null -o ControlPath=\"%d\" -- localhost"
        ]
    );
}

#[test]
fn what_is_known_already_is_told_to_ssh() {
    let (dir, ssh) = ssh("echo \"$*\" >> \"$0.log\"");
    let query = Query {
        host: "h".to_owned(),
        user: Some("u".to_owned()),
        port: Some(2222),
        hostname: Some("192.0.2.1".to_owned()),
        is_behind: true,
        files: Files::All,
        arguments: vec!["-o".to_owned(), "ConnectTimeout=5".to_owned()],
    };
    ssh.answer(&query).unwrap();
    let log = fs::read_to_string(dir.path().join("ssh.log")).unwrap();
    let expected = "-G -T -p 2222 -l u -o HostName=192.0.2.1 -o ProxyJump=none \
                    -o ConnectTimeout=5 -- h\n";
    assert!(log.contains(expected), "{log}");
}

#[test]
fn tokens_in_file_names_are_left_to_ssh() {
    let (_dir, ssh) = ssh(r#"for argument; do
               case $argument in ControlPath=*) echo "controlpath ${argument#*=} expanded";; esac
           done
           echo 'identityfile ~/.ssh/id_plain'
           echo 'identityfile ~/.ssh/id_%h'
           echo 'identityfile ~root/id'
           echo 'certificatefile ${X}'
           echo 'certificatefile "odd"%h'"#);
    let answer = ssh.answer(&query("h")).unwrap().unwrap();
    assert_eq!(
        answer.all("identityfile"),
        [
            "~/.ssh/id_plain",
            "\"~/.ssh/id_%h\" expanded",
            "\"~root/id\" expanded"
        ]
    );
    assert_eq!(
        answer.all("certificatefile"),
        ["\"${X}\" expanded", "\"odd\"%h"]
    );
}

#[test]
fn a_mistake_in_the_configuration_is_told_in_the_words_of_ssh() {
    let (_dir, ssh) = ssh(
        "echo '/home/me/.ssh/config: line 2: Bad configuration option: fooo' >&2
         printf '/home/me/.ssh/config: terminating, 1 bad configuration options\\r\\n' >&2
         exit 255",
    );
    let error = ssh.answer(&query("h")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "OpenSSH's configuration for h does not work: /home/me/.ssh/config: line 2: Bad \
         configuration option: fooo; /home/me/.ssh/config: terminating, 1 bad configuration options"
    );
    assert!(error.hint().contains("`ssh h` fails"), "{}", error.hint());
}

#[test]
fn a_connection_that_the_configuration_forbids_is_an_error() {
    let (_dir, ssh) = ssh("echo 'refuseconnection not from here'");
    let error = ssh.answer(&query("h")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "OpenSSH's configuration forbids connections to h: not from here"
    );
}

#[test]
fn without_an_ssh_that_works_there_is_no_answer() {
    let missing = Ssh::of("/nowhere/ssh".into(), Duration::from_secs(20));
    assert!(missing.answer(&query("h")).unwrap().is_none());
    let (_dir, nobody) = ssh("echo 'No user exists for uid 1234' >&2; exit 255");
    assert!(nobody.answer(&query("h")).unwrap().is_none());
}

#[test]
fn a_host_is_never_taken_for_an_option() {
    let (dir, ssh) = ssh("echo called > \"$0.log\"");
    ssh.answer(&Query::defaults()).unwrap();
    fs::remove_file(dir.path().join("ssh.log")).unwrap();
    let error = ssh.answer(&query("-oProxyCommand=id")).unwrap_err();
    assert!(matches!(error, OpenSshError::Host));
    assert!(!dir.path().join("ssh.log").exists());
}

#[test]
fn an_ssh_that_hangs_is_killed_with_all_it_started() {
    let (dir, ssh) = ssh_within(
        Duration::from_millis(500),
        "echo half >&2; sleep 600 & echo $! > \"$0.pid\"; wait",
    );
    let started = Instant::now();
    let error = ssh.answer(&Query::defaults()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`ssh -G localhost` took longer than 500ms; it said: half"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    let deadline = Instant::now() + Duration::from_secs(10);
    // Whoever inherits it may take a moment to notice its end.
    while !is_over(pid(&dir)) {
        assert!(Instant::now() < deadline, "it is still there");
        std::thread::yield_now();
    }
}

/// What a script wrote about a process of its own.
fn pid(dir: &TempDir) -> Pid {
    let text = fs::read_to_string(dir.path().join("ssh.pid")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn is_over(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}

#[test]
fn what_a_match_exec_leaves_behind_is_neither_waited_for_nor_killed() {
    let (dir, ssh) = ssh("sleep 600 & echo $! > \"$0.pid\"; echo 'port 2222'");
    let started = Instant::now();
    let answer = ssh.answer(&Query::defaults()).unwrap().unwrap();
    assert_eq!(answer.get("port"), Some("2222"));
    assert!(started.elapsed() < Duration::from_secs(10));
    let left = pid(&dir);
    assert!(!is_over(left));
    rustix::process::kill_process(left, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn an_ssh_that_prints_without_end_is_stopped() {
    let (_dir, ssh) = ssh("yes");
    let error = ssh.answer(&Query::defaults()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`ssh -G localhost` printed more than 256 KiB"
    );
}

#[test]
fn a_security_key_is_known_by_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, key: &PrivateKey| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, key.to_openssh(LineEnding::LF).unwrap()).unwrap();
        path
    };
    let mut rng = russh::keys::key::safe_rng();
    let plain = PrivateKey::random(&mut rng, Algorithm::Ed25519).unwrap();
    let public = public::SkEd25519::new(
        *plain.public_key().key_data().ed25519().unwrap(),
        "ssh:".to_owned(),
    );
    let sk = SkEd25519::new(public, 1, vec![7; 32]).unwrap();
    let sk = PrivateKey::new(KeypairData::SkEd25519(sk), "").unwrap();
    let ssh = Ssh::new();
    assert_eq!(ssh.is_security_key(&write("sk", &sk)), Some(true));
    assert_eq!(ssh.is_security_key(&write("plain", &plain)), Some(false));
    let locked = plain.encrypt(&mut rng, "secret").unwrap();
    assert_eq!(ssh.is_security_key(&write("locked", &locked)), Some(false));
    let pem = dir.path().join("pem");
    fs::write(&pem, "-----BEGIN RSA PRIVATE KEY-----\n…").unwrap();
    assert_eq!(ssh.is_security_key(&pem), Some(false));
    fs::write(&pem, "no key").unwrap();
    assert_eq!(ssh.is_security_key(&pem), None);
    assert_eq!(ssh.is_security_key(&dir.path().join("missing")), None);
}
