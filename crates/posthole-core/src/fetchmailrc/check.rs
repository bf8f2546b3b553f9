//! What fetchmail refuses, or warns of, once everything is merged.

use std::collections::HashSet;
use std::ops::Range;

use bstr::{BString, ByteSlice};

use super::ast::{self, Written};
use super::configuration::{Entry, Globals, User, service_port};
use super::keyword::Keyword;
use super::options::Protocol;
use super::resolve::Draft;
use crate::config::Diagnostic;

/// Looks at entries, each with what it was made from.
pub(super) fn check(globals: &Globals, entries: &[(&Draft<'_>, &Entry)]) -> Vec<Diagnostic> {
    let mut checker = Checker {
        globals,
        diagnostics: Vec::new(),
    };
    for (draft, entry) in entries {
        checker.service(draft, entry);
        checker.tls(draft, entry);
        for (index, user) in entry.users.iter().enumerate() {
            checker.lmtp(draft, entry, (index, user));
            checker.multidrop(draft, entry, (index, user));
            checker.selection(draft, entry, (index, user));
        }
    }
    checker.idle(entries);
    checker.unique(entries);
    checker.diagnostics
}

struct Checker<'g> {
    globals: &'g Globals,
    diagnostics: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn service(&mut self, draft: &Draft<'_>, entry: &Entry) {
        let Some(service) = &entry.service else {
            return;
        };
        // A name may be one that services(5) has here; a number is right or wrong.
        let digits = |octet: &u8| octet.is_ascii_digit() || b"+-".contains(octet);
        let port = service_port(service);
        if port.is_none() && service.trim_ascii().iter().all(digits) {
            let error = Diagnostic::error(format!("`{service}` is no port"))
                .help("a port is a number from 1 to 65535");
            self.note(error, draft.place(PORT));
        }
        if entry.protocol == Protocol::Rpop && port.is_some_and(|port| port >= 1024) {
            let error =
                Diagnostic::error(format!("RPOP of `{}` needs a port below 1024", entry.name))
                    .help("a server believes RPOP only from such ports");
            self.note(error, draft.place(PORT));
        }
    }

    fn tls(&mut self, draft: &Draft<'_>, entry: &Entry) {
        let (plain, tls) = match entry.protocol {
            Protocol::Pop3 => (110, 995),
            Protocol::Imap => (143, 993),
            _ => return,
        };
        let port = entry
            .service
            .as_ref()
            .and_then(|service| service_port(service));
        let help = match port {
            Some(port) if port == tls && entry.users.iter().any(|user| !user.ssl) => {
                format!("port {port} is for TLS from the start: add `ssl` to the user's options")
            }
            Some(port) if port == plain && entry.users.iter().any(|user| user.ssl) => {
                format!(
                    "with `ssl` the port is usually {tls}; without it, STARTTLS is used on port \
                     {port}"
                )
            }
            _ => return,
        };
        let message = format!(
            "the port of `{}` does not go with the user's `ssl`",
            entry.name
        );
        self.note(Diagnostic::warning(message).help(help), draft.place(PORT));
    }

    fn lmtp(&mut self, draft: &Draft<'_>, entry: &Entry, (index, user): (usize, &User)) {
        let default_port = |host: &BString| {
            let port = host.rfind_byte(b'/').map(|slash| &host[slash + 1..]);
            !host.starts_with(b"/") && port.is_none_or(|port| service_port(port) == Some(25))
        };
        if user.lmtp && user.smtphunt.iter().any(default_port) {
            let error =
                Diagnostic::error(format!("LMTP for `{}` cannot use SMTP's port", entry.name))
                    .help(
                        "name the port or the socket: smtphost localhost/24, or smtphost /run/lmtp",
                    );
            self.note(error, draft.place_of_user(index, &[Keyword::Lmtp]));
        }
    }

    fn multidrop(&mut self, draft: &Draft<'_>, entry: &Entry, (index, user): (usize, &User)) {
        if user.is_multidrop() && draft.server.envelope.is_none() {
            let (remote, name) = (&user.remote, &entry.name);
            let message =
                format!("several local names for {remote} at `{name}`, and no `envelope`");
            let warning = Diagnostic::warning(message).help(
                "without the header that names the envelope's recipient, mail is sorted by \
                 guessing, and what is not recognised goes to the postmaster",
            );
            let keywords = [Keyword::Is, Keyword::To, Keyword::User];
            self.note(warning, draft.place_of_user(index, &keywords));
        }
    }

    fn selection(&mut self, draft: &Draft<'_>, entry: &Entry, (index, user): (usize, &User)) {
        let pop3 = matches!(
            entry.protocol,
            Protocol::Apop | Protocol::Pop3 | Protocol::Rpop
        );
        if pop3 && !user.folders.is_empty() {
            let warning = Diagnostic::warning("POP3 has no folders")
                .help("use `proto imap`, or leave `folder` out");
            self.note(warning, draft.place_of_user(index, &[Keyword::Folder]));
        }
        if user.fetchall && user.keep && (self.globals.poll_interval > 0 || user.idle) {
            let warning = Diagnostic::warning(
                "with `fetchall` and `keep`, every poll fetches everything again",
            )
            .help("leave one of them out");
            self.note(warning, draft.place_of_user(index, &[Keyword::Fetchall]));
        }
    }

    fn idle(&mut self, entries: &[(&Draft<'_>, &Entry)]) {
        let users = || entries.iter().flat_map(|(_, entry)| &entry.users);
        let mailboxes: usize = users().map(|user| user.folders.len().max(1)).sum();
        let idle = entries.iter().find_map(|(draft, entry)| {
            let user = entry.users.iter().position(|user| user.idle)?;
            Some(draft.place_of_user(user, &[Keyword::Idle]))
        });
        if let Some(span) = idle.filter(|_| mailboxes > 1) {
            let message = "`idle` waits on one mailbox and never comes to the others";
            let help =
                "use it with a single account and folder only, or run one fetchmail for each";
            self.note(Diagnostic::error(message).help(help), span);
        }
    }

    /// fetchmail(1), BUGS: what was seen is remembered by user and server.
    fn unique(&mut self, entries: &[(&Draft<'_>, &Entry)]) {
        let mut seen = HashSet::new();
        for (draft, entry) in entries {
            for (index, user) in entry.users.iter().enumerate() {
                if !seen.insert((&user.remote, entry.host())) {
                    let message = format!("{} at `{}` is there twice", user.remote, entry.host());
                    let help =
                        "fetchmail cannot tell apart what was seen through the one and the other";
                    let span = draft.place_of_user(index, &[Keyword::User]);
                    self.note(Diagnostic::warning(message).help(help), span);
                }
            }
        }
    }

    fn note(&mut self, mut diagnostic: Diagnostic, span: Option<Range<usize>>) {
        diagnostic.span = span;
        self.diagnostics.push(diagnostic);
    }
}

impl Draft<'_> {
    /// Where the server's options say one of these last, or else where the entry begins.
    fn place(&self, keywords: &[Keyword]) -> Option<Range<usize>> {
        let origin = self.origin?;
        Some(place_in(&origin.written, keywords, origin))
    }

    /// Where a user's options say one of these last, or else where the entry begins.
    fn place_of_user(&self, index: usize, keywords: &[Keyword]) -> Option<Range<usize>> {
        let origin = self.origin?;
        let written = origin
            .users
            .get(index)
            .map_or(&[][..], |user| &user.written);
        Some(place_in(written, keywords, origin))
    }
}

fn place_in(written: &[Written], keywords: &[Keyword], entry: &ast::Entry) -> Range<usize> {
    let last = written
        .iter()
        .rfind(|written| keywords.contains(&written.keyword));
    last.map_or(&entry.name.span, |written| &written.span)
        .clone()
}

/// What says a port; `proto kpop` does, too.
const PORT: &[Keyword] = &[Keyword::Port, Keyword::Protocol, Keyword::Service];
