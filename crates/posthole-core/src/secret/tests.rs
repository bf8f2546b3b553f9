//! Passwords from real shells and real files; nothing here waits for anything but them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::time::{Duration, Instant};

use expect_test::expect;

use super::*;
use crate::ask::{HostKeyQuestion, Unanswered};
use crate::plan::{Keyring, NetrcEntry};

/// Answers one after another, and counts the questions.
struct Answers {
    answers: Mutex<Vec<Result<SecretString, Unanswered>>>,
    asked: AtomicUsize,
}

impl Answers {
    fn new<const N: usize>(answers: [Result<&str, Unanswered>; N]) -> Arc<Self> {
        let answers = answers
            .into_iter()
            .rev()
            .map(|answer| answer.map(SecretString::from));
        Arc::new(Self {
            answers: Mutex::new(answers.collect()),
            asked: AtomicUsize::new(0),
        })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Ask for Answers {
    fn secret(&self, _: &SecretQuestion) -> Result<SecretString, Unanswered> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answers
            .lock()
            .unwrap()
            .pop()
            .unwrap_or(Err(Unanswered::NoTerminal))
    }

    fn trust_host_key(&self, _: &HostKeyQuestion) -> Result<bool, Unanswered> {
        Ok(true)
    }
}

fn mail() -> SecretQuestion {
    SecretQuestion::MailPassword {
        account: "work".to_owned(),
        login: "msingh@localhost".to_owned(),
    }
}

fn passphrase(again: bool) -> SecretQuestion {
    SecretQuestion::Passphrase {
        key: PathBuf::from("/home/me/.ssh/id_pop"),
        again,
    }
}

fn nobody() -> Arc<dyn Ask> {
    Answers::new([])
}

async fn get(source: PasswordSource) -> Result<String, SecretError> {
    Ok(source
        .resolve(&nobody(), mail())
        .await?
        .expose_secret()
        .to_owned())
}

async fn output_of(command: &str) -> Result<String, SecretError> {
    get(PasswordSource::Command(command.to_owned())).await
}

fn render(error: &SecretError) -> String {
    format!("{error}\n  hint: {}\n", error.hint().unwrap_or_default())
}

#[tokio::test]
async fn a_command_gives_its_first_line_as_it_is() {
    for (command, password) in [
        ("echo hunter2", "hunter2"),
        ("printf hunter2", "hunter2"),
        ("printf 'hunter2\\r\\nuser: me\\n'", "hunter2"),
        ("printf '  two  blanks\\t \\n'", "  two  blanks\t "),
        ("printf '%s\\n' '#\"=\\$%ü'", "#\"=\\$%ü"),
        ("cat; echo no input", "no input"),
        ("echo one; echo two; exit 0", "one"),
        ("echo hunter2; echo warning >&2", "hunter2"),
    ] {
        assert_eq!(output_of(command).await.unwrap(), password, "{command}");
    }
}

#[tokio::test]
async fn a_command_that_fails_says_why_but_not_what_it_printed() {
    let mut all = String::new();
    for command in [
        "p=hun; echo ${p}ter2; exit 3",
        "p=hun; echo ${p}ter2; printf 'no such\\n\\033[31mentry\\n' >&2; exit 1",
        "no-such-program-anywhere 2>/dev/null",
        "kill -TERM $$",
        "true",
        "p=hun; echo; echo ${p}ter2",
        "echo locked >&2",
        "printf '\\377\\n'",
        "head -c 20000 /dev/zero | tr '\\0' x",
    ] {
        let error = output_of(command).await.unwrap_err();
        all.push_str(&render(&error));
        assert!(
            !format!("{error:?}{error}").contains("hunter2"),
            "{error:?}"
        );
    }
    expect![[r#"
        the password command `p=hun; echo ${p}ter2; exit 3` failed with exit status 3
          hint: run the command in a shell: it must print the password as its first line
        the password command `p=hun; echo ${p}ter2; printf 'no such\n\033[31mentry\n' >&2; exit 1` failed with exit status 1: no such [31mentry
          hint: run the command in a shell: it must print the password as its first line
        the password command `no-such-program-anywhere 2>/dev/null` was not found (exit status 127)
          hint: run the command in a shell: it must print the password as its first line
        the password command `kill -TERM $$` was killed by signal 15
          hint: run the command in a shell: it must print the password as its first line
        the password command `true` printed no password
          hint: run the command in a shell: it must print the password as its first line
        the password command `p=hun; echo; echo ${p}ter2` printed no password
          hint: run the command in a shell: it must print the password as its first line
        the password command `echo locked >&2` printed no password: locked
          hint: run the command in a shell: it must print the password as its first line
        the password command `printf '\377\n'` printed something that is not UTF-8 text
          hint: run the command in a shell: it must print the password as its first line
        the password command `head -c 20000 /dev/zero | tr '\0' x` printed a line that is too long for a password
          hint: run the command in a shell: it must print the password as its first line
    "#]].assert_eq(&all);
}

#[tokio::test]
async fn a_password_among_the_complaints_is_struck_out() {
    let error = output_of("p=hun; p=${p}ter2; echo $p; echo got $p >&2; exit 1")
        .await
        .unwrap_err();
    let SecretError::Command {
        failure: CommandFailure::Failed { stderr, .. },
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(stderr, "got …");

    // Also where the limit cuts it in two.
    let command =
        "p=hun; p=${p}ter2; echo $p; head -c 1020 /dev/zero | tr '\\0' . >&2; echo $p >&2; exit 1";
    let error = output_of(command).await.unwrap_err();
    let SecretError::Command {
        failure: CommandFailure::Failed { stderr, .. },
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(stderr.trim_end_matches('.'), "");
}

#[tokio::test]
async fn a_command_may_print_more_than_a_pipe_holds() {
    let command = "echo hunter2; head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2";
    assert_eq!(output_of(command).await.unwrap(), "hunter2");
}

#[tokio::test]
async fn what_a_command_leaves_in_the_background_neither_holds_us_up_nor_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (go, alive) = (dir.path().join("go"), dir.path().join("alive"));
    make_fifo(&go);
    make_fifo(&alive);
    // It holds standard output open until it is told to go.
    let command = format!(
        "(read word < '{}'; echo $word > '{}') & echo hunter2",
        go.display(),
        alive.display()
    );
    assert_eq!(output_of(&command).await.unwrap(), "hunter2");
    // Opening a fifo waits for the other side, so a background that was killed fails the test by
    // never coming; that must not take for ever.
    let answer = async {
        tokio::fs::write(&go, "on\n").await.unwrap();
        tokio::fs::read_to_string(&alive).await.unwrap()
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
    if answer.is_err() {
        // Let go of the threads that wait, or the runtime waits for them.
        for fifo in [&go, &alive] {
            drop(
                std::fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(fifo),
            );
        }
    }
    assert_eq!(answer.as_deref(), Ok("on\n"));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_hangs_is_killed_with_all_that_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let (ready, pid) = (dir.path().join("ready"), dir.path().join("pid"));
    // The clock stands still while a blocking read waits, here for the grandchild to run, and
    // then leaps to the end of the time limit.
    make_fifo(&ready);
    let command = format!(
        "echo waiting for you >&2; sh -c 'echo $$ > \"{}\"; echo > \"{}\"; sleep 600' & wait",
        pid.display(),
        ready.display()
    );
    let (error, ()) = tokio::join!(
        async {
            command::run(&command, command::TIME_LIMIT)
                .await
                .unwrap_err()
        },
        async {
            let line = tokio::fs::read(&ready).await.unwrap();
            assert_eq!(line, b"\n");
        },
    );
    assert!(matches!(
        &error,
        SecretError::Command {
            failure: CommandFailure::TimedOut { .. },
            ..
        }
    ));
    let said = render(&error).replace(&command, "…");
    expect![[r#"
        the password command `…` did not finish within 2m: waiting for you
          hint: run the command in a shell and see what it waits for; it has no terminal to ask on
    "#]]
    .assert_eq(&said);
    wait_for_end(read_pid(&pid)).await;
}

#[tokio::test]
async fn a_command_that_nobody_waits_for_any_more_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (ready, pid) = (dir.path().join("ready"), dir.path().join("pid"));
    make_fifo(&ready);
    let command = format!(
        "echo $$ > '{}'; echo > '{}'; sleep 600",
        pid.display(),
        ready.display()
    );
    tokio::select! {
        _ = output_of(&command) => panic!("it ended"),
        line = tokio::fs::read(&ready) => assert_eq!(line.unwrap(), b"\n"),
    }
    wait_for_end(read_pid(&pid)).await;
}

#[tokio::test]
async fn a_file_gives_its_first_line_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pw");
    for (content, password) in [
        (&b"hunter2"[..], "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b" hunter2 \nsecond", " hunter2 "),
        ("pässwörd\n".as_bytes(), "pässwörd"),
    ] {
        write(&path, content, 0o600);
        assert_eq!(
            get(PasswordSource::File(path.clone())).await.unwrap(),
            password
        );
    }
}

#[tokio::test]
async fn a_file_without_a_password_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pw");
    let mut all = String::new();
    let long = vec![b'x'; 20_000];
    for (content, mode) in [
        (&b""[..], 0o600),
        (b"\nhunter2\n", 0o600),
        (b"\xff\n", 0o600),
        (&long, 0o600),
        (b"hunter2", 0o640),
        (b"hunter2", 0o604),
    ] {
        write(&path, content, mode);
        let error = get(PasswordSource::File(path.clone())).await.unwrap_err();
        all.push_str(&render(&error));
    }
    let error = get(PasswordSource::File("/nonexistent".into()))
        .await
        .unwrap_err();
    all.push_str(&render(&error));
    assert!(std::error::Error::source(&error).is_some());
    let all = all.replace(path.to_str().unwrap(), "FILE");
    expect![[r#"
        the password file FILE has nothing in its first line
          hint: the password is the whole first line of the file
        the password file FILE has nothing in its first line
          hint: the password is the whole first line of the file
        the password file FILE is not UTF-8 text
          hint: save the file as UTF-8
        the first line of the password file FILE is too long for a password
          hint: the password is the whole first line of the file
        the password file FILE is open to others (its mode is 640)
          hint: run `chmod 600 FILE`
        the password file FILE is open to others (its mode is 604)
          hint: run `chmod 600 FILE`
        cannot read the password file /nonexistent
          hint: write the password into it as its first line, or say where else to get it
    "#]]
    .assert_eq(&all);
}

#[test]
fn only_our_own_files_must_be_ours_alone() {
    for (mode, owner, open) in [
        (0o600, 1000, false),
        (0o400, 1000, false),
        (0o640, 1000, true),
        (0o604, 1000, true),
        (0o620, 1000, true),
        // /run/credentials and /run/secrets are root's.
        (0o440, 0, false),
        (0o444, 0, false),
    ] {
        assert_eq!(
            is_open_to_others(mode, owner, 1000),
            open,
            "{mode:o} of {owner}"
        );
    }
}

fn keyring(bus: Option<&str>) -> PasswordSource {
    let attributes = [("host", "localhost"), ("user", "m singh")];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    PasswordSource::Keyring(Keyring {
        bus: bus.map(str::to_owned),
        attributes: vec![attributes.to_vec()],
    })
}

#[tokio::test]
async fn without_a_session_there_is_no_keyring() {
    let mut all = String::new();
    for bus in [None, Some("nonsense"), Some("unix:path=/nonexistent/bus")] {
        all.push_str(&render(&get(keyring(bus)).await.unwrap_err()));
    }
    expect![[r#"
        no password from the keyring (`secret-tool lookup host localhost user 'm singh'`): this process belongs to no desktop session
          hint: only programs of a desktop session reach its keyring; from cron(8), set DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/UID/bus
        no password from the keyring (`secret-tool lookup host localhost user 'm singh'`): the session's D-Bus cannot be reached: address error: Invalid address. See https://dbus.freedesktop.org/doc/dbus-specification.html#addresses
          hint: only programs of a desktop session reach its keyring; from cron(8), set DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/UID/bus
        no password from the keyring (`secret-tool lookup host localhost user 'm singh'`): the session's D-Bus cannot be reached: failed to connect to `unix:path=/nonexistent/bus`: No such file or directory (os error 2)
          hint: only programs of a desktop session reach its keyring; from cron(8), set DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/UID/bus
    "#]].assert_eq(&all);
}

#[tokio::test(start_paused = true)]
async fn a_keyring_that_does_not_answer_is_given_up_on() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("bus");
    let _silent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let source = keyring(Some(&format!("unix:path={}", socket.display())));
    let asked = tokio::time::timeout(Duration::from_secs(600), get(source));
    let refused = asked.await.expect("an end of it").unwrap_err();
    assert!(render(&refused).contains("did not answer"), "{refused:?}");
}

#[tokio::test]
async fn a_netrc_entry_gives_its_password() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("netrc");
    let source = || {
        PasswordSource::Netrc(NetrcEntry {
            file: file.clone(),
            machines: vec!["localhost".to_owned(), "popserver".to_owned()],
            login: "msingh".to_owned(),
        })
    };
    write(
        &file,
        b"machine popserver login msingh password \"hunter 2\"\n",
        0o600,
    );
    assert_eq!(get(source()).await.unwrap(), "hunter 2");
    let mut all = String::new();
    for (content, mode) in [
        (
            &b"machine popserver login msingh password hunter2"[..],
            0o644,
        ),
        (b"machine popserver login other password hunter2", 0o600),
        (
            b"machine popserver login msingh password \"hun\\nter2\"",
            0o600,
        ),
        (
            b"machine popserver login msingh password hun\xffter2",
            0o600,
        ),
        (&[b' '; 1024 * 1024 + 1], 0o600),
    ] {
        write(&file, content, mode);
        let error = get(source()).await.unwrap_err();
        assert!(!format!("{error:?}").contains("ter2"), "{error:?}");
        all.push_str(&render(&error));
    }
    std::fs::remove_file(&file).unwrap();
    all.push_str(&render(&get(source()).await.unwrap_err()));
    let all = all.replace(file.to_str().unwrap(), "FILE");
    expect![[r#"
        the password file FILE is open to others (its mode is 644)
          hint: run `chmod 600 FILE`
        FILE has no password for the login msingh on localhost or popserver
          hint: write into it: machine localhost login msingh password …
        FILE has an unusable password for the login msingh on localhost or popserver
          hint: write into it: machine localhost login msingh password …
        FILE has an unusable password for the login msingh on localhost or popserver
          hint: write into it: machine localhost login msingh password …
        cannot read FILE
          hint: write into it: machine localhost login msingh password …
        cannot read FILE
          hint: write into it: machine localhost login msingh password …
    "#]]
    .assert_eq(&all);
}

#[tokio::test]
async fn a_given_password_is_given() {
    let source = PasswordSource::Given {
        origin: "the configuration file".to_owned(),
        secret: "hunter2".into(),
    };
    assert!(!format!("{source:?}{source}").contains("hunter2"));
    assert_eq!(get(source).await.unwrap(), "hunter2");
}

#[tokio::test]
async fn without_an_answer_it_is_said_what_else_would_do() {
    let mut all = String::new();
    for question in [
        mail(),
        passphrase(false),
        SecretQuestion::SshPassword {
            login: "msingh@popserver".to_owned(),
            again: false,
        },
        SecretQuestion::SshPrompt {
            login: "msingh@popserver".to_owned(),
            prompt: "Code:".to_owned(),
            echo: false,
        },
    ] {
        let error = PasswordSource::Prompt
            .resolve(&nobody(), question)
            .await
            .unwrap_err();
        all.push_str(&render(&error));
    }
    let cancelled: Arc<dyn Ask> = Answers::new([Err(Unanswered::Cancelled), Ok("")]);
    for _ in 0..2 {
        all.push_str(&render(
            &PasswordSource::Prompt
                .resolve(&cancelled, mail())
                .await
                .unwrap_err(),
        ));
    }
    expect![[r#"
        there is no password for msingh@localhost (account `work`): there is no terminal to ask on
          hint: say where to get it, such as --password-command 'pass show mail', or password = { command = "pass show mail" } in the configuration
        there is no passphrase for the key /home/me/.ssh/id_pop: there is no terminal to ask on
          hint: add the key to an ssh-agent with `ssh-add`
        there is no password for the SSH login msingh@popserver: there is no terminal to ask on
          hint: set up a key for the host, or say where to get the password with `password` in [ssh.HOST]
        there is no answer for the SSH login msingh@popserver: there is no terminal to ask on
          hint: only a person can answer what the host asks: run this on a terminal
        there is no password for msingh@localhost (account `work`): the question was not answered
          hint: say where to get it, such as --password-command 'pass show mail', or password = { command = "pass show mail" } in the configuration
        an empty answer is no password for msingh@localhost (account `work`)
          hint: say where to get it, such as --password-command 'pass show mail', or password = { command = "pass show mail" } in the configuration
    "#]].assert_eq(&all);
}

#[tokio::test]
async fn a_person_is_asked_once_for_each_password() {
    let answers = Answers::new([Ok("one"), Ok("two")]);
    let ask: Arc<dyn Ask> = Arc::new(Remember::new(Arc::clone(&answers) as Arc<dyn Ask>));
    for _ in 0..2 {
        let secret = PasswordSource::Prompt.resolve(&ask, mail()).await.unwrap();
        assert_eq!(secret.expose_secret(), "one");
    }
    let secret = PasswordSource::Prompt
        .resolve(&ask, passphrase(false))
        .await
        .unwrap();
    assert_eq!(secret.expose_secret(), "two");
    assert_eq!(answers.asked(), 2);
}

#[test]
fn a_wrong_answer_is_asked_for_again_and_the_right_one_kept() {
    let answers = Answers::new([Ok("wrong"), Ok("right"), Ok("third")]);
    let remember = Remember::new(Arc::clone(&answers) as Arc<dyn Ask>);
    let answer = |again| {
        remember
            .secret(&passphrase(again))
            .unwrap()
            .expose_secret()
            .to_owned()
    };
    assert_eq!(answer(false), "wrong");
    assert_eq!(answer(true), "right");
    assert_eq!(answer(false), "right");
    assert_eq!(answers.asked(), 2);
    remember.forget(&passphrase(false));
    assert_eq!(answer(false), "third");
    assert!(!format!("{remember:?}").contains("third"));
}

#[test]
fn neither_failures_nor_prompts_of_a_server_are_remembered() {
    let answers = Answers::new([
        Err(Unanswered::Cancelled),
        Ok(""),
        Ok("x"),
        Ok("code1"),
        Ok("code2"),
    ]);
    let remember = Remember::new(Arc::clone(&answers) as Arc<dyn Ask>);
    assert!(remember.secret(&mail()).is_err());
    assert_eq!(remember.secret(&mail()).unwrap().expose_secret(), "");
    assert_eq!(remember.secret(&mail()).unwrap().expose_secret(), "x");
    let prompt = SecretQuestion::SshPrompt {
        login: "u@h".to_owned(),
        prompt: "Code:".to_owned(),
        echo: false,
    };
    assert_eq!(remember.secret(&prompt).unwrap().expose_secret(), "code1");
    assert_eq!(remember.secret(&prompt).unwrap().expose_secret(), "code2");
    assert_eq!(answers.asked(), 5);
}

/// Two accounts with the same key start at the same time.
#[test]
fn those_who_ask_the_same_at_once_share_one_answer() {
    let answers = Answers::new([Ok("once"), Ok("twice")]);
    let remember = Remember::new(Arc::clone(&answers) as Arc<dyn Ask>);
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                start.wait();
                let secret = remember.secret(&passphrase(false)).unwrap();
                assert_eq!(secret.expose_secret(), "once");
            });
        }
    });
    assert_eq!(answers.asked(), 1);
}

fn write(path: &Path, content: &[u8], mode: u32) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn make_fifo(path: &Path) {
    assert!(
        std::process::Command::new("mkfifo")
            .arg(path)
            .status()
            .unwrap()
            .success()
    );
}

fn read_pid(path: &Path) -> rustix::process::Pid {
    let pid = std::fs::read_to_string(path)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    rustix::process::Pid::from_raw(pid).unwrap()
}

fn is_running(pid: rustix::process::Pid) -> bool {
    // A zombie that nobody reaps yet, as in a container without an init, runs no more.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid()));
    stat.is_ok_and(|stat| {
        stat.rsplit(')')
            .next()
            .is_some_and(|rest| !rest.trim().starts_with('Z'))
    })
}

/// SIGKILL was sent; the kernel takes a moment to act on it.
async fn wait_for_end(pid: rustix::process::Pid) {
    let begun = Instant::now();
    while is_running(pid) {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{pid:?} still runs"
        );
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_file_that_may_not_be_read_needs_another_mode_and_not_another_text() {
    let hint = |kind: std::io::ErrorKind| {
        let error = SecretError::FileUnreadable {
            path: "/pw".into(),
            source: kind.into(),
        };
        error.hint().unwrap()
    };
    assert!(hint(std::io::ErrorKind::PermissionDenied).contains("chmod 600 /pw"));
    assert!(hint(std::io::ErrorKind::NotFound).contains("first line"));
}

#[tokio::test]
async fn a_credential_that_is_missing_is_no_file_of_the_users() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("work");
    let name = "work".to_owned();
    let source = PasswordSource::Credential { name, path };
    let error = source.resolve(&nobody(), mail()).await.unwrap_err();
    assert!(error.to_string().contains("credential `work`"), "{error}");
    assert!(error.hint().unwrap().contains("LoadCredential=work:FILE"));
}
