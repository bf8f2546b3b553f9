//! The grammar: from tokens to [`Rcfile`], going on with the next statement after a mistake.
//!
//! It has to fail on the token that fetchmail's own parser, an LALR(1) one, fails on, and accept
//! what that accepts; how the mistake is explained is the business of [`explain`](super::explain).

use std::net::Ipv4Addr;
use std::ops::Range;

use bstr::{BString, ByteSlice};
use secrecy::SecretSlice;

use super::ast::{Entry, Rcfile, User, Verb, Written};
use super::explain::{Expected, Scene};
use super::keyword::{Keyword, Scope};
use super::lexer::{self, Kind, Token};
use super::options::{
    Auth, BadHeader, Envelope, LocalName, Protocol, RetrieveError, ServerOptions, UserOptions,
};
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

/// Options of a server.
impl Parser<'_> {
    fn server_option(&mut self, keyword: Keyword, entry: &mut Entry) -> Parsed<()> {
        let start = self.scene.at;
        let denied = self.accept_keyword(Keyword::No);
        self.check_denied(keyword, denied)?;
        self.advance();
        let options = &mut entry.options;
        match keyword {
            Keyword::Aka => self.texts(keyword, &mut options.aka)?,
            // `any` is what nothing said means, and so does not cover `defaults`.
            Keyword::Auth => {
                options.auth = Some(self.auth()?).filter(|auth| *auth != Auth::Any);
            }
            Keyword::BadHeader => {
                let accept = self.bad_header()?;
                options.bad_header = (accept == BadHeader::Accept).then_some(accept);
            }
            Keyword::Checkalias => options.checkalias = Some(!denied),
            Keyword::Dns => options.dns = Some(!denied),
            Keyword::Envelope if denied => options.envelope = Some(Envelope::Disabled),
            Keyword::Envelope => {
                let skip = self.accept_number().unwrap_or(0);
                options.envelope = Some(Envelope::Header(self.text(keyword)?));
                options.envskip = nonzero(skip);
            }
            Keyword::EsmtpName => options.esmtpname = Some(self.text(keyword)?),
            Keyword::EsmtpPassword => options.esmtppassword = Some(self.secret(keyword)?),
            Keyword::IdleTimeout => options.idletimeout = Some(self.number(keyword)?),
            Keyword::Interface => options.interface = Some(self.interface()?),
            Keyword::Interval => options.interval = nonzero(self.number(keyword)?),
            Keyword::Localdomains => self.texts(keyword, &mut options.localdomains)?,
            Keyword::Monitor => options.monitor = Some(self.text(keyword)?),
            Keyword::Plugin => options.plugin = Some(self.text(keyword)?),
            Keyword::Plugout => options.plugout = Some(self.text(keyword)?),
            Keyword::Port => options.service = Some(self.number(keyword)?.to_string().into()),
            Keyword::Principal => options.principal = Some(self.text(keyword)?),
            Keyword::Protocol => self.protocol(options)?,
            Keyword::Qvirtual => options.qvirtual = Some(self.text(keyword)?),
            Keyword::RetrieveError => options.retrieve_error = Some(self.retrieve_error()?),
            Keyword::Service => {
                options.service = Some(match self.accept_number() {
                    Some(number) => number.to_string().into(),
                    None => self.text(keyword)?,
                });
            }
            Keyword::Timeout => options.timeout = nonzero(self.number(keyword)?),
            Keyword::Tracepolls => options.tracepolls = Some(!denied),
            Keyword::Uidl => options.uidl = Some(!denied),
            Keyword::Via => options.via = Some(self.text(keyword)?),
            other => unreachable_option(other),
        }
        let written = self.written(keyword, denied, start);
        self.warn_of_repetition(&written, place_of_earlier(&entry.written, keyword));
        entry.written.push(written);
        Ok(())
    }

    fn protocol(&mut self, options: &mut ServerOptions) -> Parsed<()> {
        let protocol = match self.keyword() {
            Some(Keyword::Apop) => Protocol::Apop,
            Some(Keyword::Auto) => Protocol::Auto,
            Some(Keyword::Etrn) => Protocol::Etrn,
            Some(Keyword::Imap) => Protocol::Imap,
            Some(Keyword::Kpop) => {
                options.service = Some("kpop".into());
                if options.auth == Some(Auth::Password) {
                    options.auth = Some(Auth::KerberosV5);
                }
                Protocol::Pop3
            }
            Some(Keyword::Odmr) => Protocol::Odmr,
            Some(Keyword::Pop2) => Protocol::Pop2,
            Some(Keyword::Pop3) => Protocol::Pop3,
            Some(Keyword::Rpop) => Protocol::Rpop,
            Some(Keyword::Sdps) => {
                options.sdps = Some(true);
                Protocol::Pop3
            }
            _ => return Err(self.unexpected(Expected::Protocol)),
        };
        self.advance();
        options.protocol = Some(protocol);
        Ok(())
    }

    fn auth(&mut self) -> Parsed<Auth> {
        let auth = match self.keyword() {
            Some(Keyword::Any) => Auth::Any,
            Some(Keyword::Apop) => Auth::Apop,
            Some(Keyword::CramMd5) => Auth::CramMd5,
            Some(Keyword::External) => Auth::External,
            Some(Keyword::Gssapi) => Auth::Gssapi,
            Some(Keyword::KerberosV4) => Auth::KerberosV4,
            Some(Keyword::KerberosV5) => Auth::KerberosV5,
            Some(Keyword::Msn) => Auth::Msn,
            Some(Keyword::Ntlm) => Auth::Ntlm,
            Some(Keyword::Otp) => Auth::Otp,
            Some(Keyword::Password) => Auth::Password,
            Some(Keyword::Ssh) => Auth::Ssh,
            _ => match self.scene.bare_word() {
                Some(b"implicit") => Auth::Implicit,
                Some(b"oauthbearer") => Auth::OAuthBearer,
                _ => return Err(self.unexpected(Expected::Auth)),
            },
        };
        self.advance();
        Ok(auth)
    }

    /// `NAME/ADDRESS[/MASK]`; when it is wrong, the file is still read to its end.
    fn interface(&mut self) -> Parsed<BString> {
        let span = self.token().span.clone();
        let interface = self.text(Keyword::Interface)?;
        let mut parts = interface.splitn(3, |octet| *octet == b'/').skip(1);
        let is_address = |part: &[u8]| {
            part.to_str()
                .is_ok_and(|part| part.parse::<Ipv4Addr>().is_ok())
        };
        let problem = match parts.next() {
            None => "the interface is without an address",
            Some(address) if !is_address(address) => "the interface's address is no IPv4 address",
            Some(_) if !parts.next().is_none_or(is_address) => {
                "the interface's mask is no IPv4 address"
            }
            Some(_) => return Ok(interface),
        };
        let help = "write `interface NAME/ADDRESS` or `interface NAME/ADDRESS/MASK`";
        self.diagnostics
            .push(Diagnostic::error(problem).at(span).help(help));
        Ok(interface)
    }

    fn bad_header(&mut self) -> Parsed<BadHeader> {
        let choice = match self.keyword() {
            Some(Keyword::Accept) => BadHeader::Accept,
            Some(Keyword::Reject) => BadHeader::Reject,
            _ => return Err(self.unexpected(Expected::BadHeader)),
        };
        self.advance();
        Ok(choice)
    }

    /// These words are fetchmail 7's, and have no meaning elsewhere.
    fn retrieve_error(&mut self) -> Parsed<RetrieveError> {
        let choice = match self.scene.bare_word() {
            Some(b"abort") => RetrieveError::Abort,
            Some(b"continue") => RetrieveError::Continue,
            Some(b"markseen") => RetrieveError::MarkSeen,
            _ => return Err(self.unexpected(Expected::RetrieveError)),
        };
        self.advance();
        Ok(choice)
    }
}

/// Users and their options.
impl Parser<'_> {
    fn user(&mut self, entry: &mut Entry) -> Parsed<User> {
        let start = self.scene.at;
        self.advance();
        let mut user = User::default();
        let name = self.mapping(Keyword::User)?;
        let goes_on = matches!(self.token().kind, Kind::Text { .. });
        if name.client.is_none() && self.accept_keyword(Keyword::There) {
            user.options.remotename = Some(name.server);
        } else if name.client.is_some() || goes_on || self.keyword() == Some(Keyword::Here) {
            add_local_name(&mut user.options, name);
            self.local_names(&mut user.options)?;
            if !self.accept_keyword(Keyword::Here) {
                return Err(self.unexpected(Expected::Here));
            }
        } else {
            user.options.remotename = Some(name.server);
        }
        user.written.push(self.written(Keyword::User, false, start));
        self.user_options(&mut user, entry)?;
        Ok(user)
    }

    fn user_options(&mut self, user: &mut User, entry: &mut Entry) -> Parsed<()> {
        let mut misplaced = false;
        loop {
            if let Some(keyword) = self.option_of(Scope::User).filter(|k| *k != Keyword::User) {
                self.user_option(keyword, user)?;
            } else if let Some(keyword) = self.option_of(Scope::Server) {
                let start = self.scene.at;
                // To fetchmail `no` belongs to an option of the user, and what follows is wrong.
                if self.accept_keyword(Keyword::No) && !misplaced {
                    self.diagnostics
                        .push(self.scene.misplaced(self.token().span.clone()));
                    misplaced = true;
                }
                self.scene.at = start;
                self.server_option(keyword, entry)?;
                if !misplaced {
                    let span = self.written(keyword, false, start).span;
                    self.diagnostics.push(self.scene.misplaced(span));
                    misplaced = true;
                }
            } else {
                return Ok(());
            }
        }
    }

    fn user_option(&mut self, keyword: Keyword, user: &mut User) -> Parsed<()> {
        let start = self.scene.at;
        let denied = self.accept_keyword(Keyword::No);
        self.check_denied(keyword, denied)?;
        self.advance();
        let options = &mut user.options;
        match keyword {
            Keyword::Antispam => self.numbers(keyword, &mut options.antispam)?,
            Keyword::Batchlimit => options.batchlimit = Some(self.number(keyword)?),
            Keyword::Bsmtp => options.bsmtp = Some(self.text(keyword)?),
            Keyword::Dropdelivered => options.dropdelivered = Some(!denied),
            Keyword::Dropstatus => options.dropstatus = Some(!denied),
            Keyword::Expunge => options.expunge = Some(self.number(keyword)?),
            Keyword::Fastuidl => options.fastuidl = Some(self.number(keyword)?),
            Keyword::Fetchall => options.fetchall = Some(!denied),
            Keyword::FetchDomains => self.texts(keyword, &mut options.fetchdomains)?,
            Keyword::Fetchlimit => options.fetchlimit = Some(self.number(keyword)?),
            Keyword::FetchSizeLimit => options.fetchsizelimit = Some(self.number(keyword)?),
            Keyword::Flush => options.flush = Some(!denied),
            Keyword::Folder => self.texts(keyword, &mut options.folders)?,
            Keyword::Forcecr => options.forcecr = Some(!denied),
            Keyword::Forceidle => options.forceidle = Some(!denied),
            Keyword::Idle => options.idle = Some(!denied),
            Keyword::Is | Keyword::To => self.is(keyword, options)?,
            Keyword::Keep => options.keep = Some(!denied),
            Keyword::Limit => options.limit = Some(self.number(keyword)?),
            Keyword::Limitflush => options.limitflush = Some(!denied),
            Keyword::Lmtp => options.lmtp = Some(true),
            Keyword::Mda => options.mda = Some(self.text(keyword)?),
            Keyword::Mimedecode => options.mimedecode = Some(!denied),
            Keyword::Pass8bits => options.pass8bits = Some(!denied),
            Keyword::Password => options.password = Some(self.secret(keyword)?),
            Keyword::PasswordEval => options.passwordeval = Some(self.text(keyword)?),
            Keyword::PasswordFd => options.passwordfd = Some(self.number(keyword)?),
            Keyword::PasswordFile => options.passwordfile = Some(self.text(keyword)?),
            Keyword::Postconnect => options.postconnect = Some(self.text(keyword)?),
            Keyword::Preconnect => options.preconnect = Some(self.text(keyword)?),
            Keyword::Properties => options.properties = Some(self.text(keyword)?),
            Keyword::PwmdFile => options.pwmd_file = Some(self.text(keyword)?),
            Keyword::PwmdSocket => options.pwmd_socket = Some(self.text(keyword)?),
            Keyword::PwmdSocketArgs => options.pwmd_socket_args = Some(self.text(keyword)?),
            Keyword::Rewrite => options.rewrite = Some(!denied),
            Keyword::SmtpAddress => options.smtpaddress = Some(self.text(keyword)?),
            Keyword::SmtpHost => self.texts(keyword, &mut options.smtphost)?,
            Keyword::SmtpName => options.smtpname = Some(self.text(keyword)?),
            Keyword::Ssl => options.ssl = Some(!denied),
            Keyword::SslCert => options.sslcert = Some(self.text(keyword)?),
            Keyword::SslCertCk => options.sslcertck = Some(!denied),
            Keyword::SslCertFile => options.sslcertfile = Some(self.text(keyword)?),
            Keyword::SslCertPath => options.sslcertpath = Some(self.text(keyword)?),
            Keyword::SslCommonName => options.sslcommonname = Some(self.text(keyword)?),
            Keyword::SslFingerprint => options.sslfingerprint = Some(self.text(keyword)?),
            Keyword::SslKey => options.sslkey = Some(self.text(keyword)?),
            Keyword::SslMode => options.sslmode = Some(self.sslmode()?),
            Keyword::SslProto => options.sslproto = Some(self.text(keyword)?),
            Keyword::Stripcr => options.stripcr = Some(!denied),
            Keyword::Warnings => options.warnings = Some(self.number(keyword)?),
            other => unreachable_option(other),
        }
        let written = self.written(keyword, denied, start);
        self.warn_of_repetition(&written, place_of_earlier(&user.written, keyword));
        user.written.push(written);
        Ok(())
    }

    /// `is` and `to`: local names, or the remote one before `there`.
    fn is(&mut self, keyword: Keyword, options: &mut UserOptions) -> Parsed<()> {
        let first = self.mapping(keyword)?;
        if keyword == Keyword::Is && first.client.is_none() && self.accept_keyword(Keyword::There) {
            options.remotename = Some(first.server);
            return Ok(());
        }
        add_local_name(options, first);
        self.local_names(options)?;
        self.accept_keyword(Keyword::Here);
        Ok(())
    }

    /// The rest of a list of local names.
    fn local_names(&mut self, options: &mut UserOptions) -> Parsed<()> {
        while matches!(self.token().kind, Kind::Text { .. }) {
            let name = self.mapping(Keyword::Is)?;
            add_local_name(options, name);
        }
        Ok(())
    }

    /// `server` or `server=client`.
    fn mapping(&mut self, keyword: Keyword) -> Parsed<LocalName> {
        let server = self.text(keyword)?;
        let client = if matches!(self.token().kind, Kind::Equals) {
            self.advance();
            Some(self.text(keyword)?)
        } else {
            None
        };
        Ok(LocalName { server, client })
    }

    /// Of fetchmail 7: a word, or `starttls=may` and `starttls=must`, which may lack quotes here.
    fn sslmode(&mut self) -> Parsed<BString> {
        let mut mode = self.text(Keyword::SslMode)?;
        if matches!(self.token().kind, Kind::Equals) {
            self.advance();
            mode.push(b'=');
            mode.extend_from_slice(&self.text(Keyword::SslMode)?);
        }
        Ok(mode)
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

fn add_local_name(options: &mut UserOptions, name: LocalName) {
    if name.server == "*" && name.client.is_none() {
        options.wildcard = Some(true);
    } else {
        options.localnames.push(name);
    }
}

/// To fetchmail, zero is the same as nothing said.
fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

/// The callers ask for the scope of a keyword first.
fn unreachable_option(keyword: Keyword) -> ! {
    unreachable!("{keyword:?} is an option of another scope")
}
