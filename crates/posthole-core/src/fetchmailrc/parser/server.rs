//! Options of a server.

use std::net::Ipv4Addr;

use bstr::{BString, ByteSlice};

use super::super::ast::Entry;
use super::super::explain::Expected;
use super::super::keyword::Keyword;
use super::super::options::{Auth, BadHeader, Envelope, Protocol, RetrieveError, ServerOptions};
use super::{Parsed, Parser, place_of_earlier, unreachable_option};
use crate::config::Diagnostic;

impl Parser<'_> {
    pub(super) fn server_option(&mut self, keyword: Keyword, entry: &mut Entry) -> Parsed<()> {
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

/// To fetchmail, zero is the same as nothing said.
fn nonzero(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}
