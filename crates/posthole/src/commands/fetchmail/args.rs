//! fetchmail's command line, read as its getopt_long(3) reads it.
//!
//! Short options can be bundled (`-kv`) and have their value in the same word or the next; long ones
//! may be shortened as long as they stay unique, and have their value after `=` or in the next word.
//! Options and servers may be mixed; after `--` there are only servers. No argument parser for Rust
//! does all of this, and the table below is all there is to it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bstr::{BString, ByteSlice};
use posthole_core::fetchmailrc::{Auth, BadHeader, Envelope, Flags, Protocol};

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Invocation {
    pub(crate) action: Action,
    /// `--quit`: end the daemon first.
    pub(crate) quit: bool,
    /// What wins over the rc file.
    pub(crate) flags: Flags,
    /// `--fetchmailrc`.
    pub(crate) rcfile: Option<OsString>,
    /// The servers to poll.
    pub(crate) servers: Vec<BString>,
    pub(crate) silent: bool,
    pub(crate) verbose: u8,
    pub(crate) nodetach: bool,
    /// Whether commands are run even where they only make a tunnel.
    pub(crate) no_native_tunnel: bool,
    /// Whether this is the daemon, started by the call in the foreground.
    pub(crate) detached: bool,
    /// Whether there is anything on the command line at all.
    pub(crate) is_bare: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Action {
    /// `--check`: says what there is.
    Check,
    /// `--configdump`.
    Configdump,
    /// `--help`.
    Help,
    /// Fetches mail.
    #[default]
    Poll,
    /// `--version`: says what would be done.
    Version,
}

/// One option.
struct Spec {
    long: &'static str,
    short: Option<u8>,
    takes: Takes,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Takes {
    Nothing,
    Value,
}

/// Reads the command line, without the name of the program.
///
/// # Errors
/// What is wrong with it, in one line.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Invocation, String> {
    let mut invocation = Invocation::default();
    let mut words = args.into_iter().map(OsString::into_vec).peekable();
    invocation.is_bare = words.peek().is_none();
    while let Some(word) = words.next() {
        match &*word {
            b"--" => {
                invocation.servers.extend(words.by_ref().map(BString::from));
            }
            [b'-', b'-', long @ ..] => {
                let (name, inline) = match long.split_once_str("=") {
                    Some((name, value)) => (name, Some(value.to_vec())),
                    None => (long, None),
                };
                let spec = find_long(name)?;
                let value = match (spec.takes, inline) {
                    (Takes::Nothing, None) => None,
                    (Takes::Nothing, Some(_)) => {
                        return Err(format!("option `--{}` takes no value", spec.long));
                    }
                    (Takes::Value, Some(value)) => Some(value),
                    (Takes::Value, None) => Some(words.next().ok_or_else(|| missing(spec))?),
                };
                invocation.apply(spec, value.unwrap_or_default())?;
            }
            [b'-', first, ..] if *first != b'-' => {
                let mut letters = &word[1..];
                while let [letter, rest @ ..] = letters {
                    let spec = find_short(*letter)?;
                    if spec.takes == Takes::Value {
                        let value = if rest.is_empty() {
                            words.next().ok_or_else(|| missing(spec))?
                        } else {
                            rest.to_vec()
                        };
                        invocation.apply(spec, value)?;
                        break;
                    }
                    invocation.apply(spec, Vec::new())?;
                    letters = rest;
                }
            }
            _ => invocation.servers.push(word.into()),
        }
    }
    Ok(invocation)
}

fn find_long(name: &[u8]) -> Result<&'static Spec, String> {
    let shown = name.to_str_lossy();
    let same = OPTIONS.iter().find(|spec| spec.long.as_bytes() == name);
    if let Some(spec) = same {
        return Ok(spec);
    }
    let is_prefix = |spec: &&Spec| !name.is_empty() && spec.long.as_bytes().starts_with(name);
    // What was unique in fetchmail stays so, whatever came later.
    let is_old = |spec: &&Spec| !NEWER.contains(&spec.long);
    let has_old = OPTIONS.iter().filter(is_old).any(|spec| is_prefix(&spec));
    let fitting = || {
        let fitting = OPTIONS.iter().filter(is_prefix);
        fitting.filter(move |spec| is_old(spec) || !has_old && spec.long != "detached")
    };
    let mut candidates = fitting();
    match (candidates.next(), candidates.next()) {
        (Some(spec), None) => Ok(spec),
        (Some(first), Some(_)) => {
            // Two spellings of one option are one option.
            let is_one = fitting().all(|spec| alias(spec.long) == alias(first.long));
            if is_one {
                return Ok(first);
            }
            let names: Vec<_> = fitting().map(|spec| format!("--{}", spec.long)).collect();
            Err(format!(
                "option `--{shown}` is ambiguous: it may be {}",
                names.join(", ")
            ))
        }
        (None, _) => Err(format!("there is no option `--{shown}`")),
    }
}

fn find_short(letter: u8) -> Result<&'static Spec, String> {
    let mut options = OPTIONS.iter();
    options
        .find(|spec| spec.short == Some(letter))
        .ok_or_else(|| format!("there is no option `-{}`", letter.escape_ascii()))
}

fn missing(spec: &Spec) -> String {
    format!("option `--{}` needs a value", spec.long)
}

/// The spelling that [`Invocation::apply`] knows.
fn alias(long: &str) -> &str {
    match long {
        "fetchall" => "all",
        "port" => "service",
        "proto" => "protocol",
        "user" => "username",
        other => other,
    }
}

impl Invocation {
    fn apply(&mut self, spec: &Spec, value: Vec<u8>) -> Result<(), String> {
        let Flags {
            globals,
            server,
            user,
        } = &mut self.flags;
        let text = || Some(BString::from(value.clone()));
        let number = || number_of(spec, &value).map(Some);
        let list = || value.split_str(b",").map(BString::from);
        match alias(spec.long) {
            "help" => self.action = Action::Help,
            "version" => self.action = Action::Version,
            "check" => self.action = Action::Check,
            "configdump" => self.action = Action::Configdump,
            "silent" => self.silent = true,
            "verbose" => self.verbose = self.verbose.saturating_add(1),
            "nodetach" => self.nodetach = true,
            "quit" => self.quit = true,
            "detached" => self.detached = true,
            "no-native-tunnel" => self.no_native_tunnel = true,
            "fetchmailrc" => self.rcfile = Some(OsString::from_vec(value)),
            "yydebug" => {}

            "daemon" => globals.daemon = number()?,
            "logfile" => globals.logfile = text(),
            "syslog" => globals.syslog = Some(true),
            "nosyslog" => globals.syslog = Some(false),
            "invisible" => globals.invisible = Some(true),
            "idfile" => globals.idfile = text(),
            "pidfile" => globals.pidfile = text(),
            "postmaster" => globals.postmaster = text(),
            "nobounce" => globals.bouncemail = Some(false),
            "softbounce" => globals.softbounce = Some(true),
            "nosoftbounce" => globals.softbounce = Some(false),
            "showdots" => globals.showdots = Some(true),

            "auth" => server.auth = Some(auth(&value)?),
            "bad-header" => {
                server.bad_header = Some(match &*value {
                    b"accept" => BadHeader::Accept,
                    b"reject" => BadHeader::Reject,
                    _ => return Err("`--bad-header` is accept or reject".to_owned()),
                });
            }
            "envelope" => server.envelope = text().map(Envelope::Header),
            "idletimeout" => server.idletimeout = number()?,
            "interface" => server.interface = text(),
            "monitor" => server.monitor = text(),
            "plugin" => server.plugin = text(),
            "plugout" => server.plugout = text(),
            "principal" => server.principal = text(),
            "protocol" => {
                let lower = value.to_ascii_lowercase();
                server.protocol = Some(match &*lower {
                    b"apop" => Protocol::Apop,
                    b"auto" => Protocol::Auto,
                    b"etrn" => Protocol::Etrn,
                    b"imap" => Protocol::Imap,
                    b"odmr" => Protocol::Odmr,
                    b"pop2" => Protocol::Pop2,
                    b"pop3" => Protocol::Pop3,
                    b"rpop" => Protocol::Rpop,
                    b"sdps" => {
                        server.sdps = Some(true);
                        Protocol::Pop3
                    }
                    b"kpop" => {
                        server.service = Some("kpop".into());
                        server.auth = Some(Auth::KerberosV5);
                        Protocol::Pop3
                    }
                    other => {
                        let other = other.to_str_lossy();
                        return Err(format!("`{other}` is no protocol; posthole speaks pop3"));
                    }
                });
            }
            "qvirtual" => server.qvirtual = text(),
            "service" => server.service = text(),
            "timeout" => server.timeout = number()?,
            "tracepolls" => server.tracepolls = Some(true),
            "uidl" => server.uidl = Some(true),

            "all" => user.fetchall = Some(true),
            "antispam" => {
                let codes = list().map(|code| number_of(spec, &code));
                user.antispam = codes.collect::<Result<_, _>>()?;
            }
            "batchlimit" => user.batchlimit = number()?,
            "bsmtp" => user.bsmtp = text(),
            "expunge" => user.expunge = number()?,
            "fastuidl" => user.fastuidl = number()?,
            "fetchdomains" => user.fetchdomains = list().collect(),
            "fetchlimit" => user.fetchlimit = number()?,
            "fetchsizelimit" => user.fetchsizelimit = number()?,
            "flush" => user.flush = Some(true),
            "folder" => user.folders = list().collect(),
            "forceidle" => user.forceidle = Some(true),
            "idle" => user.idle = Some(true),
            "keep" => user.keep = Some(true),
            "nokeep" => user.keep = Some(false),
            "limit" => user.limit = number()?,
            "limitflush" => user.limitflush = Some(true),
            "lmtp" => user.lmtp = Some(true),
            "mda" => user.mda = text(),
            "norewrite" => user.rewrite = Some(false),
            "passwordfile" => user.passwordfile = text(),
            "smtpaddress" => user.smtpaddress = text(),
            "smtphost" => user.smtphost = list().collect(),
            "smtpname" => user.smtpname = text(),
            "ssl" => user.ssl = Some(true),
            "sslcert" => user.sslcert = text(),
            "sslcertck" => user.sslcertck = Some(true),
            "nosslcertck" => user.sslcertck = Some(false),
            "sslcertfile" => user.sslcertfile = text(),
            "sslcertpath" => user.sslcertpath = text(),
            "sslcommonname" => user.sslcommonname = text(),
            "sslfingerprint" => user.sslfingerprint = text(),
            "sslkey" => user.sslkey = text(),
            "sslmode" => user.sslmode = text(),
            "sslproto" => user.sslproto = text(),
            "username" => user.remotename = text(),
            "warnings" => user.warnings = number()?,
            // INVARIANT: a test goes through the whole table.
            other => unreachable!("--{other} is not applied"),
        }
        Ok(())
    }
}

fn number_of(spec: &Spec, value: &[u8]) -> Result<i32, String> {
    let number = value
        .trim_ascii()
        .to_str()
        .ok()
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| {
        let value = value.to_str_lossy();
        format!("`--{}` needs a number, not `{value}`", spec.long)
    })
}

fn auth(value: &[u8]) -> Result<Auth, String> {
    Ok(match value {
        b"any" => Auth::Any,
        b"apop" => Auth::Apop,
        b"cram" | b"cram-md5" => Auth::CramMd5,
        b"external" => Auth::External,
        b"gssapi" => Auth::Gssapi,
        b"implicit" => Auth::Implicit,
        b"kerberos" | b"kerberos_v4" | b"kerberos4" => Auth::KerberosV4,
        b"kerberos_v5" | b"kerberos5" => Auth::KerberosV5,
        b"msn" => Auth::Msn,
        b"ntlm" => Auth::Ntlm,
        b"oauthbearer" => Auth::OAuthBearer,
        b"otp" | b"opie" => Auth::Otp,
        b"password" => Auth::Password,
        b"ssh" => Auth::Ssh,
        other => {
            let other = other.to_str_lossy();
            return Err(format!("`{other}` is no type of authentication"));
        }
    })
}

const fn flag(long: &'static str, short: u8) -> Spec {
    spec(long, short, Takes::Nothing)
}

const fn value(long: &'static str, short: u8) -> Spec {
    spec(long, short, Takes::Value)
}

const fn spec(long: &'static str, short: u8, takes: Takes) -> Spec {
    let short = if short == 0 { None } else { Some(short) };
    Spec { long, short, takes }
}

/// fetchmail 6.4's options, some of 6.5 and 7, and ours; `--detached` is for ourselves.
const OPTIONS: &[Spec] = &[
    flag("help", b'?'),
    flag("version", b'V'),
    flag("check", b'c'),
    flag("silent", b's'),
    flag("verbose", b'v'),
    value("daemon", b'd'),
    flag("nodetach", b'N'),
    flag("quit", b'q'),
    value("logfile", b'L'),
    flag("syslog", 0),
    flag("nosyslog", 0),
    flag("invisible", 0),
    value("fetchmailrc", b'f'),
    value("idfile", b'i'),
    value("pidfile", 0),
    value("postmaster", 0),
    flag("nobounce", 0),
    flag("nosoftbounce", 0),
    flag("softbounce", 0),
    value("interface", b'I'),
    value("monitor", b'M'),
    flag("ssl", 0),
    value("sslkey", 0),
    value("sslcert", 0),
    flag("sslcertck", 0),
    flag("nosslcertck", 0),
    value("sslcertfile", 0),
    value("sslcertpath", 0),
    value("sslcommonname", 0),
    value("sslfingerprint", 0),
    value("sslproto", 0),
    value("sslmode", 0),
    value("plugin", 0),
    value("plugout", 0),
    value("bad-header", 0),
    value("protocol", b'p'),
    value("proto", 0),
    flag("uidl", b'U'),
    flag("idle", 0),
    flag("forceidle", 0),
    value("idletimeout", 0),
    value("port", 0),
    value("service", b'P'),
    value("auth", b'A'),
    value("timeout", b't'),
    value("envelope", b'E'),
    value("qvirtual", b'Q'),
    value("principal", 0),
    flag("tracepolls", 0),
    value("username", b'u'),
    value("user", 0),
    flag("all", b'a'),
    flag("fetchall", 0),
    flag("nokeep", b'K'),
    flag("keep", b'k'),
    flag("flush", b'F'),
    flag("limitflush", 0),
    flag("norewrite", b'n'),
    value("limit", b'l'),
    value("warnings", b'w'),
    value("smtphost", b'S'),
    value("fetchdomains", 0),
    value("smtpaddress", b'D'),
    value("smtpname", 0),
    value("antispam", b'Z'),
    value("batchlimit", b'b'),
    value("fetchlimit", b'B'),
    value("fetchsizelimit", 0),
    value("fastuidl", 0),
    value("expunge", b'e'),
    value("mda", b'm'),
    value("bsmtp", 0),
    flag("lmtp", 0),
    value("folder", b'r'),
    flag("showdots", 0),
    value("passwordfile", 0),
    flag("configdump", 0),
    flag("yydebug", b'y'),
    flag("no-native-tunnel", 0),
    flag("detached", 0),
];

/// What fetchmail 6.4 does not have.
const NEWER: &[&str] = &[
    "detached",
    "forceidle",
    "idletimeout",
    "no-native-tunnel",
    "passwordfile",
    "sslmode",
];

/// What `--help` prints.
pub(crate) const HELP: &str = include_str!("help.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(line: &str) -> Result<Invocation, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn what_is_short_enough_for_fetchmail_is_short_enough_here() {
        assert_eq!(read("--d 5").unwrap().flags.globals.daemon, Some(5));
        assert_eq!(read("--fo INBOX").unwrap().flags.user.folders, ["INBOX"]);
        assert!(read("--no-native").unwrap().no_native_tunnel);
        assert!(read("--forceid").is_ok());
        assert!(read("--det").unwrap_err().contains("no option"));
        assert!(read("--s").unwrap_err().contains("ambiguous"));
    }

    #[test]
    fn every_option_of_the_table_is_applied() {
        for spec in OPTIONS {
            let value = match spec.long {
                "auth" => "any",
                "bad-header" => "accept",
                "proto" | "protocol" => "pop3",
                _ => "1",
            };
            let line = match spec.takes {
                Takes::Nothing => format!("--{}", spec.long),
                Takes::Value => format!("--{}={value}", spec.long),
            };
            read(&line).unwrap();
        }
    }

    #[test]
    fn short_options_are_bundled_and_have_their_value_near() {
        for line in ["-kvd300 work", "-k -v -d 300 work", "work -kvd 300"] {
            let read = read(line).unwrap();
            assert_eq!(read.flags.user.keep, Some(true), "{line}");
            assert_eq!(read.verbose, 1, "{line}");
            assert_eq!(read.flags.globals.daemon, Some(300), "{line}");
            assert_eq!(read.servers, ["work"], "{line}");
        }
    }

    #[test]
    fn long_options_are_shortened_as_long_as_they_are_unique() {
        assert_eq!(read("--conf").unwrap().action, Action::Configdump);
        assert_eq!(read("--dae=7").unwrap().flags.globals.daemon, Some(7));
        assert_eq!(
            read("--prot pop3").unwrap().flags.server.protocol,
            Some(Protocol::Pop3)
        );
        let error = read("--ver").unwrap_err();
        assert!(
            error.contains("--version") && error.contains("--verbose"),
            "{error}"
        );
        assert!(read("--sslcert=x").unwrap().flags.user.sslcert.is_some());
    }

    #[test]
    fn after_two_dashes_there_are_only_servers() {
        let read = read("-v -- -k --keep -").unwrap();
        assert_eq!(read.servers, ["-k", "--keep", "-"]);
        assert_eq!(read.flags.user.keep, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, words) in [
            ("--frobnicate", "no option `--frobnicate`"),
            ("-j", "no option `-j`"),
            ("-d", "needs a value"),
            ("-d soon", "needs a number"),
            ("--keep=1", "takes no value"),
            ("-p nntp", "no protocol"),
            ("--auth x", "no type of authentication"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_list_is_split_at_commas() {
        let read = read("-S a,b/2525 -Z 550,554").unwrap();
        assert_eq!(read.flags.user.smtphost, ["a", "b/2525"]);
        assert_eq!(read.flags.user.antispam, [550, 554]);
    }
}
