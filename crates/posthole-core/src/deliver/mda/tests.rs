use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::deliver::Refusal;

/// Runs a script with a message, away from the test's runtime as the real thing is.
async fn run(script: &str, timeout: Duration) -> Option<Refusal> {
    run_with(script, timeout, CancellationToken::new()).await
}

async fn run_with(script: &str, timeout: Duration, stop: CancellationToken) -> Option<Refusal> {
    let command = ["/bin/sh", "-c", script, "sh", "%F", "%T"];
    let to = MdaTo {
        command: MdaCommand::Argv(command.map(str::to_owned).into()),
        recipients: vec!["msingh".to_owned()],
        user: None,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout,
    };
    tokio::task::spawn_blocking(move || {
        let mda = Mda::new(&to).unwrap();
        mda.run(&mda.argv("a@b", &mda.to.recipients), message(), &stop)
            .unwrap()
    })
    .await
    .unwrap()
}

fn message() -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"Subject: x\n\ntext\n").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    file
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn exit_codes_say_whether_to_try_again() {
    for (code, for_good) in [
        (1, true),
        (67, true),
        (69, true),
        (75, false),
        (71, false),
        (99, true),
    ] {
        let refusal = run(&format!("echo no >&2; exit {code}"), LONG)
            .await
            .unwrap();
        assert_eq!(refusal.for_good, for_good, "{code}");
        assert!(
            refusal.reason.contains(&format!("exit code {code}")),
            "{}",
            refusal.reason
        );
        assert!(refusal.reason.ends_with(": no"), "{}", refusal.reason);
    }
    assert!(run("cat >/dev/null", LONG).await.is_none());
}

#[tokio::test]
async fn the_message_and_its_envelope_arrive() {
    let script = "test \"$(cat)\" = \"$(printf 'Subject: x\\n\\ntext\\n')\" || exit 1
                  test \"$1 $2\" = 'a@b msingh' || exit 2
                  test \"$(env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=)\" = PATH=/usr/bin:/bin || exit 3
                  test $(ls /proc/$$/fd | wc -l) -le $3 || { ls -l /proc/$$/fd >&2; exit 4; }";
    // What whoever runs the tests has left open is passed on; nothing of ours is.
    let passed_on = (3..1000).filter(|fd| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).unwrap() & 0o2_000_000 == 0)
    });
    // The shell itself may hold one more.
    let script = script.replace("$3", &(3 + 1 + passed_on.count()).to_string());
    let refusal = run(&script, LONG).await;
    assert!(refusal.is_none(), "{refusal:?}");
}

#[tokio::test]
async fn a_command_need_not_read_the_message() {
    assert!(run("exec <&-; exit 0", LONG).await.is_none());
    assert!(run("exec <&-; exit 75", LONG).await.is_some());
}

#[tokio::test]
async fn a_command_that_dies_is_tried_again() {
    let refusal = run("kill -SEGV $$", LONG).await.unwrap();
    assert!(!refusal.for_good);
    assert!(refusal.reason.contains("signal 11"), "{}", refusal.reason);
}

#[tokio::test]
async fn one_that_never_ends_is_killed_with_its_children() {
    let directory = TempDir::new().unwrap();
    let marks = directory.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! > {0}; echo $$ >> {0}; wait",
        marks.display()
    );
    let refusal = run(&script, Duration::from_millis(500)).await.unwrap();
    assert!(!refusal.for_good);
    assert!(
        refusal.reason.contains("took longer than 500ms"),
        "{}",
        refusal.reason
    );
    let pids = std::fs::read_to_string(marks).unwrap();
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let deadline = Instant::now() + LONG;
        while is_running(pid) {
            assert!(Instant::now() < deadline, "{pid} lives on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Zombies do not count: nobody may wait for an orphan here.
fn is_running(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_child_that_holds_the_pipe_is_not_waited_for() {
    let started = Instant::now();
    assert!(run("sleep 20 & exit 0", LONG).await.is_none());
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_request_to_stop_ends_it_soon() {
    let stop = CancellationToken::new();
    stop.cancel();
    let refusal = run_with("sleep 1000", LONG, stop).await.unwrap();
    assert!(!refusal.for_good);
}

#[tokio::test]
async fn complaints_are_cut_and_cleaned() {
    let script =
        "i=0; while [ $i -lt 3000 ]; do printf 'x\\033[2J\\n' >&2; i=$((i+1)); done; exit 1";
    let refusal = run(script, LONG).await.unwrap();
    assert!(refusal.reason.len() < 600 && !refusal.reason.contains('\u{1b}'));
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_an_error_of_the_configuration() {
    let directory = TempDir::new().unwrap();
    let plain = directory.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (program, exists) in [("no-such-mda", false), (plain.to_str().unwrap(), true)] {
        let to = MdaTo {
            command: MdaCommand::Argv(vec![program.to_owned()]),
            recipients: vec!["msingh".to_owned()],
            user: None,
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            timeout: LONG,
        };
        let mda = Mda::new(&to).unwrap();
        let checked = mda.check();
        let found = tokio::task::spawn_blocking(move || {
            mda.run(
                &mda.argv("", &mda.to.recipients),
                message(),
                &CancellationToken::new(),
            )
        });
        for result in [checked, found.await.unwrap().map(|_| ())] {
            assert_eq!(result.unwrap_err().class(), crate::error::Class::Config);
        }
        if exists {
            std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o755)).unwrap();
            Mda::new(&to).unwrap().check().unwrap();
        }
    }
}

#[tokio::test]
async fn root_runs_it_with_the_rights_of_the_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let script = "test \"$(id -un) $(id -ru) $(id -gn) $HOME $USER $LOGNAME\" \
                  = \"nobody $(id -u nobody) nogroup /nonexistent nobody nobody\" || { id >&2; exit 1; }
                  test \"$(id -G)\" = \"$(id -G nobody)\" || exit 2
                  test -r /etc/shadow && exit 3; cat > /dev/null";
    let to = MdaTo {
        command: MdaCommand::Argv(["/bin/sh", "-c", script].map(str::to_owned).into()),
        recipients: vec!["nobody".to_owned()],
        user: Some("nobody".to_owned()),
        environment: vec![
            ("PATH".into(), "/usr/bin:/bin".into()),
            ("HOME".into(), "/root".into()),
        ],
        timeout: LONG,
    };
    let refusal = tokio::task::spawn_blocking(move || {
        // A group that root is in and the user is not; this thread is used for nothing else.
        rustix::thread::set_thread_groups(&[rustix::process::Gid::from_raw(4)]).unwrap();
        let mda = Mda::new(&to).unwrap();
        mda.run(
            &mda.argv("", &mda.to.recipients),
            message(),
            &CancellationToken::new(),
        )
        .unwrap()
    });
    let refusal = refusal.await.unwrap();
    assert!(refusal.is_none(), "{refusal:?}");
    assert!(rustix::process::geteuid().is_root());
}
