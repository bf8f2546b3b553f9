//! What an rc file and a command line amount to, with every default in place.

use bstr::BString;
use secrecy::SecretSlice;

use super::options::{Auth, BadHeader, LocalName, Protocol, RetrieveError};

/// Everything that fetchmail would do, in the terms of fetchmail(1).
#[derive(Clone, Debug)]
pub struct Configuration {
    /// What holds for the whole run.
    pub globals: Globals,
    /// The servers in the order of the file.
    pub entries: Vec<Entry>,
}

/// What holds for the whole run.
#[derive(Clone, Debug)]
pub struct Globals {
    /// Whether undeliverable mail goes back to its sender, and not to the postmaster.
    pub bouncemail: bool,
    /// Where it is kept what was fetched.
    pub idfile: BString,
    /// Whether no Received line is added.
    pub invisible: bool,
    /// Where messages go once the daemon has left the terminal, if there is such a file already.
    pub logfile: Option<BString>,
    /// Where the lock is, if not at its usual place.
    pub pidfile: Option<BString>,
    /// How long a person may take for a PIN; of fetchmail 7.
    pub pinentry_timeout: Option<i32>,
    /// Seconds between polls; zero polls once.
    pub poll_interval: u32,
    /// Who gets mail that is for nobody; empty throws it away.
    pub postmaster: BString,
    /// A text for scripts.
    pub properties: Option<BString>,
    /// Whether dots are shown in files too.
    pub showdots: bool,
    /// Whether mail that is refused for good stays on the server all the same.
    pub softbounce: bool,
    /// Whether what `antispam` blocks is bounced.
    pub spambounce: bool,
    /// Whether messages go to the system's log, unless they go to `logfile`.
    pub syslog: bool,
}

/// One server.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Whether this run polls it.
    pub active: bool,
    /// More names of it, matched as suffixes.
    pub aka: Vec<BString>,
    /// How one logs in.
    pub auth: Auth,
    /// What is done with a message whose header is broken.
    pub bad_header: BadHeader,
    /// Whether names are compared by their addresses.
    pub checkalias: bool,
    /// Whether DNS is asked for names of the server.
    pub dns: bool,
    /// The header with the envelope's recipient; none looks for none.
    pub envelope: Option<BString>,
    /// How many of those headers to pass over.
    pub envskip: u32,
    /// The name for authentication to the SMTP server.
    pub esmtpname: BString,
    /// The password for it.
    pub esmtppassword: Option<SecretSlice<u8>>,
    /// After how many seconds IDLE is renewed; of fetchmail 6.5.
    pub idletimeout: Option<i32>,
    /// The interface that must be up, as `NAME/ADDRESS[/MASK]`.
    pub interface: Option<BString>,
    /// It is polled in every so many-eth cycle; zero is every one.
    pub interval: u32,
    /// Domains whose addresses are local.
    pub localdomains: Vec<BString>,
    /// The interface whose silence skips the poll.
    pub monitor: Option<BString>,
    /// What it is called in the file.
    pub name: BString,
    /// The command that is the connection to the server.
    pub plugin: Option<BString>,
    /// The command that is the connection to the SMTP server.
    pub plugout: Option<BString>,
    /// The Kerberos principal.
    pub principal: Option<BString>,
    /// How mail is asked for.
    pub protocol: Protocol,
    /// The prefix that qmail puts before recipients.
    pub qvirtual: Option<BString>,
    /// What is done when a message cannot be fetched; of fetchmail 7.
    pub retrieve_error: Option<RetrieveError>,
    /// Whether the server speaks Demon's extensions to POP3.
    pub sdps: bool,
    /// The port or the service; none is the usual one.
    pub service: Option<BString>,
    /// Whether it is polled only when it is named.
    pub skip: bool,
    /// Seconds of silence; zero waits for ever.
    pub timeout: u32,
    /// Whether the Received line tells of the poll.
    pub tracepolls: bool,
    /// Whether unique-ids tell what was seen.
    pub uidl: bool,
    /// The real name or address of the server.
    pub via: Option<BString>,
    /// Its users; at least one.
    pub users: Vec<User>,
}

/// One user of a server.
#[derive(Clone, Debug)]
pub struct User {
    /// SMTP answers that mean spam.
    pub antispam: Vec<i32>,
    /// How many messages one SMTP connection takes; zero is any number.
    pub batchlimit: u32,
    /// The file that SMTP commands are added to.
    pub bsmtp: Option<BString>,
    /// Whether Delivered-To lines are left out.
    pub dropdelivered: bool,
    /// Whether Status lines are left out.
    pub dropstatus: bool,
    /// After how many messages deletions are made final; zero is at the end.
    pub expunge: u32,
    /// In how many of so many polls less one the first new message is searched by halving.
    pub fastuidl: u32,
    /// Whether what was seen is fetched again.
    pub fetchall: bool,
    /// Domains to ask mail for.
    pub fetchdomains: Vec<BString>,
    /// How many messages a poll fetches; zero is all.
    pub fetchlimit: u32,
    /// How many sizes are asked for at once; zero is all.
    pub fetchsizelimit: u32,
    /// Whether what was seen is deleted before the poll.
    pub flush: bool,
    /// The folders; none is the default one.
    pub folders: Vec<BString>,
    /// Whether lines get a carriage return.
    pub forcecr: bool,
    /// Whether IDLE is used unasked; of fetchmail 6.5.
    pub forceidle: Option<bool>,
    /// Whether to wait for new mail.
    pub idle: bool,
    /// Whether mail stays on the server.
    pub keep: bool,
    /// The largest message in octets; zero is any.
    pub limit: u32,
    /// Whether larger ones are deleted.
    pub limitflush: bool,
    /// Whether LMTP is spoken instead of SMTP.
    pub lmtp: bool,
    /// Who gets the mail here; at least one.
    pub localnames: Vec<LocalName>,
    /// The command that delivers.
    pub mda: Option<BString>,
    /// Whether quoted-printable is decoded.
    pub mimedecode: bool,
    /// Whether 8BITMIME is declared whatever the message says.
    pub pass8bits: bool,
    /// The password.
    pub password: Option<SecretSlice<u8>>,
    /// The command that prints the password; of fetchmail 7.
    pub passwordeval: Option<BString>,
    /// The descriptor that the password is read from; of fetchmail 7.
    pub passwordfd: Option<i32>,
    /// The file that the password is in; of fetchmail 7.
    pub passwordfile: Option<BString>,
    /// The command to run after the connection.
    pub postconnect: Option<BString>,
    /// The command to run before the connection.
    pub preconnect: Option<BString>,
    /// A text for scripts.
    pub properties: Option<BString>,
    /// pwmd's file; of fetchmail 7.
    pub pwmd_file: Option<BString>,
    /// pwmd's socket; of fetchmail 7.
    pub pwmd_socket: Option<BString>,
    /// The arguments for pwmd's socket; of fetchmail 7.
    pub pwmd_socket_args: Option<BString>,
    /// The user's name on the server.
    pub remote: BString,
    /// Whether addresses without a domain get the server's.
    pub rewrite: bool,
    /// The domain of recipients.
    pub smtpaddress: Option<BString>,
    /// The SMTP servers to try; at least one.
    pub smtphunt: Vec<BString>,
    /// The recipient whatever the message says.
    pub smtpname: Option<BString>,
    /// Whether the connection begins with TLS.
    pub ssl: bool,
    /// The client's certificate.
    pub sslcert: Option<BString>,
    /// Whether the server's certificate is checked.
    pub sslcertck: bool,
    /// A file of trusted certificates.
    pub sslcertfile: Option<BString>,
    /// A directory of trusted certificates.
    pub sslcertpath: Option<BString>,
    /// The name that the certificate must have.
    pub sslcommonname: Option<BString>,
    /// The MD5 fingerprint that the certificate must have.
    pub sslfingerprint: Option<BString>,
    /// The client's key.
    pub sslkey: Option<BString>,
    /// How TLS is used; of fetchmail 7.
    pub sslmode: Option<BString>,
    /// Which versions of TLS are allowed; empty forbids STARTTLS.
    pub sslproto: Option<BString>,
    /// Whether carriage returns are taken out.
    pub stripcr: bool,
    /// Seconds between two warnings of large messages.
    pub warnings: u32,
    /// Whether names that are not listed are local as well.
    pub wildcard: bool,
}

impl Entry {
    /// The host to connect to.
    #[must_use]
    pub fn host(&self) -> &BString {
        self.via.as_ref().unwrap_or(&self.name)
    }

    /// Whether a password is of any use to the server.
    #[must_use]
    pub fn needs_password(&self) -> bool {
        let by_other_means = matches!(
            self.auth,
            Auth::External
                | Auth::Gssapi
                | Auth::Implicit
                | Auth::KerberosV4
                | Auth::KerberosV5
                | Auth::Otp
                | Auth::Ssh
        );
        !by_other_means && self.protocol != Protocol::Etrn
    }

    /// The port that `service` says, or the protocol's own.
    ///
    /// `None` if it is the name of a service that is not one of mail's.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let tls = self.users.iter().any(|user| user.ssl);
        match (&self.service, self.protocol) {
            (Some(service), _) => service_port(service),
            (None, Protocol::Apop | Protocol::Pop3 | Protocol::Rpop) => {
                Some(if tls { 995 } else { 110 })
            }
            (None, Protocol::Auto | Protocol::Imap) => Some(if tls { 993 } else { 143 }),
            (None, Protocol::Etrn) => Some(25),
            (None, Protocol::Odmr) => Some(366),
            (None, Protocol::Pop2) => Some(109),
        }
    }
}

impl User {
    /// Whether the mailbox holds the mail of several people.
    #[must_use]
    pub fn is_multidrop(&self) -> bool {
        self.wildcard || self.localnames.len() > 1
    }
}

/// The port of a service: a number as strtoul(3) reads it, or a name that mail has in services(5).
#[must_use]
pub fn service_port(service: &[u8]) -> Option<u16> {
    let number = service.trim_ascii_start();
    let digits = number.strip_prefix(b"+").unwrap_or(number);
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        let port = std::str::from_utf8(digits).ok()?.parse().ok();
        return port.filter(|port| *port > 0);
    }
    match service {
        b"smtp" | b"mail" => Some(25),
        b"pop2" | b"pop-2" | b"postoffice" => Some(109),
        b"pop3" | b"pop-3" => Some(110),
        b"imap" | b"imap2" => Some(143),
        b"odmr" => Some(366),
        b"imaps" => Some(993),
        b"pop3s" => Some(995),
        b"kpop" => Some(1109),
        _ => None,
    }
}
