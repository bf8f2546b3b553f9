//! Users and their options.

use bstr::BString;

use super::super::ast::{Entry, User};
use super::super::explain::Expected;
use super::super::keyword::{Keyword, Scope};
use super::super::lexer::Kind;
use super::super::options::{LocalName, UserOptions};
use super::{Parsed, Parser, place_of_earlier, unreachable_option};

impl Parser<'_> {
    pub(super) fn user(&mut self, entry: &mut Entry) -> Parsed<User> {
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

    pub(super) fn user_options(&mut self, user: &mut User, entry: &mut Entry) -> Parsed<()> {
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

fn add_local_name(options: &mut UserOptions, name: LocalName) {
    if name.server == "*" && name.client.is_none() {
        options.wildcard = Some(true);
    } else {
        options.localnames.push(name);
    }
}
