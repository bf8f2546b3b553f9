//! The words of the language, and where each may stand.

use Keyword::*;

/// A word that means something, whichever of its spellings was written.
///
/// A word is reserved wherever it stands unquoted, except as the first word after `user`, `pass`,
/// `is`, `to` and `=`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[expect(missing_docs, reason = "each is a word of fetchmail(1)")]
#[rustfmt::skip]
pub enum Keyword {
    // Statements
    Defaults, Poll, Set, Skip,
    // Globals
    Bouncemail, Daemon, Idfile, Invisible, Logfile, Pidfile, PinentryTimeout, Postmaster,
    Showdots, Softbounce, Spambounce, Syslog,
    // Options of a server
    Aka, Auth, BadHeader, Checkalias, Dns, Envelope, EsmtpName, EsmtpPassword, IdleTimeout,
    Interface, Interval, Localdomains, Monitor, Plugin, Plugout, Port, Principal, Protocol,
    Qvirtual, RetrieveError, Service, Timeout, Tracepolls, Uidl, Via,
    // Options of a user; `properties` is a global as well
    Antispam, Batchlimit, Bsmtp, Dropdelivered, Dropstatus, Expunge, Fastuidl, Fetchall,
    FetchDomains, Fetchlimit, FetchSizeLimit, Flush, Folder, Forcecr, Forceidle, Idle, Is, Keep,
    Limit, Limitflush, Lmtp, Mda, Mimedecode, Pass8bits, Password, PasswordEval, PasswordFd,
    PasswordFile, Postconnect, Preconnect, Properties, PwmdFile, PwmdSocket, PwmdSocketArgs,
    Rewrite, SmtpAddress, SmtpHost, SmtpName, Ssl, SslCert, SslCertCk, SslCertFile, SslCertPath,
    SslCommonName, SslFingerprint, SslKey, SslMode, SslProto, Stripcr, To, User, Warnings,
    // Words that only follow others
    Accept, Any, Apop, Auto, CramMd5, Etrn, External, Gssapi, Here, Imap, KerberosV4, KerberosV5,
    Kpop, Msn, No, Ntlm, Odmr, Otp, Pop2, Pop3, Reject, Rpop, Sdps, Ssh, There,
}

/// Where a keyword may stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// After `set`.
    Global,
    /// After the name of a server, before the first user.
    Server,
    /// It begins a statement.
    Statement,
    /// After a user's name.
    User,
    /// Only as or within an argument.
    Value,
}

impl Keyword {
    /// The keyword with this spelling.
    #[must_use]
    pub fn of(word: &[u8]) -> Option<Self> {
        SPELLINGS
            .binary_search_by(|(spelling, _)| spelling.as_bytes().cmp(word))
            .ok()
            .map(|index| SPELLINGS[index].1)
    }

    /// Where it may stand.
    #[must_use]
    #[rustfmt::skip]
    pub fn scope(self) -> Scope {
        match self {
            Defaults | Poll | Set | Skip => Scope::Statement,
            Bouncemail | Daemon | Idfile | Invisible | Logfile | Pidfile | PinentryTimeout
            | Postmaster | Showdots | Softbounce | Spambounce | Syslog => Scope::Global,
            Aka | Auth | BadHeader | Checkalias | Dns | Envelope | EsmtpName | EsmtpPassword
            | IdleTimeout | Interface | Interval | Localdomains | Monitor | Plugin | Plugout
            | Port | Principal | Protocol | Qvirtual | RetrieveError | Service | Timeout
            | Tracepolls | Uidl | Via => Scope::Server,
            Antispam | Batchlimit | Bsmtp | Dropdelivered | Dropstatus | Expunge | Fastuidl
            | Fetchall | FetchDomains | Fetchlimit | FetchSizeLimit | Flush | Folder | Forcecr
            | Forceidle | Idle | Is | Keep | Limit | Limitflush | Lmtp | Mda | Mimedecode
            | Pass8bits | Password | PasswordEval | PasswordFd | PasswordFile | Postconnect
            | Preconnect | Properties | PwmdFile | PwmdSocket | PwmdSocketArgs | Rewrite
            | SmtpAddress | SmtpHost | SmtpName | Ssl | SslCert | SslCertCk | SslCertFile
            | SslCertPath | SslCommonName | SslFingerprint | SslKey | SslMode | SslProto
            | Stripcr | To | User | Warnings => Scope::User,
            Accept | Any | Apop | Auto | CramMd5 | Etrn | External | Gssapi | Here | Imap
            | KerberosV4 | KerberosV5 | Kpop | Msn | No | Ntlm | Odmr | Otp | Pop2 | Pop3
            | Reject | Rpop | Sdps | Ssh | There => Scope::Value,
        }
    }

    /// Whether it is said or denied, and takes no argument.
    #[must_use]
    pub fn is_switch(self) -> bool {
        self.is_joined_to_no()
            || matches!(
                self,
                Invisible | Showdots | Softbounce | Ssl | SslCertCk | Syslog | Tracepolls
            )
    }

    /// Whether `no` may stand before it.
    #[must_use]
    pub fn can_be_denied(self) -> bool {
        self.is_switch() || self == Envelope
    }

    /// Whether `no` may be written together with it, as in `nokeep`.
    #[must_use]
    #[rustfmt::skip]
    pub(super) fn is_joined_to_no(self) -> bool {
        matches!(
            self,
            Bouncemail | Checkalias | Dns | Dropdelivered | Dropstatus | Fetchall | Flush
            | Forcecr | Forceidle | Idle | Keep | Limitflush | Mimedecode | Pass8bits | Rewrite
            | Spambounce | Stripcr | Uidl
        )
    }
}

/// All spellings of words that begin an option or a statement, to guess from.
pub(super) fn option_spellings() -> impl Iterator<Item = &'static str> {
    SPELLINGS
        .iter()
        .filter(|(_, keyword)| keyword.scope() != Scope::Value)
        .map(|(spelling, _)| *spelling)
}

/// The words that are dropped wherever they stand as words of the language.
pub(super) const NOISE: &[&[u8]] = &[b"and", b"has", b"options", b"wants", b"with"];

/// Every spelling, in the order of its bytes.
const SPELLINGS: &[(&str, Keyword)] = &[
    ("APOP", Apop),
    ("AUTO", Auto),
    ("ETRN", Etrn),
    ("IMAP", Imap),
    ("KPOP", Kpop),
    ("ODMR", Odmr),
    ("POP2", Pop2),
    ("POP3", Pop3),
    ("RPOP", Rpop),
    ("SDPS", Sdps),
    ("accept", Accept),
    ("aka", Aka),
    ("antispam", Antispam),
    ("any", Any),
    ("apop", Apop),
    ("auth", Auth),
    ("authenticate", Auth),
    ("auto", Auto),
    ("bad-header", BadHeader),
    ("batchlimit", Batchlimit),
    ("bouncemail", Bouncemail),
    ("bsmtp", Bsmtp),
    ("checkalias", Checkalias),
    ("cram", CramMd5),
    ("cram-md5", CramMd5),
    ("daemon", Daemon),
    ("defaults", Defaults),
    ("dns", Dns),
    ("dropdelivered", Dropdelivered),
    ("dropstatus", Dropstatus),
    ("envelope", Envelope),
    ("esmtpname", EsmtpName),
    ("esmtppassword", EsmtpPassword),
    ("etrn", Etrn),
    ("expunge", Expunge),
    ("external", External),
    ("fastuidl", Fastuidl),
    ("fetchall", Fetchall),
    ("fetchdomains", FetchDomains),
    ("fetchlimit", Fetchlimit),
    ("fetchsizelimit", FetchSizeLimit),
    ("flush", Flush),
    ("folder", Folder),
    ("folders", Folder),
    ("forcecr", Forcecr),
    ("forceidle", Forceidle),
    ("gssapi", Gssapi),
    ("here", Here),
    ("idfile", Idfile),
    ("idle", Idle),
    ("idletimeout", IdleTimeout),
    ("imap", Imap),
    ("interface", Interface),
    ("interval", Interval),
    ("invisible", Invisible),
    ("is", Is),
    ("keep", Keep),
    ("kerberos", KerberosV4),
    ("kerberos4", KerberosV4),
    ("kerberos5", KerberosV5),
    ("kerberos_v4", KerberosV4),
    ("kerberos_v5", KerberosV5),
    ("kpop", Kpop),
    ("limit", Limit),
    ("limitflush", Limitflush),
    ("lmtp", Lmtp),
    ("local", Localdomains),
    ("localdomains", Localdomains),
    ("logfile", Logfile),
    ("mda", Mda),
    ("mimedec", Mimedecode),
    ("mimedecode", Mimedecode),
    ("monitor", Monitor),
    ("msn", Msn),
    ("no", No),
    ("ntlm", Ntlm),
    ("odmr", Odmr),
    ("opie", Otp),
    ("otp", Otp),
    ("pass", Password),
    ("pass8", Pass8bits),
    ("pass8bits", Pass8bits),
    ("passeval", PasswordEval),
    ("password", Password),
    ("passwordeval", PasswordEval),
    ("passwordfd", PasswordFd),
    ("passwordfile", PasswordFile),
    ("pidfile", Pidfile),
    ("pinentry_timeout", PinentryTimeout),
    ("plugin", Plugin),
    ("plugout", Plugout),
    ("poll", Poll),
    ("pop2", Pop2),
    ("pop3", Pop3),
    ("port", Port),
    ("post", Postconnect),
    ("postconnect", Postconnect),
    ("postmaster", Postmaster),
    ("pre", Preconnect),
    ("preauth", Auth),
    ("preauthenticate", Auth),
    ("preconnect", Preconnect),
    ("principal", Principal),
    ("properties", Properties),
    ("proto", Protocol),
    ("protocol", Protocol),
    ("pwmd_file", PwmdFile),
    ("pwmd_socket", PwmdSocket),
    ("pwmd_socket_args", PwmdSocketArgs),
    ("qvirtual", Qvirtual),
    ("reject", Reject),
    ("retrieve-error", RetrieveError),
    ("rewrite", Rewrite),
    ("rpop", Rpop),
    ("sdps", Sdps),
    ("server", Poll),
    ("service", Service),
    ("set", Set),
    ("showdots", Showdots),
    ("skip", Skip),
    ("smtp", SmtpHost),
    ("smtpaddress", SmtpAddress),
    ("smtphost", SmtpHost),
    ("smtpname", SmtpName),
    ("softbounce", Softbounce),
    ("spambounce", Spambounce),
    ("ssh", Ssh),
    ("ssl", Ssl),
    ("sslcert", SslCert),
    ("sslcertck", SslCertCk),
    ("sslcertfile", SslCertFile),
    ("sslcertpath", SslCertPath),
    ("sslcommonname", SslCommonName),
    ("sslfingerprint", SslFingerprint),
    ("sslkey", SslKey),
    ("sslmode", SslMode),
    ("sslproto", SslProto),
    ("sslprotocolver", SslProto),
    ("sslprotocolversion", SslProto),
    ("sslprotover", SslProto),
    ("sslprotoversion", SslProto),
    ("stripcr", Stripcr),
    ("syslog", Syslog),
    ("there", There),
    ("timeout", Timeout),
    ("to", To),
    ("tracepolls", Tracepolls),
    ("uidl", Uidl),
    ("user", User),
    ("username", User),
    ("via", Via),
    ("warnings", Warnings),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_found() {
        assert!(SPELLINGS.is_sorted_by(|(one, _), (next, _)| one.as_bytes() < next.as_bytes()));
        for (spelling, keyword) in SPELLINGS {
            assert_eq!(Keyword::of(spelling.as_bytes()), Some(*keyword));
        }
        for word in ["", "Keep", "Pop3", "nokeep", "keeping", "with", "zz"] {
            assert_eq!(Keyword::of(word.as_bytes()), None, "{word}");
        }
    }
}
