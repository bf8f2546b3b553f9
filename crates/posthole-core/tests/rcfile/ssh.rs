//! Our reading of ssh's command line against `ssh -G`, run by a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use posthole_core::fetchmailrc::ssh_command::SshCommand;

pub(crate) fn commands_mean_the_same_to_ssh() {
    let dir = tempfile::tempdir().unwrap();
    let ssh = dir.path().join("ssh");
    // Standard output may be redirected.
    fs::write(
        &ssh,
        "#!/bin/sh\nexec \"$SSH\" -G -F /dev/null \"$@\" >\"$OUT\"\n",
    )
    .unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
    for command in COMMANDS {
        let ours = SshCommand::of_preconnect(command.as_bytes(), &variable);
        let ours = ours.unwrap_or_else(|reason| panic!("{command}: {reason}"));
        let theirs = resolve(dir.path(), command);
        check(command, &ours, &theirs);
    }
}

fn variable(name: &str) -> Option<String> {
    match name {
        "HOME" => Some("/home/me".to_owned()),
        "USER" => Some("me".to_owned()),
        _ => None,
    }
}

/// The lines that `ssh -G` prints.
fn resolve(dir: &Path, command: &str) -> Vec<String> {
    let real = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|dir| dir.join("ssh"))
        .find(|ssh| ssh.is_file())
        .unwrap();
    let out = dir.join("out");
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .env_clear()
        .env("HOME", variable("HOME").unwrap())
        .env("USER", variable("USER").unwrap())
        .env("OUT", &out)
        .env("SSH", real)
        .env("PATH", format!("{}:/bin:/usr/bin", dir.display()))
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {words}");
    let resolved = fs::read_to_string(&out).unwrap();
    resolved.lines().map(str::to_owned).collect()
}

#[track_caller]
fn check(command: &str, ours: &SshCommand, theirs: &[String]) {
    let all = |keyword: &str| -> Vec<&str> {
        let lines = theirs.iter().filter_map(|line| line.split_once(' '));
        let lines = lines.filter(|(found, _)| found.eq_ignore_ascii_case(keyword));
        lines.map(|(_, value)| value).collect()
    };
    assert_eq!(all("hostname"), [ours.host.as_str()], "{command}");
    if let Some(user) = &ours.user {
        assert_eq!(all("user"), [user.as_str()], "{command}");
    }
    assert_eq!(
        all("port"),
        [ours.port.unwrap_or(22).to_string()],
        "{command}"
    );
    let forwards: Vec<_> = ours
        .forwards
        .iter()
        .map(|forward| {
            let port = forward.port;
            let listen = forward
                .bind
                .as_ref()
                .map_or_else(|| port.to_string(), |bind| format!("[{bind}]:{port}"));
            format!("{listen} [{}]:{}", forward.to.host, forward.to.port)
        })
        .collect();
    assert_eq!(all("localforward"), forwards, "{command}");
    let mut seen = Vec::new();
    for setting in &ours.settings {
        let keyword = setting.keyword.to_ascii_lowercase();
        // ssh leaves key files out that do not exist.
        if keyword != "identityfile" && !seen.contains(&keyword) {
            assert_eq!(
                all(&keyword),
                [setting.value.as_str()],
                "{command}: {keyword}"
            );
            seen.push(keyword);
        }
    }
}

const COMMANDS: &[&str] = &[
    "ssh -C -f msingh@popserver -L 11110:popserver:110 sleep 5",
    "ssh -f -L 1234:localhost:110 me@gate sleep 20 </dev/null >/dev/null",
    "ssh -q -C -f -L 2110:pop.example.org:110 -l me gate.example.org 'sleep 20' > /dev/null 2>&1",
    "exec ssh -fN -L1110:localhost:pop3 -i ~/.ssh/id_mail -p2222 gate",
    "ssh -x -a -T -n -f -o BatchMode=yes -o 'ConnectTimeout 10' -L 9110:127.0.0.1:110 gate /bin/sleep 15",
    "ssh -46CfNL 1:a:2 h",
    "ssh -NL 1:a:2 -b 10.0.0.1 -b 10.0.0.2 -B eth0 -c aes128-ctr -m hmac-sha2-256 -S /run/ctl -J a,b h",
    "ssh -NL 1:a:2 -e none -o Compression=no -C -o ServerAliveInterval=1 -o serveraliveinterval=2 h",
    "ssh -NL 1:a:2 -l one -l two three@h",
    "ssh -NL 1:a:2 -o User=one -o user=two three@h",
    "ssh -NL 1:a:2 three@h -o User=one",
    "ssh -NL 1:a:2 -o User=one -l two h",
    "ssh -NL 1:a:2 -p 22 -p 23 -o Port=24 h",
    "ssh -NL 1:a:2 -o Port=24 -p 23 h",
    "ssh -NL 1:a:2 ssh://u%40x@h:2222",
    "ssh -NL 1:a:2 -p 23 'ssh://u;x=y@h:2222/'",
    "ssh -NL 1:a:2 u@x@h",
    "ssh -NL 1:a:2 ::1",
    "ssh -NL 1:a:2 -- h",
    "ssh -NL 1:a:2 h -- sleep 5",
    "ssh -L 1:a:2 -- h sleep -p 5",
    "ssh h -NL 1:a:2 -C",
    "ssh h -L 1:a:2 sleep -p 5",
    "ssh -N -oLocalForward='1 a:2' -o 'LocalForward=[::1]:3 [::2]:4' h",
    "ssh -NL 1:a:2 -o'ServerAliveInterval = 30' -oProxyCommand='nc %h %p' h",
    "ssh -o SessionType=none -L 1:a:2 h",
    "ssh -NL localhost:1:a:2 -L *:3:b:4 -L :5:c:6 -L '[::1]:7:[2001:db8::1]:pop3s' -L 8:[::1]:9 h",
    "ssh -NL 1:a:2 \\\n  h",
    "s'sh' -\"N\"L 1:'a':\\2 h",
    "ssh -NL 1:a:2 -l \"$USER\" -p '2'2 ${USER}-host # comment",
    "ssh -NL 1:a:2 -l '$USER' -o UserKnownHostsFile=\"$HOME/a\" h",
    "ssh -NL 1:a:2 h 2>/dev/null >>/dev/null",
];
