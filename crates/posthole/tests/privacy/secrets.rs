//! Secrets, wherever they come from, in whatever the program says and writes.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use posthole_testkit::ssh::Target;
use posthole_testkit::{Terminal, World, mail};

use crate::world::{BIN, Running, command, text, wait_and_tell, wait_until};

const PASSPHRASE: &str = "open the #1 door";

/// Those that the accounts below have, by where they are from.
const SECRETS: [(&str, &str); 9] = [
    ("passphrase", PASSPHRASE),
    ("mail", World::MAIL_PASSWORD),
    ("ssh", World::SSH_PASSWORD),
    ("command", "from a command #3"),
    ("environment", "from the environment #4"),
    ("netrc", "from-netrc-#5"),
    ("credential", "from a credential #6"),
    ("literal", "literal \\\"secret\\\" #7"),
    ("rcfile", "rc secret #8"),
];

/// What holds a secret because a person wrote it there.
const WRITTEN_BY_A_PERSON: [&str; 7] = [
    ".config/posthole/config.toml",
    ".netrc",
    ".ssh/id_ed25519",
    "credentials/mail",
    "from-command",
    "mail-password",
    "rc",
];

fn write(world: &World, name: &str, text: &str) {
    let path = world.home().path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
}

fn secret(name: &str) -> &'static str {
    let found = SECRETS.iter().find(|(other, _)| *other == name);
    found.unwrap().1
}

fn build() -> World {
    let world = World::builder()
        .messages(mail::small(2))
        .passphrase(PASSPHRASE)
        .build();
    write(&world, "from-command", secret("command"));
    write(
        &world,
        ".netrc",
        &format!(
            "machine localhost login msingh password {}\n",
            secret("netrc")
        ),
    );
    write(&world, "credentials/mail", secret("credential"));
    let port = world.ssh().port();
    let via = world.via();
    let sources = [
        ("prompt", "\"prompt\"".to_owned()),
        ("command", "{ command = \"cat from-command\" }".to_owned()),
        ("env", "{ env = \"MAIL_SECRET\" }".to_owned()),
        ("netrc", "{ netrc = true }".to_owned()),
        ("credential", "{ credential = \"mail\" }".to_owned()),
        (
            "literal",
            format!("{{ literal = \"{}\" }}", secret("literal")),
        ),
    ];
    let mut config = String::from(
        "[daemon]\nfailures = 1\nmetrics-file = \"~/metrics\"\n\
         on-failure = \"cat >> ~/letters; env >> ~/letters\"\n",
    );
    for (at, (name, source)) in sources.into_iter().enumerate() {
        // As many mailboxes as accounts, to look at.
        let at = 110 + u16::try_from(at).unwrap();
        let target = Target::Connect(world.pop3().addr());
        world.ssh().set_target("localhost", at, target);
        config += &format!(
            "[account.{name}]\nserver = \"pop3://msingh@localhost:{at}\"\nvia = \"{via}\"\npassword = {source}\n\
             deliver = \"maildir:~/Mail/{name}\"\n"
        );
    }
    config += &format!(
        "[forward.reader]\nlisten = \"unix:~/reader\"\nvia = \"{via}\"\nto = \"localhost:110\"\n"
    );
    // Its password is known; its key is not asked for.
    config += &format!(
        "[account.ssh]\nserver = \"pop3://msingh@localhost:110\"\nvia = \"byword\"\n\
         password = {{ file = \"~/mail-password\" }}\ndeliver = \"maildir:~/Mail/ssh\"\n\
         [ssh.byword]\nhostname = \"127.0.0.1\"\nport = {port}\nuser = \"msingh\"\n\
         identity = []\npassword = {{ literal = \"{}\" }}\n",
        secret("ssh")
    );
    world.home().write_config(&config);
    world
}

fn variables(world: &World) -> [(&'static str, PathBuf); 3] {
    [
        ("MAIL_SECRET", secret("environment").into()),
        (
            "CREDENTIALS_DIRECTORY",
            world.home().path().join("credentials"),
        ),
        ("RUST_LOG", "trace".into()),
    ]
}

/// What the program says when it is run.
fn say(world: &World, args: &[&str]) -> String {
    let mut command = command(world, args);
    text(&command.envs(variables(world)).output().unwrap())
}

/// A secret as it is, and as it is on its way.
fn forms(secret: &str) -> Vec<String> {
    let base64 = |text: &str| {
        let output = std::process::Command::new("base64")
            .arg("-w0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                std::io::Write::write_all(child.stdin.as_mut().unwrap(), text.as_bytes())?;
                child.wait_with_output()
            });
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let plain = secret.replace('\\', "");
    vec![
        base64(&format!("\0msingh\0{plain}")),
        base64(&plain),
        plain,
        secret.to_owned(),
    ]
}

#[track_caller]
fn assert_in_none<'a>(texts: impl IntoIterator<Item = (&'a str, &'a [u8])>) {
    let texts: Vec<_> = texts.into_iter().collect();
    for (name, secret) in SECRETS {
        for form in forms(secret) {
            for (place, octets) in &texts {
                let found = octets
                    .windows(form.len())
                    .position(|window| window == form.as_bytes());
                assert!(
                    found.is_none(),
                    "the secret of {name} is in {place}: {}",
                    String::from_utf8_lossy(octets)
                );
            }
        }
    }
}

fn all_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn written(world: &World) -> Vec<(String, Vec<u8>)> {
    let home = world.home().path();
    let mut files = Vec::new();
    all_files(home.parent().unwrap(), &mut files);
    let by_us = files.into_iter().filter(|path| {
        let name = path.strip_prefix(&home).ok();
        !name.is_some_and(|name| {
            WRITTEN_BY_A_PERSON
                .iter()
                .any(|other| name == Path::new(other))
        })
    });
    by_us
        .map(|path| (path.display().to_string(), fs::read(path).unwrap()))
        .collect()
}

#[test]
fn no_secret_is_said_or_written_wherever_it_comes_from() {
    let world = build();
    let mut said = BTreeMap::new();
    let mut daemon = command(&world, &["daemon", "-vvv", "--logfile", "log"]);
    let daemon = daemon.envs(variables(&world)).stdout(Stdio::null());
    let daemon = Running(daemon.stderr(Stdio::null()).spawn().unwrap());
    let log = || fs::read_to_string(world.home().path().join("log")).unwrap_or_default();
    let waits = || {
        let status = say(&world, &["status", "--json"]);
        status.contains("\"questions\":2")
    };
    wait_and_tell("it waits for answers", waits, || {
        format!("{}{}", log(), say(&world, &["check"]))
    });
    let mut unlock = world.posthole(Path::new(BIN));
    unlock.arg("unlock").env("TERM", "xterm");
    let mut unlock = Terminal::start(unlock);
    unlock.expect("Passphrase for the key");
    unlock.type_line(PASSPHRASE);
    unlock.expect("Mail password for msingh@localhost (prompt): ");
    unlock.type_line(World::MAIL_PASSWORD);
    let (_, screen) = unlock.end();
    said.insert("unlock".to_owned(), screen);
    let accounts = |words: &str, times: usize| {
        let status = say(&world, &["status", "--json"]);
        status.matches(words).count() >= times
    };
    wait_until("all were tried", || {
        accounts("\"last_success\":\"", 2) || accounts("\"fetched\":2", 1)
    });
    for args in [
        &["fetch", "-vvv"][..],
        &["fetch", "--json", "-vvv", "ssh"],
        &["fetch", "--dry-run", "-vv"],
        &["fetch", "--password-env", "MAIL_SECRET", "-vvv", "ssh"],
        &["check", "-vvv"],
        &["check", "--json"],
        &["check", "--plan"],
        &["status"],
        &["status", "--json"],
        &["forward", "token", "reader"],
        &["no-such-command", "--password=literal"],
    ] {
        said.insert(args.join(" "), say(&world, args));
    }
    assert!(
        said["fetch -vvv"].contains("PASS") || said["fetch -vvv"].contains("AUTH"),
        "a password was used: {}",
        said["fetch -vvv"]
    );
    drop(daemon);

    // What is wrong in the file is shown with its line.
    let good = fs::read_to_string(world.home().config()).unwrap();
    for (from, to) in [
        ("literal = \"literal", "literl = \"literal"),
        ("{ literal = \"literal", "{ literal = x \"literal"),
        ("#7\" }", "#7\" "),
        ("#7\" }", "#7 }"),
    ] {
        assert!(good.contains(from));
        world.home().write_config(&good.replace(from, to));
        let complaints = say(&world, &["check"]);
        assert!(complaints.contains("mistake"), "{complaints}");
        said.insert(format!("check with {to}"), complaints);
    }
    world.home().write_config(&good);

    let rc = format!(
        "poll 127.0.0.1 port 1 proto pop3\n user msingh there with password \"{}\" is msingh here\n",
        secret("rcfile")
    );
    write(&world, "rc", &rc);
    let mut as_fetchmail = |args: &[&str], answer: &str| {
        let args = [&["fetchmail", "-f", "rc"], args].concat();
        let text = say(&world, &args);
        assert!(text.contains(answer), "{args:?}: {text}");
        said.insert(args.join(" "), text);
    };
    as_fetchmail(&["--nosyslog", "-vvv"], "127.0.0.1");
    as_fetchmail(&["--version"], "msingh");
    write(
        &world,
        "rc",
        &rc.replace("is msingh here", "iss msingh here"),
    );
    as_fetchmail(&["-c"], "belongs");
    write(&world, "rc", &rc.replace("#8\"", "#8"));
    as_fetchmail(&["-N"], "rc:");
    let said = said
        .iter()
        .map(|(how, text)| (how.as_str(), text.as_bytes()));
    assert_in_none(said);
    let written = written(&world);
    let names: String = written
        .iter()
        .map(|(name, _)| format!("{name}\n"))
        .collect();
    for name in ["/log\n", "/metrics\n", "/letters\n", "state.db\n"] {
        assert!(names.contains(name), "{name:?} is not among {names}");
    }
    let letters = |name: &str| name.ends_with("/letters");
    // A command of the user's has the user's environment.
    let ours = written.iter().filter(|(name, _)| !letters(name));
    assert_in_none(ours.map(|(name, octets)| (name.as_str(), octets.as_slice())));
}
