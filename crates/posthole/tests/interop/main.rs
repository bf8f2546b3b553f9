//! The program against OpenSSH's sshd and Dovecot, as its users run it.
//!
//! The mailbox lies behind an sshd whose user has no shell and may forward to one port. What the
//! engine does with servers that misbehave is tested elsewhere; here the parts are real, and so are
//! kill(2), the terminal and the agent.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod backend;
mod changes;
mod check;
mod daemon;
mod destinations;
mod dropbear;
mod fetch;
mod fetchmail;
mod fetchmail_texts;
mod forward;
mod host_key;
mod interrupted;
mod kerberos;
mod login;
mod mail_login;
mod mail_programs;
mod openssh;
mod output;
mod passwords;
mod prompts;
mod refusals;
mod ssh_config;
mod systemd;
mod takeover;
mod tls;
mod trust;
mod world;

use std::process::ExitCode;

use posthole_testkit::real::Suite;

fn main() -> ExitCode {
    let suite = Suite::new();
    let suite = fetch::tests(suite);
    let suite = fetchmail::tests(suite);
    let suite = fetchmail_texts::tests(suite);
    let suite = interrupted::tests(suite);
    let suite = login::tests(suite);
    let suite = openssh::tests(suite);
    let suite = ssh_config::tests(suite);
    let suite = prompts::tests(suite);
    let suite = mail_login::tests(suite);
    let suite = kerberos::tests(suite);
    let suite = host_key::tests(suite);
    let suite = passwords::tests(suite);
    let suite = trust::tests(suite);
    let suite = refusals::tests(suite);
    let suite = dropbear::tests(suite);
    let suite = backend::tests(suite);
    let suite = check::tests(suite);
    let suite = output::tests(suite);
    let suite = destinations::tests(suite);
    let suite = changes::tests(suite);
    let suite = tls::tests(suite);
    let suite = daemon::tests(suite);
    let suite = forward::tests(suite);
    let suite = mail_programs::tests(suite);
    let suite = systemd::tests(suite);
    let suite = takeover::tests(suite);
    suite.run()
}
