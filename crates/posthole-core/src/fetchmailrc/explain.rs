//! What is wrong, and which of the usual mistakes is probably behind it.
//!
//! fetchmail says "syntax error at WORD" and leaves the rest to its FAQ. Here every mistake that
//! the FAQ, the manual and mailing lists know is recognised by what stands at the place and before
//! it. A word that may be a password is never quoted.

use super::keyword::{Keyword, Scope, option_spellings};
use super::lexer::Kind;
use super::scene::Scene;
use crate::config::{Diagnostic, did_you_mean};

/// What the grammar asks for at a place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    /// An authentication type.
    Auth,
    /// `accept` or `reject`.
    BadHeader,
    /// Something that can be denied, after `no`.
    Deniable,
    /// A global option, after `set`.
    Global,
    /// `here`, after `user` with several names.
    Here,
    /// Anything but `user`, after options of a user who was not named.
    NoUser,
    /// A number, after this keyword.
    Number(Keyword),
    /// A protocol.
    Protocol,
    /// What to do after an error in retrieval.
    RetrieveError,
    /// The name of a server.
    ServerName,
    /// An option of a server or of a user, or the next statement.
    ServerOption,
    /// `poll`, `skip`, `defaults` or `set`.
    Statement,
    /// A text or name, after this keyword.
    Text(Keyword),
    /// An option of a user, or the next statement.
    UserOption,
}

impl Scene<'_> {
    /// Says what is wrong with the token here.
    pub(super) fn explain(&self, expected: Expected) -> Diagnostic {
        let explanation = match expected {
            Expected::Here => self.here_is_missing(),
            _ if matches!(self.token().kind, Kind::End) => self.unfinished(expected),
            Expected::Auth => self.not_auth(),
            Expected::BadHeader => self.wrong_choice("bad-header", &["accept", "reject"]),
            Expected::Deniable => self.not_deniable(),
            Expected::Global => self.not_global(),
            Expected::NoUser => self.user_too_late(),
            Expected::Number(keyword) => self.not_number(keyword),
            Expected::Protocol => self.not_protocol(),
            Expected::RetrieveError => {
                self.wrong_choice("retrieve-error", &["abort", "continue", "markseen"])
            }
            Expected::ServerName => self.not_text("the name of a server"),
            Expected::Text(keyword) => {
                self.not_text(&format!("the text for `{}`", self.spelling_of(keyword)))
            }
            Expected::ServerOption => self.not_option("an option or the next `poll`"),
            Expected::Statement => self.not_option("`poll`, `skip`, `defaults` or `set`"),
            Expected::UserOption => self.not_option("an option of the user or the next `poll`"),
        };
        let mut diagnostic = explanation;
        if diagnostic.span.is_none() {
            diagnostic.span = Some(self.token().span.clone());
        }
        // A quote too few or too many is seen much later, and explains everything.
        if let Some(quotes) = self.trouble_with_quotes() {
            diagnostic = diagnostic.help(quotes);
        }
        diagnostic
    }
}

/// One explanation for each place in the grammar.
impl Scene<'_> {
    fn unfinished(&self, expected: Expected) -> Diagnostic {
        let belongs = match expected {
            Expected::Auth => "an authentication type",
            Expected::BadHeader => "`accept` or `reject`",
            Expected::Deniable => "what `no` denies",
            Expected::Global => "a global option",
            Expected::Number(_) => "a number",
            Expected::Protocol => "a protocol",
            Expected::RetrieveError => "`abort`, `continue` or `markseen`",
            Expected::ServerName => "the name of a server",
            Expected::Text(_) => "a text",
            Expected::Here
            | Expected::NoUser
            | Expected::ServerOption
            | Expected::Statement
            | Expected::UserOption => "an option",
        };
        let diagnostic = Diagnostic::error(format!("the file ends where {belongs} belongs"));
        match self.previous() {
            Some(previous) => diagnostic.label(format!("after {}", self.word(previous))),
            None => diagnostic,
        }
    }

    /// After `user` with several names, of which the second may be none.
    fn here_is_missing(&self) -> Diagnostic {
        let mut names = self.tokens[self.statement..self.at].iter();
        let names = names.rposition(|token| matches!(token.kind, Kind::Keyword(Keyword::User)));
        let second = names.map_or(self.at, |user| self.statement + user + 2);
        let scene = Scene {
            at: second,
            ..*self
        };
        let taken = Diagnostic::error(format!(
            "{} is taken for one more name of the user, and `here` is missing",
            scene.found()
        ));
        let taken = taken.at(scene.token().span.clone());
        scene.with_guess(taken).unwrap_or_else(|_| {
            Diagnostic::error(format!("{} stands where `here` belongs", self.found())).help(
                "several names after `user` are local ones and end with `here`; the name on the \
                 server stands alone",
            )
        })
    }

    fn user_too_late(&self) -> Diagnostic {
        let word = self.word(self.token());
        Diagnostic::error(format!("{word} stands behind options of a user"))
            .label("must come first")
            .help(
                "options such as `pass`, `is` and `keep` follow the `user` they belong to; \
                   those of the server come before it",
            )
    }

    fn not_global(&self) -> Diagnostic {
        let found = self.found();
        let diagnostic = Diagnostic::error(format!("{found} cannot be set for the whole run"));
        match self.keyword().map(Keyword::scope) {
            Some(Scope::Server | Scope::User) => diagnostic.help(
                "to set it for all servers, write it in an entry `defaults` at the beginning",
            ),
            _ => {
                let known = "known are bouncemail, daemon, idfile, invisible, logfile, pidfile, \
                             postmaster, properties, showdots, softbounce, spambounce, syslog";
                self.with_guess(diagnostic)
                    .unwrap_or_else(|d| d.help(known))
            }
        }
    }

    fn not_deniable(&self) -> Diagnostic {
        let found = self.found();
        let diagnostic = Diagnostic::error(format!("{found} cannot be denied with `no`"));
        match self.keyword() {
            Some(keyword) if keyword.scope() == Scope::Global => self.global_in_entry(),
            Some(keyword) if keyword.scope() != Scope::Value => {
                diagnostic.help("leave it out; what is not said is not done")
            }
            _ => self.with_guess(diagnostic).unwrap_or_else(|diagnostic| {
                diagnostic.label("expected an option that can be on or off")
            }),
        }
    }

    fn not_number(&self, keyword: Keyword) -> Diagnostic {
        let (found, word) = (self.found(), self.spelling_of(keyword));
        let diagnostic = Diagnostic::error(format!("`{word}` needs a number, not {found}"));
        let raw = &self.text[self.token().span.clone()];
        let digits = raw.iter().filter(|octet| octet.is_ascii_digit()).count();
        let after_equals = self
            .previous()
            .is_some_and(|token| matches!(token.kind, Kind::Equals));
        if matches!(self.token().kind, Kind::Equals) || after_equals {
            Diagnostic::error(format!("`{word}` takes no `=`"))
                .help(format!("write `{word}` and the number"))
        } else if matches!(self.token().kind, Kind::Text { quoted: true, .. })
            && digits + 2 == raw.len()
        {
            diagnostic.help("write it without quotes")
        } else if keyword == Keyword::Port {
            diagnostic.help("`service` takes the name of a service as well as a number")
        } else if digits > 0 {
            diagnostic
                .help("write all of its digits and no unit: sizes are in octets, times in seconds")
        } else {
            diagnostic
        }
    }

    fn not_text(&self, wanted: &str) -> Diagnostic {
        let found = self.found();
        let diagnostic = Diagnostic::error(format!("{found} stands where {wanted} belongs"));
        match &self.token().kind {
            Kind::Equals => diagnostic
                .help("leave the `=` out; a text that begins with `=` must stand in quotes"),
            Kind::Number(_) => diagnostic.help("a text of digits only must stand in quotes"),
            Kind::Keyword(_) => diagnostic
                .help("a word of the language that is meant as a text must stand in quotes"),
            Kind::End | Kind::Text { .. } => diagnostic,
        }
    }

    fn not_protocol(&self) -> Diagnostic {
        let diagnostic = self.wrong_choice("proto", PROTOCOLS);
        match self.bare_word().map(<[u8]>::to_ascii_lowercase).as_deref() {
            Some(b"pop3s" | b"pops") => {
                diagnostic.help("write `proto pop3`, and `ssl` as an option of the user")
            }
            Some(b"imaps") => {
                diagnostic.help("write `proto imap`, and `ssl` as an option of the user")
            }
            Some(b"pop") => diagnostic.label("").help("write `pop3`"),
            Some(b"imap4" | b"imap4rev1") => diagnostic.help("write `imap`"),
            _ => diagnostic,
        }
    }

    fn not_auth(&self) -> Diagnostic {
        let diagnostic = self.wrong_choice("auth", AUTHS);
        match self.bare_word().map(<[u8]>::to_ascii_lowercase).as_deref() {
            Some(b"plain" | b"login" | b"pass") => diagnostic.help("write `auth password`"),
            _ => diagnostic,
        }
    }

    /// Something else than one of a few words.
    fn wrong_choice(&self, option: &str, choices: &[&str]) -> Diagnostic {
        let found = self.found();
        let known = format!("known are {}", choices.join(", "));
        let diagnostic = Diagnostic::error(format!("`{option}` does not know {found}"));
        let Kind::Text { value, quoted } = &self.token().kind else {
            if matches!(self.token().kind, Kind::Equals) {
                return Diagnostic::error(format!("`{option}` takes no `=`")).help("leave it out");
            }
            return diagnostic.help(known);
        };
        let value = String::from_utf8_lossy(value);
        let folded = value.to_ascii_lowercase();
        if *quoted {
            Diagnostic::error(format!("`{option}` takes a word without quotes")).help(known)
        } else if choices.contains(&folded.as_str()) {
            diagnostic.help(format!(
                "write `{folded}`: these words are not mixed of small and capital letters"
            ))
        } else if let Some(near) = did_you_mean(&value, choices.iter()) {
            diagnostic
                .label(format!("did you mean `{near}`?"))
                .help(known)
        } else {
            diagnostic.help(known)
        }
    }

    /// Something that begins no option.
    fn not_option(&self, wanted: &str) -> Diagnostic {
        let diagnostic =
            || Diagnostic::error(format!("{} stands where {wanted} belongs", self.found()));
        match &self.token().kind {
            Kind::Equals if self.follows_bare_text() => self.text_cut_short('='),
            Kind::Equals => diagnostic().help("options take no `=`; leave it out"),
            Kind::Number(_) if self.follows_server_name() => {
                diagnostic().help("a port is written `port 110`, behind the name of the server")
            }
            Kind::Number(_) => {
                diagnostic().help("it belongs to no option; is the option's name missing?")
            }
            Kind::Keyword(keyword) => self.misplaced_keyword(*keyword, diagnostic()),
            Kind::Text { quoted: true, .. } => diagnostic()
                .help("it belongs to no option; the option before takes one text, or none"),
            Kind::End | Kind::Text { .. } => self.not_option_but_word(diagnostic()),
        }
    }

    fn misplaced_keyword(&self, keyword: Keyword, diagnostic: Diagnostic) -> Diagnostic {
        match (keyword, keyword.scope()) {
            (Keyword::Here | Keyword::There, _) => diagnostic
                .help("it belongs behind the names after `user`, `is` or `to`, and only once"),
            (_, Scope::Global) => self.global_in_entry(),
            (_, Scope::Server | Scope::User) => {
                diagnostic.help("options follow the `poll`, `skip` or `defaults` that they are for")
            }
            (
                Keyword::Apop
                | Keyword::Auto
                | Keyword::Etrn
                | Keyword::Imap
                | Keyword::Kpop
                | Keyword::Odmr
                | Keyword::Pop2
                | Keyword::Pop3
                | Keyword::Rpop
                | Keyword::Sdps,
                _,
            ) => diagnostic.help(format!("write `proto` before it: proto {}", self.bare())),
            (Keyword::Accept | Keyword::Reject, _) => {
                diagnostic.help("write `bad-header` before it")
            }
            (Keyword::No, _) => diagnostic,
            _ => diagnostic.help(format!("write `auth` before it: auth {}", self.bare())),
        }
    }

    fn global_in_entry(&self) -> Diagnostic {
        let word = self.bare();
        Diagnostic::error(format!("`{word}` is no option of a server or a user")).help(format!(
            "it holds for the whole run: write `set {word}` before the first `poll`"
        ))
    }

    /// A word without quotes that begins no option.
    fn not_option_but_word(&self, diagnostic: Diagnostic) -> Diagnostic {
        let word = self.bare();
        if word.starts_with('#') {
            return Diagnostic::error("a comment without the end of its line")
                .help("end the last line of the file with a newline");
        }
        if word.starts_with('\u{feff}') {
            return Diagnostic::error(
                "the file begins with a byte order mark, which fetchmail takes for text",
            )
            .help("save the file as UTF-8 without BOM");
        }
        if let Some(separator) = self.cut_by() {
            return self.text_cut_short(separator);
        }
        let switch = self
            .previous()
            .filter(|token| matches!(token.kind, Kind::Keyword(keyword) if keyword.is_switch()));
        if let Some(switch) = switch {
            let option = self.word(switch);
            let truth = ["yes", "on", "true", "no", "off", "false"];
            return if truth.contains(&word.to_ascii_lowercase().as_str()) {
                let option = option.trim_matches('`');
                diagnostic.help(format!(
                    "`{option}` alone switches it on, `no {option}` off"
                ))
            } else {
                let help = format!(
                    "{option} takes no argument; if it is meant as one of several names, write \
                     it in quotes"
                );
                self.with_guess(diagnostic).unwrap_or_else(|d| d.help(help))
            };
        }
        if self
            .previous()
            .is_some_and(|token| matches!(token.kind, Kind::Keyword(Keyword::Here)))
        {
            return diagnostic.help("`here` ends a list of names; the other names come before it");
        }
        self.with_guess(diagnostic).unwrap_or_else(|diagnostic| {
            match self.previous().map(|token| &token.kind) {
                Some(Kind::Text { .. }) => diagnostic
                    .help("it belongs to no option; a text with blanks must stand in quotes"),
                _ => diagnostic,
            }
        })
    }

    /// Names the word that was probably meant, or gives the diagnostic back.
    fn with_guess(&self, diagnostic: Diagnostic) -> Result<Diagnostic, Diagnostic> {
        if self.is_hidden(self.token())
            || !matches!(self.token().kind, Kind::Text { quoted: false, .. })
        {
            return Err(diagnostic);
        }
        if let Some(option) = self.option_in_disguise() {
            return Ok(diagnostic.help(format!("write `{option}`")));
        }
        let word = self.bare();
        match did_you_mean(&word, option_spellings()) {
            Some(near) => Ok(diagnostic.label(format!("did you mean `{near}`?"))),
            None => Err(diagnostic),
        }
    }

    /// The option that a word would be with small letters, or with a blank behind `no`.
    pub(super) fn option_in_disguise(&self) -> Option<String> {
        let word = self.bare_word().filter(|_| !self.is_hidden(self.token()))?;
        let folded = String::from_utf8(word.to_ascii_lowercase()).ok()?;
        if let Some(denied) = folded.strip_prefix("no")
            && Keyword::of(denied.as_bytes()).is_some_and(Keyword::can_be_denied)
        {
            return Some(format!("no {denied}"));
        }
        let known = option_spellings().any(|spelling| spelling == folded);
        (known && folded.as_bytes() != word).then_some(folded)
    }

    fn text_cut_short(&self, separator: char) -> Diagnostic {
        Diagnostic::error(format!("a text without quotes ends at `{separator}`"))
            .label("this no longer belongs to it")
            .help(format!("a text with `{separator}` must stand in quotes"))
    }
}

const AUTHS: &[&str] = &[
    "any",
    "apop",
    "cram-md5",
    "external",
    "gssapi",
    "implicit",
    "kerberos",
    "kerberos_v5",
    "msn",
    "ntlm",
    "oauthbearer",
    "otp",
    "password",
    "ssh",
];
const PROTOCOLS: &[&str] = &[
    "apop", "auto", "etrn", "imap", "kpop", "odmr", "pop2", "pop3", "rpop", "sdps",
];
