//! The grammar: from tokens to [`Rcfile`], going on with the next statement after a mistake.
//!
//! It has to fail on the token that fetchmail's own parser, an LALR(1) one, fails on, and accept
//! what that accepts; how the mistake is explained is the business of [`explain`](super::explain).

mod server;
mod user;

use std::ops::Range;

use bstr::BString;
use secrecy::SecretSlice;

use super::ast::{Entry, Rcfile, User, Verb, Written};
use super::explain::Expected;
use super::keyword::{Keyword, Scope};
use super::lexer::{self, Kind, Token};
use super::options::ServerOptions;
use super::scene::Scene;
use super::secrets;
use crate::config::{Diagnostic, Spanned};

/// Reads the text, going on after every mistake.
pub(super) fn parse(text: &[u8]) -> (Rcfile, Vec<Diagnostic>) {
    let lexed = lexer::lex(text);
    let hidden = secrets::find(text, &lexed);
    let mut parser = Parser {
        scene: Scene {
            text,
            tokens: &lexed.tokens,
            comments: &lexed.comments,
            hidden: &hidden,
            statement: 0,
            at: 0,
        },
        rcfile: Rcfile::default(),
        diagnostics: Vec::new(),
    };
    while !matches!(parser.token().kind, Kind::End) {
        parser.scene.statement = parser.scene.at;
        if parser.statement().is_err() {
            parser.skip_to_next_statement();
        }
    }
    let (mut rcfile, diagnostics) = (parser.rcfile, parser.diagnostics);
    rcfile.secrets = hidden;
    (rcfile, diagnostics)
}

struct Parser<'t> {
    scene: Scene<'t>,
    rcfile: Rcfile,
    diagnostics: Vec<Diagnostic>,
}

/// That a statement is broken; what is wrong with it has been noted.
struct Broken;

type Parsed<T> = Result<T, Broken>;

/// Statements.
impl Parser<'_> {
    fn statement(&mut self) -> Parsed<()> {
        match self.keyword() {
            Some(Keyword::Set) => self.set(),
            Some(Keyword::Defaults) => self.entry(Verb::Defaults),
            Some(Keyword::Poll) => self.entry(Verb::Poll),
            Some(Keyword::Skip) => self.entry(Verb::Skip),
            _ => Err(self.unexpected(Expected::Statement)),
        }
    }

    fn set(&mut self) -> Parsed<()> {
        self.advance();
        let start = self.scene.at;
        let denied = self.accept_keyword(Keyword::No);
        let keyword = self
            .keyword()
            .filter(|keyword| keyword.scope() == Scope::Global || *keyword == Keyword::Properties);
        let Some(keyword) = keyword else {
            return Err(self.unexpected(Expected::Global));
        };
        self.check_denied(keyword, denied)?;
        self.advance();
        if !keyword.is_switch() && matches!(self.token().kind, Kind::Equals) {
            self.advance();
        }
        match keyword {
            Keyword::Bouncemail => self.rcfile.globals.bouncemail = Some(!denied),
            Keyword::Daemon => self.rcfile.globals.daemon = Some(self.number(keyword)?),
            Keyword::Idfile => self.rcfile.globals.idfile = Some(self.text(keyword)?),
            Keyword::Invisible => self.rcfile.globals.invisible = Some(!denied),
            Keyword::Logfile => self.rcfile.globals.logfile = Some(self.text(keyword)?),
            Keyword::Pidfile => self.rcfile.globals.pidfile = Some(self.text(keyword)?),
            Keyword::PinentryTimeout => {
                self.rcfile.globals.pinentry_timeout = Some(self.number(keyword)?);
            }
            Keyword::Postmaster => self.rcfile.globals.postmaster = Some(self.text(keyword)?),
            Keyword::Showdots => self.rcfile.globals.showdots = Some(!denied),
            Keyword::Softbounce => self.rcfile.globals.softbounce = Some(!denied),
            Keyword::Spambounce => self.rcfile.globals.spambounce = Some(!denied),
            Keyword::Syslog => self.rcfile.globals.syslog = Some(!denied),
            _ => self.rcfile.globals.properties = Some(self.text(keyword)?),
        }
        let written = self.written(keyword, denied, start);
        self.warn_of_repetition(&written, place_of_earlier(&self.rcfile.set, keyword));
        self.rcfile.set.push(written);
        Ok(())
    }

    fn entry(&mut self, verb: Verb) -> Parsed<()> {
        let span = self.token().span.clone();
        self.advance();
        let name = if verb == Verb::Defaults {
            Spanned::new("defaults".into(), span)
        } else {
            let span = self.token().span.clone();
            let value = self.text_for(Expected::ServerName)?;
            Spanned::new(value, span)
        };
        let mut entry = Entry {
            verb,
            name,
            options: ServerOptions {
                skip: (verb == Verb::Skip).then_some(true),
                ..ServerOptions::default()
            },
            written: Vec::new(),
            users: Vec::new(),
        };
        while let Some(keyword) = self.option_of(Scope::Server) {
            self.server_option(keyword, &mut entry)?;
        }
        match self.option_of(Scope::User) {
            Some(Keyword::User) => {
                while self.keyword() == Some(Keyword::User) {
                    let user = self.user(&mut entry)?;
                    entry.users.push(user);
                }
            }
            Some(_) => {
                let mut user = User::default();
                self.user_options(&mut user, &mut entry)?;
                entry.users.push(user);
                if self.keyword() == Some(Keyword::User) {
                    return Err(self.unexpected(Expected::NoUser));
                }
            }
            None => {}
        }
        let at_end = matches!(self.token().kind, Kind::End)
            || self
                .keyword()
                .is_some_and(|k| k.scope() == Scope::Statement);
        if !at_end {
            return Err(if self.accept_keyword(Keyword::No) {
                self.unexpected(Expected::Deniable)
            } else if entry.users.is_empty() {
                self.unexpected(Expected::ServerOption)
            } else {
                self.unexpected(Expected::UserOption)
            });
        }
        self.rcfile.entries.push(entry);
        Ok(())
    }

    /// Skips what follows a mistake up to where the next statement begins.
    fn skip_to_next_statement(&mut self) {
        // The word that is wrong may itself begin a statement.
        if self.scene.at == self.scene.statement {
            self.advance();
        }
        while !matches!(self.token().kind, Kind::End)
            && self
                .keyword()
                .is_none_or(|keyword| keyword.scope() != Scope::Statement)
        {
            self.advance();
        }
    }
}

/// Tokens and arguments.
impl Parser<'_> {
    fn token(&self) -> &Token {
        self.scene.token()
    }

    fn advance(&mut self) {
        self.scene.at = (self.scene.at + 1).min(self.scene.tokens.len() - 1);
    }

    fn keyword(&self) -> Option<Keyword> {
        self.scene.keyword()
    }

    /// The option that begins here, with `no` or without it, if it is one of this scope.
    fn option_of(&self, scope: Scope) -> Option<Keyword> {
        let mut keyword = self.keyword()?;
        if keyword == Keyword::No {
            let Kind::Keyword(denied) = self.scene.tokens.get(self.scene.at + 1)?.kind else {
                return None;
            };
            keyword = denied;
        }
        (keyword.scope() == scope).then_some(keyword)
    }

    fn accept_keyword(&mut self, keyword: Keyword) -> bool {
        let found = self.keyword() == Some(keyword);
        if found {
            self.advance();
        }
        found
    }

    fn accept_number(&mut self) -> Option<i32> {
        let Kind::Number(number) = self.token().kind else {
            return None;
        };
        self.advance();
        Some(number)
    }

    /// Refuses `no` before what cannot be denied; the keyword is the current token.
    fn check_denied(&mut self, keyword: Keyword, denied: bool) -> Parsed<()> {
        if denied && !keyword.can_be_denied() {
            return Err(self.unexpected(Expected::Deniable));
        }
        Ok(())
    }

    fn number(&mut self, keyword: Keyword) -> Parsed<i32> {
        self.accept_number()
            .ok_or_else(|| self.unexpected(Expected::Number(keyword)))
    }

    fn numbers(&mut self, keyword: Keyword, numbers: &mut Vec<i32>) -> Parsed<()> {
        numbers.push(self.number(keyword)?);
        while let Some(number) = self.accept_number() {
            numbers.push(number);
        }
        Ok(())
    }

    fn text(&mut self, keyword: Keyword) -> Parsed<BString> {
        self.text_for(Expected::Text(keyword))
    }

    fn text_for(&mut self, expected: Expected) -> Parsed<BString> {
        let Kind::Text { value, .. } = &self.token().kind else {
            return Err(self.unexpected(expected));
        };
        let value = value.clone();
        self.diagnostics.extend(self.scene.doubt_text(expected));
        self.advance();
        Ok(value)
    }

    fn texts(&mut self, keyword: Keyword, texts: &mut Vec<BString>) -> Parsed<()> {
        texts.push(self.text(keyword)?);
        while matches!(self.token().kind, Kind::Text { .. }) {
            texts.push(self.text(keyword)?);
        }
        Ok(())
    }

    fn secret(&mut self, keyword: Keyword) -> Parsed<SecretSlice<u8>> {
        let text = self.text(keyword)?;
        Ok(Vec::from(text).into())
    }

    /// What was written from the token `start` up to here.
    fn written(&self, keyword: Keyword, denied: bool, start: usize) -> Written {
        let tokens = &self.scene.tokens[start..self.scene.at.max(start + 1)];
        let first = tokens.first().map_or(0, |token| token.span.start);
        let last = tokens.last().map_or(first, |token| token.span.end);
        Written {
            keyword,
            denied,
            span: first..last,
        }
    }

    fn warn_of_repetition(&mut self, written: &Written, earlier: Option<Range<usize>>) {
        if let Some(earlier) = earlier {
            let warning = self.scene.repeated(written, &earlier);
            self.diagnostics.push(warning);
        }
    }

    fn unexpected(&mut self, expected: Expected) -> Broken {
        let diagnostic = self.scene.explain(expected);
        // The doubt about a word is cleared up by the mistake that comes of it.
        self.diagnostics
            .pop_if(|doubt| !doubt.is_error() && doubt.span == diagnostic.span);
        self.diagnostics.push(diagnostic);
        Broken
    }
}

/// Where an option that counts once was written before.
fn place_of_earlier(written: &[Written], keyword: Keyword) -> Option<Range<usize>> {
    let is_list = matches!(
        keyword,
        Keyword::Aka
            | Keyword::Antispam
            | Keyword::FetchDomains
            | Keyword::Folder
            | Keyword::Is
            | Keyword::Localdomains
            | Keyword::SmtpHost
            | Keyword::To
    );
    if is_list {
        return None;
    }
    let last = written.iter().rfind(|written| written.keyword == keyword);
    last.map(|written| written.span.clone())
}

/// The callers ask for the scope of a keyword first.
fn unreachable_option(keyword: Keyword) -> ! {
    unreachable!("{keyword:?} is an option of another scope")
}
