//! What the fuzz targets run, kept here so that ordinary tests run it too.
//!
//! A function takes any octets and panics if a promise is broken. It is not part of the API.

use std::ops::Range;

use secrecy::ExposeSecret;

use super::ssh_command::{Plugin, SshCommand};
use super::{Flags, Rcfile, Request, configdump, parse};
use crate::config::Diagnostic;

/// Reads an rc file, and works out what it amounts to.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn rcfile(text: &[u8]) {
    let (rcfile, mut diagnostics) = parse(text);
    let redacted = rcfile.redact(text);
    assert_eq!(redacted.len(), text.len(), "the text keeps its length");
    let spans = rcfile.entries.iter().flat_map(|entry| {
        let of_users = entry.users.iter().flat_map(|user| &user.written);
        entry.written.iter().chain(of_users)
    });
    for written in spans.chain(&rcfile.set) {
        assert_fits(&written.span, &redacted);
    }
    if !diagnostics.iter().any(Diagnostic::is_error) {
        let (configuration, more) = rcfile.resolve(&request());
        diagnostics.extend(more);
        assert!(
            configuration
                .entries
                .iter()
                .all(|entry| !entry.users.is_empty())
        );
        let dump = configdump(&configuration, &["pop3"]).to_string();
        assert!(
            dump.is_ascii() || !text.is_ascii() || text.contains(&b'\\'),
            "{dump}"
        );
        assert_passwords_are_hidden(text, &rcfile, &diagnostics);
    }
    for diagnostic in &diagnostics {
        if let Some(span) = &diagnostic.span {
            assert_fits(span, &redacted);
        }
        assert!(!diagnostic.message.is_empty());
    }
}

/// Reads a command of `preconnect` or, behind a `%`, of `plugin`.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn ssh_command(command: &[u8]) {
    if let Some(plugin) = command.strip_prefix(b"%") {
        if let Ok(Plugin::Ssh { command, target }) = Plugin::parse(plugin, "mail.example", "110") {
            assert!(!command.host.is_empty() && !target.host.is_empty() && target.port > 0);
        }
        return;
    }
    let variables = |name: &str| (name == "HOME").then(|| "/home/me".to_owned());
    if let Ok(command) = SshCommand::of_preconnect(command, &variables) {
        assert!(!command.host.is_empty() && !command.forwards.is_empty());
        for forward in &command.forwards {
            let host = forward
                .bind
                .as_deref()
                .filter(|bind| !matches!(*bind, "" | "*" | "::" | "0.0.0.0"));
            let found = command.forward_for(host.unwrap_or("localhost"), forward.port);
            assert!(found.is_some(), "{forward:?} is found");
        }
    }
    if let Ok(text) = std::str::from_utf8(command) {
        super::ssh_command::assert_words_agree(text);
    }
}

fn assert_fits(span: &Range<usize>, redacted: &str) {
    assert!(
        redacted.get(span.clone()).is_some(),
        "{span:?} is a piece of the text"
    );
}

/// A password that stands in the text as it is, and once only, is in nothing that is shown.
fn assert_passwords_are_hidden(text: &[u8], rcfile: &Rcfile, diagnostics: &[Diagnostic]) {
    let users = rcfile.entries.iter().flat_map(|entry| &entry.users);
    for password in users.filter_map(|user| user.options.password.as_ref()) {
        let password = password.expose_secret();
        let (Ok(shown), 8..) = (std::str::from_utf8(password), password.len()) else {
            continue;
        };
        if memchr::memmem::find_iter(text, password).count() != 1 {
            continue;
        }
        assert!(!rcfile.redact(text).contains(shown), "it is in the text");
        for diagnostic in diagnostics {
            let help = diagnostic.help.as_deref().unwrap_or_default();
            for words in [&diagnostic.message, &diagnostic.label, help] {
                assert!(!words.contains(shown), "it is in: {words}");
            }
        }
    }
}

/// Somebody who asks for everything.
pub(super) fn request() -> Request {
    Request {
        check_all: true,
        flags: Flags::default(),
        hostname: "host.example".into(),
        idfile: "/home/me/.fetchids".into(),
        names: Vec::new(),
        rcfile_dir: "/home/me".into(),
        superuser: false,
        user: "me".into(),
    }
}
