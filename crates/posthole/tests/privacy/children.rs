//! What the programs get that are started on the user's behalf.

use std::collections::BTreeSet;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use posthole_testkit::{World, mail};

use crate::world::{BIN, Running, wait_and_tell};

/// Notes what it was given; `$1` is its name in the notes, the rest nothing to it.
const WITNESS: &str = "#!/bin/sh
notes=$(dirname \"$0\")/notes
exec > \"$notes/.$1\" 2>&1
echo limit $(ulimit -S -n) core $(ulimit -S -c)
ls /proc/self/fd | sed 's/^/fd /'
tr '\\0' '\\n' < /proc/$$/environ | sed 's/^/env /'
tr '\\0' '\\n' < /proc/$$/cmdline | sed 's/^/arg /'
mv \"$notes/.$1\" \"$notes/$1\"
";

struct Notes {
    limits: String,
    descriptors: Vec<String>,
    environment: BTreeSet<String>,
    all: String,
}

fn witness(world: &World) {
    let home = world.home().path();
    fs::create_dir(home.join("notes")).unwrap();
    let program = home.join("witness");
    fs::write(&program, WITNESS).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o700)).unwrap();
}

fn notes(world: &World, name: &str) -> Notes {
    let path = world.home().path().join("notes").join(name);
    let log = || fs::read_to_string(world.home().path().join("log")).unwrap_or_default();
    wait_and_tell(&format!("{name} was run"), || path.exists(), log);
    let all = fs::read_to_string(path).unwrap();
    let of = |kind: &str| {
        let lines = all.lines().filter_map(|line| line.strip_prefix(kind));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let variables = of("env ").into_iter();
    Notes {
        limits: of("limit ").concat(),
        descriptors: of("fd "),
        environment: variables
            .map(|variable| variable.split('=').next().unwrap().to_owned())
            .collect(),
        all,
    }
}

/// The program, as from a shell with a limit of its own that has left descriptors open: such as
/// shells use and such as they do not.
fn careless(world: &World, arguments: &str) -> Running {
    let null = File::open("/dev/null").unwrap();
    // Not closed by executing a program, and so many that their numbers have two digits.
    let left_open: Vec<_> = (0..30).map(|_| rustix::io::dup(&null).unwrap()).collect();
    let as_usual = world.posthole(Path::new(BIN));
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().current_dir(world.home().path());
    for (name, value) in as_usual.get_envs() {
        shell.env(name, value.unwrap());
    }
    let script = format!(
        "ulimit -S -n 177; exec 3</dev/null 7</dev/null; exec \"$0\" {arguments} > log 2>&1"
    );
    let child = shell.args(["-c", &script, BIN]).stdin(Stdio::null());
    let child = child.process_group(0).spawn().unwrap();
    drop(left_open);
    Running(child)
}

/// What a shell adds to its environment by itself.
const SHELLS: [&str; 4] = ["OLDPWD", "PWD", "SHLVL", "_"];

#[track_caller]
fn check(world: &World, name: &str, may_also_have: &[&str], secrets: &[&str]) {
    let notes = notes(world, name);
    let Notes {
        limits,
        descriptors,
        environment,
        all,
    } = notes;
    assert_eq!(limits, "177 core 0", "{name}");
    // The last is the one by which ls(1) reads the directory.
    assert_eq!(descriptors, ["0", "1", "2", "3"], "{name}");
    let usual = world.posthole(Path::new(BIN));
    let usual: Vec<_> = usual
        .get_envs()
        .map(|(variable, _)| variable.to_str().unwrap())
        .collect();
    for variable in environment {
        let variable = variable.as_str();
        assert!(
            usual.contains(&variable)
                || SHELLS.contains(&variable)
                || may_also_have.contains(&variable),
            "{name} has {variable}: {all}"
        );
    }
    for secret in secrets {
        assert!(!all.contains(secret), "{name} was told a secret: {all}");
    }
}

#[test]
fn what_is_started_gets_nothing_but_what_is_meant_for_it() {
    let world = World::builder().messages(mail::small(2)).build();
    witness(&world);
    let (url, via) = (world.url(), world.via());
    let home = world.home().path();
    let home = home.display();
    world.home().write_config(&format!(
        "[account.work]\n\
         server = \"{url}\"\n\
         via = \"{via}\"\n\
         password = {{ command = \"{home}/witness password; cat {home}/mail-password\" }}\n\
         filter = [\"{home}/witness\", \"filter\", \"%F\"]\n\
         deliver = \"mda:{home}/witness mda %F\"\n\
         [account.proxied]\n\
         server = \"{url}\"\n\
         via = \"behind\"\n\
         password = {{ literal = \"literal secret #3\" }}\n\
         deliver = \"maildir:~/Proxied\"\n\
         [ssh.behind]\n\
         proxy-command = \"{home}/witness proxy; false\"\n\
         password = {{ literal = \"literal secret #4\" }}\n\
         [account.old]\n\
         server = \"{url}\"\n\
         via = \"openssh\"\n\
         password = {{ literal = \"literal secret #5\" }}\n\
         deliver = \"maildir:~/Old\"\n\
         [ssh.openssh]\n\
         backend = \"openssh\"\n\
         password = {{ literal = \"literal secret #6\" }}\n\
         [daemon]\n\
         failures = 1\n\
         on-new-mail = \"{home}/witness new-mail\"\n\
         on-failure = \"{home}/witness failure\"\n"
    ));
    let ssh = world.home().path().parent().unwrap().join("bin/ssh");
    let as_if_there = format!(
        "#!/bin/sh\n\
         case $* in\n\
         *-W*) {home}/witness ssh-W; exit 255;;\n\
         *-G*) {home}/witness ssh-G;;\n\
         esac\n\
         case $* in *openssh | *localhost) printf 'host openssh\\nhostname 127.0.0.1\\nport 1\\n'; exit;; esac\n\
         echo 'No user exists for uid 1000' >&2\nexit 255\n"
    );
    // It is there only once the command was made.
    drop(world.posthole(Path::new(BIN)));
    fs::write(ssh, as_if_there).unwrap();
    let secrets = [
        World::MAIL_PASSWORD,
        "secret #3",
        "secret #4",
        "secret #5",
        "secret #6",
    ];
    let _daemon = careless(&world, "daemon --no-ask -vv");
    for name in ["password", "filter", "mda", "ssh-G"] {
        check(&world, name, &[], &secrets);
    }
    let asking = ["SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"];
    check(&world, "proxy", &asking, &secrets);
    check(&world, "ssh-W", &asking, &secrets);
    check(
        &world,
        "new-mail",
        &["POSTHOLE_ACCOUNT", "POSTHOLE_NEW"],
        &secrets,
    );
    let of_failure = [
        "POSTHOLE_ACCOUNT",
        "POSTHOLE_CLASS",
        "POSTHOLE_ERROR",
        "POSTHOLE_FAILURES",
        "POSTHOLE_LAST_SUCCESS",
        "POSTHOLE_SINCE",
    ];
    check(&world, "failure", &of_failure, &secrets);
}

#[test]
fn commands_of_an_rc_file_get_nothing_but_what_is_meant_for_them() {
    let world = World::builder().build();
    witness(&world);
    let home = world.home().path();
    let home = home.display();
    let rcfile = world.home().path().join("rc");
    let text = format!(
        "poll mail.example proto pop3 plugin \"{home}/witness plugin\"\n\
         user msingh there with password \"rc secret #7\" is msingh here\n\
         mda \"{home}/witness mda\" preconnect \"{home}/witness preconnect\"\n\
         postconnect \"{home}/witness postconnect\"\n"
    );
    fs::write(&rcfile, text).unwrap();
    fs::set_permissions(&rcfile, Permissions::from_mode(0o600)).unwrap();
    let mut run = careless(&world, "fetchmail --nosyslog -vvv -f rc");
    run.0.wait().unwrap();
    for name in ["plugin", "preconnect", "postconnect"] {
        check(&world, name, &[], &["secret #7"]);
    }
}
