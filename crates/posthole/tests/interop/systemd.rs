//! The units that are shipped, under a systemd that is started for them.
//!
//! `systemd-analyze verify` says that a unit is understood, and not that it can be obeyed: a user's
//! manager, for one, may not drop capabilities.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use posthole_testkit::real::{Mailhost, Requirement, Suite, Systemd};
use posthole_testkit::{home, mail};

use crate::world::BIN;

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = [Requirement::MAILHOST, &[Requirement::Systemd]].concat();
    suite
        .test(
            "the_units_of_the_machine_run_under_systemd",
            &needs,
            the_units_of_the_machine_run_under_systemd,
        )
        .test(
            "the_units_of_a_user_run_under_systemd",
            &needs,
            the_units_of_a_user_run_under_systemd,
        )
}

fn the_units_of_the_machine_run_under_systemd() {
    let messages = mail::corpus(31, 5);
    let host = Mailhost::start(&messages);
    let systemd = Systemd::start();
    install(&systemd, "", "/etc/systemd/system");
    // As the unit's own comment says.
    ok(
        &systemd,
        "useradd --system --home-dir /var/lib/posthole --shell /usr/sbin/nologin posthole",
    );
    let config = configuration(&host);
    systemd.write("/etc/posthole/config.toml", 0o644, &config);
    systemd.write(
        "/etc/posthole/credentials/work",
        0o600,
        Mailhost::MAIL_PASSWORD,
    );
    keys(&systemd, &host, "/var/lib/posthole");
    ok(&systemd, "chown -R posthole: /var/lib/posthole");
    let credential = "[Service]\nLoadCredential=work:/etc/posthole/credentials/work\n";
    for unit in ["posthole", "posthole-fetch"] {
        let path = format!("/etc/systemd/system/{unit}.service.d/credential.conf");
        systemd.write(&path, 0o644, credential);
    }
    let port = privileged_port();
    systemd.write(
        "/etc/systemd/system/posthole.socket",
        0o644,
        format!("[Socket]\nListenStream=127.0.0.1:{port}\nFileDescriptorName=pop\n"),
    );
    ok(&systemd, "systemctl daemon-reload");

    ok(&systemd, "systemctl start posthole-fetch.service");
    let maildir = systemd.file("/var/lib/posthole/Mail");
    home::assert_maildir_holds(&maildir, &messages);

    // It is started when it is ready, and not before.
    ok(&systemd, "systemctl start posthole.socket posthole.service");
    let status = || {
        said(
            &systemd,
            "systemctl show --property StatusText --value posthole",
        )
    };
    assert!(
        status().starts_with("1 account and 1 forward"),
        "{}",
        status()
    );
    let polled = "posthole status --state-dir /var/lib/posthole --json";
    systemd.wait_until("it was polled", || {
        let status: serde_json::Value = serde_json::from_str(&said(&systemd, polled)).unwrap();
        status["accounts"][0]["last_success"].is_u64()
    });
    let client = format!("exec 3<>/dev/tcp/127.0.0.1/{port}; head -n 1 <&3");
    let greeting = systemd.run(&["runuser", "-u", "posthole", "--", "bash", "-c", &client]);
    let greeting = String::from_utf8_lossy(&greeting.stdout).into_owned();
    assert!(
        greeting.starts_with("+OK"),
        "{greeting}\n{}",
        systemd.journal()
    );

    systemd.write(
        "/etc/posthole/config.toml",
        0o644,
        config.clone() + "nonsense = 1\n",
    );
    let reload = systemd.run(&["systemctl", "reload", "posthole"]);
    assert!(!reload.status.success(), "a broken file is no success");
    assert!(
        status().contains("the configuration file is broken"),
        "{}",
        status()
    );
    systemd.write("/etc/posthole/config.toml", 0o644, &config);
    ok(&systemd, "systemctl reload posthole");
    assert!(!status().contains("broken"), "{}", status());

    let restarts = "systemctl show --property NRestarts --value posthole";
    assert_eq!(said(&systemd, restarts), "0");
    ok(&systemd, "systemctl stop posthole.socket posthole.service");
    let result = said(
        &systemd,
        "systemctl show --property Result --value posthole",
    );
    assert_eq!(result, "success", "{}", systemd.journal());
}

fn the_units_of_a_user_run_under_systemd() {
    let messages = mail::corpus(32, 5);
    let host = Mailhost::start(&messages);
    let systemd = Systemd::start();
    ok(&systemd, "useradd --create-home --uid 61234 mia");
    install(&systemd, "user/", "/home/mia/.config/systemd/user");
    let config = configuration(&host);
    let accounts = config.split("[forward").next().unwrap();
    systemd.write("/home/mia/.config/posthole/config.toml", 0o600, accounts);
    systemd.write("/home/mia/work", 0o600, Mailhost::MAIL_PASSWORD);
    systemd.write(
        "/home/mia/.config/systemd/user/posthole.service.d/credential.conf",
        0o644,
        "[Service]\nLoadCredential=work:%h/work\n",
    );
    keys(&systemd, &host, "/home/mia");
    ok(&systemd, "chown -R mia: /home/mia");
    ok(&systemd, "systemctl start user@61234.service");
    let as_mia = |words: &str| {
        let runtime = "XDG_RUNTIME_DIR=/run/user/61234";
        format!("runuser -u mia -- env {runtime} HOME=/home/mia {words}")
    };
    ok(&systemd, &as_mia("systemctl --user start posthole"));
    let maildir = systemd.file("/home/mia/Mail");
    systemd.wait_until("the mail has come", || {
        home::maildir_messages(&maildir).len() == messages.len()
    });
    home::assert_maildir_holds(&maildir, &messages);
    ok(&systemd, &as_mia("posthole wake"));
    ok(&systemd, &as_mia("systemctl --user reload posthole"));
    ok(&systemd, &as_mia("systemctl --user stop posthole"));

    let config = accounts.replace("{ credential = \"work\" }", "{ file = \"~/work\" }");
    systemd.write("/home/mia/.config/posthole/config.toml", 0o600, config);
    ok(&systemd, &as_mia("systemctl --user start posthole-fetch"));
}

/// Installs the program and the units of this folder of contrib/systemd.
fn install(systemd: &Systemd, folder: &str, units: &str) {
    systemd.write("/usr/bin/posthole", 0o755, std::fs::read(BIN).unwrap());
    let contrib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../contrib/systemd");
    for entry in std::fs::read_dir(contrib.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let text = std::fs::read(&path).unwrap();
            systemd.write(&format!("{units}/{name}"), 0o644, text);
        }
    }
}

/// What is needed to log in to the SSH host.
fn keys(systemd: &Systemd, host: &Mailhost, home: &str) {
    for (from, to) in [
        (host.home().identity(), "id_ed25519"),
        (host.home().known_hosts(), "known_hosts"),
    ] {
        let text = std::fs::read(from).unwrap();
        systemd.write(&format!("{home}/.ssh/{to}"), 0o600, text);
    }
}

fn configuration(host: &Mailhost) -> String {
    format!(
        "[account.work]\nserver = \"{}\"\nvia = \"{via}\"\nevery = \"1s\"\n\
         password = {{ credential = \"work\" }}\ndeliver = \"maildir:~/Mail\"\n\
         [forward.pop]\nlisten = \"systemd:pop\"\nvia = \"{via}\"\nto = \"localhost:{}\"\n\
         protocol = \"pop3\"\n",
        host.url(),
        host.dovecot().port(),
        via = host.via()
    )
}

/// A free port that is for root.
fn privileged_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (512..1024).rfind(is_free).expect("one of them is free")
}

/// What this command, whose words have no blanks, prints there; it has to succeed.
#[track_caller]
fn said(systemd: &Systemd, command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    let output = systemd.run(&words);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(
        output.status.success(),
        "{command}: {text}{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        systemd.journal()
    );
    text
}

#[track_caller]
fn ok(systemd: &Systemd, command: &str) {
    said(systemd, command);
}
