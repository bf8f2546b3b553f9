//! What can be said of a server, of a user there and of the run, and how one saying covers another.
//!
//! `None` and empty lists are what was not said. The rules of [`fill_from`] and [`override_with`]
//! are fetchmail's, oddities included: a list on the command line is added to that of the file, and
//! `aka` and the SDPS dialect
//! of POP3 are never taken over from `defaults`.
//!
//! [`fill_from`]: ServerOptions::fill_from
//! [`override_with`]: ServerOptions::override_with

use bstr::BString;
use secrecy::SecretSlice;

/// `set …`: what holds for the whole run.
#[derive(Clone, Debug, Default)]
pub struct GlobalOptions {
    /// `set [no] bouncemail`.
    pub bouncemail: Option<bool>,
    /// `set daemon`: seconds between polls.
    pub daemon: Option<i32>,
    /// `set idfile`.
    pub idfile: Option<BString>,
    /// `set [no] invisible`.
    pub invisible: Option<bool>,
    /// `set logfile`.
    pub logfile: Option<BString>,
    /// `set pidfile`.
    pub pidfile: Option<BString>,
    /// `set pinentry_timeout`, of fetchmail 7.
    pub pinentry_timeout: Option<i32>,
    /// `set postmaster`.
    pub postmaster: Option<BString>,
    /// `set properties`.
    pub properties: Option<BString>,
    /// `set [no] showdots`.
    pub showdots: Option<bool>,
    /// `set [no] softbounce`.
    pub softbounce: Option<bool>,
    /// `set [no] spambounce`.
    pub spambounce: Option<bool>,
    /// `set [no] syslog`.
    pub syslog: Option<bool>,
}

/// The options of a server.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// `aka`: more names of the server, matched as suffixes.
    pub aka: Vec<BString>,
    /// `auth`.
    pub auth: Option<Auth>,
    /// `bad-header`.
    pub bad_header: Option<BadHeader>,
    /// `[no] checkalias`.
    pub checkalias: Option<bool>,
    /// `[no] dns`.
    pub dns: Option<bool>,
    /// `[no] envelope`.
    pub envelope: Option<Envelope>,
    /// The number before the header in `envelope`; none for zero.
    pub envskip: Option<i32>,
    /// `esmtpname`.
    pub esmtpname: Option<BString>,
    /// `esmtppassword`.
    pub esmtppassword: Option<SecretSlice<u8>>,
    /// `idletimeout`, of fetchmail 6.5.
    pub idletimeout: Option<i32>,
    /// `interface`.
    pub interface: Option<BString>,
    /// `interval`; none for zero.
    pub interval: Option<i32>,
    /// `localdomains`.
    pub localdomains: Vec<BString>,
    /// `monitor`.
    pub monitor: Option<BString>,
    /// `plugin`.
    pub plugin: Option<BString>,
    /// `plugout`.
    pub plugout: Option<BString>,
    /// `principal`.
    pub principal: Option<BString>,
    /// `protocol`; none for `auto`.
    pub protocol: Option<Protocol>,
    /// `qvirtual`.
    pub qvirtual: Option<BString>,
    /// `retrieve-error`, of fetchmail 7.
    pub retrieve_error: Option<RetrieveError>,
    /// Whether the protocol was written as `sdps`.
    pub sdps: Option<bool>,
    /// `service` or `port`.
    pub service: Option<BString>,
    /// Whether the entry begins with `skip`.
    pub skip: Option<bool>,
    /// `timeout`; none for zero.
    pub timeout: Option<i32>,
    /// `[no] tracepolls`.
    pub tracepolls: Option<bool>,
    /// `[no] uidl`.
    pub uidl: Option<bool>,
    /// `via`.
    pub via: Option<BString>,
}

/// The options of a user.
#[derive(Clone, Debug, Default)]
pub struct UserOptions {
    /// `antispam`.
    pub antispam: Vec<i32>,
    /// `batchlimit`.
    pub batchlimit: Option<i32>,
    /// `bsmtp`.
    pub bsmtp: Option<BString>,
    /// `[no] dropdelivered`.
    pub dropdelivered: Option<bool>,
    /// `[no] dropstatus`.
    pub dropstatus: Option<bool>,
    /// `expunge`.
    pub expunge: Option<i32>,
    /// `fastuidl`.
    pub fastuidl: Option<i32>,
    /// `[no] fetchall`.
    pub fetchall: Option<bool>,
    /// `fetchdomains`.
    pub fetchdomains: Vec<BString>,
    /// `fetchlimit`.
    pub fetchlimit: Option<i32>,
    /// `fetchsizelimit`.
    pub fetchsizelimit: Option<i32>,
    /// `[no] flush`.
    pub flush: Option<bool>,
    /// `folder`.
    pub folders: Vec<BString>,
    /// `[no] forcecr`.
    pub forcecr: Option<bool>,
    /// `[no] forceidle`, of fetchmail 6.5.
    pub forceidle: Option<bool>,
    /// `[no] idle`.
    pub idle: Option<bool>,
    /// `[no] keep`.
    pub keep: Option<bool>,
    /// `limit`.
    pub limit: Option<i32>,
    /// `[no] limitflush`.
    pub limitflush: Option<bool>,
    /// `lmtp`.
    pub lmtp: Option<bool>,
    /// `is`, `to` and `user … here`.
    pub localnames: Vec<LocalName>,
    /// `mda`.
    pub mda: Option<BString>,
    /// `[no] mimedecode`.
    pub mimedecode: Option<bool>,
    /// `[no] pass8bits`.
    pub pass8bits: Option<bool>,
    /// `password`.
    pub password: Option<SecretSlice<u8>>,
    /// `passwordeval`, of fetchmail 7.
    pub passwordeval: Option<BString>,
    /// `passwordfd`, of fetchmail 7.
    pub passwordfd: Option<i32>,
    /// `passwordfile`, of fetchmail 7.
    pub passwordfile: Option<BString>,
    /// `postconnect`.
    pub postconnect: Option<BString>,
    /// `preconnect`.
    pub preconnect: Option<BString>,
    /// `properties`.
    pub properties: Option<BString>,
    /// `pwmd_file`, of fetchmail 7.
    pub pwmd_file: Option<BString>,
    /// `pwmd_socket`, of fetchmail 7.
    pub pwmd_socket: Option<BString>,
    /// `pwmd_socket_args`, of fetchmail 7.
    pub pwmd_socket_args: Option<BString>,
    /// The user's name on the server.
    pub remotename: Option<BString>,
    /// `[no] rewrite`.
    pub rewrite: Option<bool>,
    /// `smtpaddress`.
    pub smtpaddress: Option<BString>,
    /// `smtphost`.
    pub smtphost: Vec<BString>,
    /// `smtpname`.
    pub smtpname: Option<BString>,
    /// `[no] ssl`.
    pub ssl: Option<bool>,
    /// `sslcert`.
    pub sslcert: Option<BString>,
    /// `[no] sslcertck`.
    pub sslcertck: Option<bool>,
    /// `sslcertfile`.
    pub sslcertfile: Option<BString>,
    /// `sslcertpath`.
    pub sslcertpath: Option<BString>,
    /// `sslcommonname`.
    pub sslcommonname: Option<BString>,
    /// `sslfingerprint`.
    pub sslfingerprint: Option<BString>,
    /// `sslkey`.
    pub sslkey: Option<BString>,
    /// `sslmode`, of fetchmail 7.
    pub sslmode: Option<BString>,
    /// `sslproto`.
    pub sslproto: Option<BString>,
    /// `[no] stripcr`.
    pub stripcr: Option<bool>,
    /// `warnings`.
    pub warnings: Option<i32>,
    /// Whether `*` stands among the local names; none if not.
    pub wildcard: Option<bool>,
}

/// A name for mail on this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalName {
    /// The name as the server knows it.
    pub server: BString,
    /// The name here where it is another one.
    pub client: Option<BString>,
}

/// How a password or something better is shown to the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is a word of fetchmail(1)")]
pub enum Auth {
    Any,
    Apop,
    CramMd5,
    External,
    Gssapi,
    Implicit,
    KerberosV4,
    KerberosV5,
    Msn,
    Ntlm,
    OAuthBearer,
    Otp,
    Password,
    Ssh,
}

/// What is done with a message whose header is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BadHeader {
    /// It is fetched.
    Accept,
    /// It is left on the server.
    Reject,
}

/// Which header has the envelope's recipient.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Envelope {
    /// None is looked for.
    Disabled,
    /// This one.
    Header(BString),
}

/// How mail is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "each is a word of fetchmail(1)")]
pub enum Protocol {
    Apop,
    Auto,
    Etrn,
    Imap,
    Odmr,
    Pop2,
    Pop3,
    Rpop,
}

/// What is done when a message cannot be fetched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RetrieveError {
    /// The poll ends.
    Abort,
    /// The next message is fetched.
    Continue,
    /// It counts as seen.
    MarkSeen,
}

/// One thing that may have been said.
trait Said {
    /// Takes the other's value if there is none here.
    fn fill_from(&mut self, other: &Self);
    /// Takes the other's value if there is one.
    fn override_with(&mut self, other: &Self);
}

impl<T: Clone> Said for Option<T> {
    fn fill_from(&mut self, other: &Self) {
        if self.is_none() {
            self.clone_from(other);
        }
    }

    fn override_with(&mut self, other: &Self) {
        if other.is_some() {
            self.clone_from(other);
        }
    }
}

impl<T: Clone> Said for Vec<T> {
    fn fill_from(&mut self, other: &Self) {
        if self.is_empty() {
            self.clone_from(other);
        }
    }

    fn override_with(&mut self, other: &Self) {
        self.extend_from_slice(other);
    }
}

/// Applies [`Said`] to the fields; whatever is left out is not taken over at all.
macro_rules! said {
    ($options:ident { $($field:ident),* $(,)? } not { $($left_out:ident),* }) => {
        impl $options {
            /// Takes over what is said in `defaults` and not here.
            pub fn fill_from(&mut self, defaults: &Self) {
                let Self { $($field,)* $($left_out: _,)* } = defaults;
                $(Said::fill_from(&mut self.$field, $field);)*
            }

            /// Takes over what is said on the command line, whatever is said here.
            pub fn override_with(&mut self, flags: &Self) {
                let Self { $($field,)* $($left_out: _,)* } = flags;
                $(Said::override_with(&mut self.$field, $field);)*
            }
        }
    };
}

said!(GlobalOptions {
    bouncemail, daemon, idfile, invisible, logfile, pidfile, pinentry_timeout, postmaster,
    properties, showdots, softbounce, spambounce, syslog,
} not {});

said!(ServerOptions {
    auth, bad_header, checkalias, dns, envelope, envskip, esmtpname, esmtppassword, idletimeout,
    interface, interval, localdomains, monitor, plugin, plugout, principal, protocol, qvirtual,
    retrieve_error, service, skip, timeout, tracepolls, uidl, via,
} not { aka, sdps });

said!(UserOptions {
    antispam, batchlimit, bsmtp, dropdelivered, dropstatus, expunge, fastuidl, fetchall,
    fetchdomains, fetchlimit, fetchsizelimit, flush, folders, forcecr, forceidle, idle, keep,
    limit, limitflush, lmtp, localnames, mda, mimedecode, pass8bits, password, passwordeval,
    passwordfd, passwordfile, postconnect, preconnect, properties, pwmd_file, pwmd_socket,
    pwmd_socket_args, remotename, rewrite, smtpaddress, smtphost, smtpname, ssl, sslcert,
    sslcertck, sslcertfile, sslcertpath, sslcommonname, sslfingerprint, sslkey, sslmode,
    sslproto, stripcr, warnings, wildcard,
} not {});
