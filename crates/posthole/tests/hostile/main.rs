//! SSH servers that mean harm: whatever they send, the program ends with an error in good time, does
//! not panic, and stays small.
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
use posthole_testkit::ssh::raw::*;

macro_rules! case {
    ($name:literal, $says:literal, |$session:ident| $script:block) => {
        Case {
            name: $name,
            says: $says,
            script: |mut $session| Box::pin(async move { $script }),
        }
    };
}

mod channel;
mod ending;
mod keys;
mod login;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    let cases = [
        keys::cases(),
        login::cases(),
        channel::cases(),
        ending::cases(),
    ];
    for case in cases.into_iter().flatten() {
        suite = suite.test(case.name, &[], move || case.run());
    }
    suite.run()
}

/// A server, and what comes of fetching through it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// What the program says at the end, if it is always the same.
    pub(crate) says: &'static str,
    pub(crate) script: Script,
}

pub(crate) type Script = fn(RawSession) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Case {
    fn run(self) {
        let server = RawSshServer::start(self.script);
        let home = Home::new();
        home.write_known_hosts(&server.known_hosts_line());
        home.write_password("sesame");
        home.write_config(&format!(
            "[account.work]\n\
             server = \"pop3://msingh@localhost\"\n\
             via = \"msingh@{}\"\n\
             password = {{ file = \"~/mail-password\" }}\n\
             deliver = \"maildir:~/Mail\"\n\
             timeout = \"1s\"\n\
             [ssh.\"127.0.0.1\"]\n\
             connect-timeout = \"1s\"\n\
             compression = true\n",
            server.addr()
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
        let is_clean = |c: char| c == '\n' || !c.is_control();
        assert!(said.chars().all(is_clean) && said.len() < 4_000, "{said}");
        assert!(took < LONGEST, "{took:?}: {said}");

        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        // In KiB on Linux (getrusage(2)).
        let peak = usage.max_rss() / 1024;
        assert!(peak < PEAK_MIB, "{peak} MiB: {said}");
    }
}

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
