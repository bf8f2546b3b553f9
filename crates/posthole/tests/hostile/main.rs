//! Servers that mean harm, of SSH and of TLS: whatever they send, the program ends with an error in
//! good time, does not panic, stays small, and has not sent the password.
//!
//! Each of them treats the program, run as its users run it, in its own way. What memory the process
//! has used at its peak is what the kernel says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use posthole_testkit::Home;
use posthole_testkit::real::Suite;
use posthole_testkit::ssh::raw::{RawSession, RawSshServer};
use posthole_testkit::tls::raw::{RawTls, RawTlsServer};
use posthole_testkit::tls::{Authority, Tls};

macro_rules! case {
    ($name:literal, $says:literal, |$session:ident| $script:block) => {
        crate::Case {
            name: $name,
            says: $says,
            logs_in: false,
            #[allow(unused_mut, reason = "not every script changes it")]
            by: crate::By::Ssh(|mut $session| Box::pin(async move { $script })),
        }
    };
}

mod channel;
mod ending;
mod handshake;
mod keys;
mod login;
mod names;
mod records;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let cases = [
        keys::cases(),
        login::cases(),
        channel::cases(),
        ending::cases(),
        handshake::cases(),
        records::cases(),
    ];
    for case in cases.into_iter().flatten() {
        suite = suite.test(case.name, &[], move || case.run());
    }
    suite
        .test(
            "names_that_are_commands_reach_no_command",
            &[],
            names::reach_no_command,
        )
        .run()
}

/// A server, and what comes of fetching through it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What the program says at the end, if it is always the same.
    pub(crate) says: &'static str,
    /// Whether it comes so far that a login is due.
    pub(crate) logs_in: bool,
    pub(crate) by: By,
}

/// Who means harm.
pub(crate) enum By {
    /// The SSH host on the way to the mail server.
    Ssh(Script<RawSession>),
    /// The mail server itself, or somebody in front of it.
    Tls {
        server: fn(&Authority) -> Tls,
        script: Script<RawTls>,
    },
}

pub(crate) type Script<S> = fn(S) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Case {
    fn run(self) {
        match self.by {
            By::Ssh(script) => self.through_ssh(script),
            By::Tls { server, script } => {
                self.in_tls(server, script, false);
                self.in_tls(server, script, true);
            }
        }
    }

    fn through_ssh(&self, script: Script<RawSession>) {
        let server = RawSshServer::start(script);
        let home = Home::new();
        home.write_known_hosts(&server.known_hosts_line());
        self.fetch(
            &home,
            &format!(
                "server = \"pop3://msingh@localhost\"\n\
                 via = \"msingh@{}\"\n\
                 [ssh.\"127.0.0.1\"]\n\
                 connect-timeout = \"1s\"\n\
                 compression = true\n",
                server.addr()
            ),
        );
        self.assert_kept_secret(&server.heard());
    }

    /// TLS from the start, or agreed upon after a greeting (RFC 2595 §4).
    fn in_tls(&self, server: fn(&Authority) -> Tls, script: Script<RawTls>, at_once: bool) {
        let authority = Authority::new("Test CA");
        let server = RawTlsServer::start(&server(&authority), move |mut session| async move {
            if !at_once {
                session.agree().await?;
            }
            script(session).await
        });
        let home = Home::new();
        std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
        let (scheme, tls) = if at_once {
            ("pop3s", "")
        } else {
            ("pop3", "tls = \"required\"\n")
        };
        self.fetch(
            &home,
            &format!(
                "server = \"{scheme}://msingh@{}\"\n{tls}\
                 tls-name = \"{NAME}\"\n\
                 tls-ca-file = \"~/ca.pem\"\n",
                server.addr()
            ),
        );
        self.assert_kept_secret(&server.heard());
    }

    /// Runs the program with an account that this says how to reach.
    fn fetch(&self, home: &Home, way: &str) {
        home.write_password(PASSWORD);
        home.write_config(&format!(
            "[account.work]\n\
             password = {{ file = \"~/mail-password\" }}\n\
             deliver = \"maildir:~/Mail\"\n\
             timeout = \"1s\"\n\
             {way}"
        ));
        let began = Instant::now();
        let output = home
            .posthole(Path::new(env!("CARGO_BIN_EXE_posthole")))
            .arg("fetch")
            // Somebody who answers everything with nothing, or no question would be waited for.
            .env("SSH_ASKPASS", "true")
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let took = began.elapsed();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        assert!(
            matches!(output.status.code(), Some(69..=77)),
            "{}\n{said}",
            output.status
        );
        assert!(said.starts_with("posthole: work: "), "{said}");
        assert!(said.contains(self.says), "{:?} is not in {said}", self.says);
        assert!(
            said.contains("127.0.0.1") || said.contains("server"),
            "nobody is named: {said}"
        );
        let is_clean = |c: char| c == '\n' || !c.is_control();
        assert!(said.chars().all(is_clean) && said.len() < 4_000, "{said}");
        assert!(took < LONGEST, "{took:?}: {said}");

        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        // In KiB on Linux (getrusage(2)).
        let peak = usage.max_rss() / 1024;
        assert!(peak < PEAK_MIB, "{peak} MiB: {said}");
        let delivered = home.maildir().join("new").read_dir();
        assert_eq!(delivered.map_or(0, Iterator::count), 0, "{said}");
    }

    fn assert_kept_secret(&self, heard: &[u8]) {
        let heard = String::from_utf8_lossy(heard);
        assert_eq!(heard.contains(PASSWORD), self.logs_in, "{heard}");
    }
}

const PASSWORD: &str = "sesame";

/// The name that the mail server should have.
pub(crate) const NAME: &str = "mail.example.org";

/// Bounds what a machine that is very busy may take; a step of the login has thirty seconds, all
/// else one.
const LONGEST: Duration = Duration::from_secs(60);
const PEAK_MIB: i64 = 64;

/// Takes a session to its open channel.
pub(crate) async fn opened(session: &mut RawSession) -> io::Result<u32> {
    session.greet().await?;
    session.exchange_keys().await?;
    session.let_in().await?;
    session.open_channel().await
}
