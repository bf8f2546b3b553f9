//! `--configdump`: a configuration as the Python initialiser that fetchmailconf reads.

use std::fmt::{self, Display, Formatter};

use bstr::{BStr, BString};
use secrecy::{ExposeSecret, SecretSlice};

use super::configuration::{Configuration, Entry, Globals, User};
use super::options::{Auth, BadHeader, LocalName, Protocol};

/// A configuration in the format of `fetchmail --configdump`.
///
/// It shows passwords: that is what the format is for. The keys are those of fetchmail 6.4; what
/// only later versions know follows where it was said.
#[must_use]
pub fn configdump<'c>(
    configuration: &'c Configuration,
    features: &'c [&'c str],
) -> impl Display + 'c {
    fmt::from_fn(move |f| {
        writeln!(f, "TRUE=1; FALSE=0\n")?;
        let os = match std::env::consts::OS {
            known @ ("freebsd" | "linux") => known,
            _ => "generic",
        };
        writeln!(f, "os_type = '{os}'")?;
        write!(f, "feature_options = (")?;
        for feature in features {
            write!(f, "'{feature}',")?;
        }
        writeln!(
            f,
            ")\n# Start of configuration initializer\nfetchmailrc = {{"
        )?;
        globals(f, &configuration.globals)?;
        if configuration.entries.is_empty() {
            writeln!(f, "    'servers': []")?;
        } else {
            writeln!(
                f,
                "    # List of server entries begins here\n    'servers': ["
            )?;
            for (index, one) in configuration.entries.iter().enumerate() {
                if index > 0 {
                    writeln!(f, "\t,")?;
                }
                entry(f, one)?;
            }
            writeln!(f, "    ]")?;
        }
        writeln!(f, "}}\n# End of initializer")
    })
}

fn globals(f: &mut Formatter<'_>, globals: &Globals) -> fmt::Result {
    let mut fields = Fields { f, indent: "    " };
    fields.number("poll_interval", globals.poll_interval)?;
    fields.text("logfile", globals.logfile.as_ref())?;
    fields.text("idfile", Some(&globals.idfile))?;
    fields.text("postmaster", Some(&globals.postmaster))?;
    fields.switch("bouncemail", globals.bouncemail)?;
    fields.switch("spambounce", globals.spambounce)?;
    fields.switch("softbounce", globals.softbounce)?;
    fields.text("properties", globals.properties.as_ref())?;
    fields.switch("invisible", globals.invisible)?;
    fields.switch("showdots", globals.showdots)?;
    fields.switch("syslog", globals.syslog)
}

fn entry(f: &mut Formatter<'_>, entry: &Entry) -> fmt::Result {
    writeln!(f, "\t# Entry for site `{}' begins:\n\t{{", entry.name)?;
    let mut fields = Fields {
        f,
        indent: "\t    ",
    };
    fields.text("pollname", Some(&entry.name))?;
    fields.switch("active", !entry.skip)?;
    fields.text("via", entry.via.as_ref())?;
    fields.word("protocol", protocol(entry))?;
    fields.text("service", entry.service.as_ref())?;
    fields.number("timeout", entry.timeout)?;
    fields.number("interval", entry.interval)?;
    fields.text("envelope", entry.envelope.as_ref())?;
    fields.number("envskip", entry.envskip)?;
    fields.text("qvirtual", entry.qvirtual.as_ref())?;
    if let Some(auth) = auth(entry.auth) {
        fields.word("auth", auth)?;
    }
    fields.switch("dns", entry.dns)?;
    fields.switch("uidl", entry.uidl)?;
    fields.texts("aka", &entry.aka)?;
    fields.texts("localdomains", &entry.localdomains)?;
    fields.text("interface", entry.interface.as_ref())?;
    fields.text("monitor", entry.monitor.as_ref())?;
    fields.text("plugin", entry.plugin.as_ref())?;
    fields.text("plugout", entry.plugout.as_ref())?;
    fields.text("principal", entry.principal.as_ref())?;
    fields.text("esmtpname", Some(&entry.esmtpname))?;
    if let Some(password) = &entry.esmtppassword {
        fields.secret("esmtppassword", Some(password))?;
    }
    fields.switch("tracepolls", entry.tracepolls)?;
    let accepts = entry.bad_header == BadHeader::Accept;
    writeln!(fields.f, "\t    'badheader': {},", Truth(accepts))?;
    if let Some(idletimeout) = entry.idletimeout {
        fields.number("idletimeout", idletimeout)?;
    }
    writeln!(fields.f, "\t    'users': [")?;
    for one in &entry.users {
        writeln!(fields.f, "\t\t{{")?;
        user(fields.f, entry, one)?;
        write!(fields.f, "\t\t}}\n\t\t,")?;
    }
    writeln!(fields.f, "\t    ]\n\t}}")
}

fn user(f: &mut Formatter<'_>, entry: &Entry, user: &User) -> fmt::Result {
    let mut fields = Fields {
        f,
        indent: "\t\t    ",
    };
    fields.text("remote", Some(&user.remote))?;
    match &user.password {
        // Where nobody looks at it, fetchmail has something in its place.
        None if entry.active && !entry.needs_password() => {
            fields.text("password", Some(&user.remote))?;
        }
        password => fields.secret("password", password.as_ref())?,
    }
    fields.localnames(&user.localnames, user.wildcard)?;
    fields.switch("fetchall", user.fetchall)?;
    fields.switch("keep", user.keep)?;
    fields.switch("flush", user.flush)?;
    fields.switch("limitflush", user.limitflush)?;
    fields.switch("rewrite", user.rewrite)?;
    fields.switch("stripcr", user.stripcr)?;
    fields.switch("forcecr", user.forcecr)?;
    fields.switch("pass8bits", user.pass8bits)?;
    fields.switch("dropstatus", user.dropstatus)?;
    fields.switch("dropdelivered", user.dropdelivered)?;
    fields.switch("mimedecode", user.mimedecode)?;
    fields.switch("idle", user.idle)?;
    if let Some(forceidle) = user.forceidle {
        fields.switch("forceidle", forceidle)?;
    }
    fields.text("mda", user.mda.as_ref())?;
    fields.text("bsmtp", user.bsmtp.as_ref())?;
    fields.switch("lmtp", user.lmtp)?;
    fields.text("preconnect", user.preconnect.as_ref())?;
    fields.text("postconnect", user.postconnect.as_ref())?;
    fields.number("limit", user.limit)?;
    fields.number("warnings", user.warnings)?;
    fields.number("fetchlimit", user.fetchlimit)?;
    fields.number("fetchsizelimit", user.fetchsizelimit)?;
    fields.number("fastuidl", user.fastuidl)?;
    fields.number("batchlimit", user.batchlimit)?;
    fields.switch("ssl", user.ssl)?;
    fields.text("sslkey", user.sslkey.as_ref())?;
    fields.text("sslcert", user.sslcert.as_ref())?;
    fields.text("sslproto", user.sslproto.as_ref())?;
    fields.switch("sslcertck", user.sslcertck)?;
    fields.text("sslcertfile", user.sslcertfile.as_ref())?;
    fields.text("sslcertpath", user.sslcertpath.as_ref())?;
    fields.text("sslcommonname", user.sslcommonname.as_ref())?;
    fields.text("sslfingerprint", user.sslfingerprint.as_ref())?;
    fields.number("expunge", user.expunge)?;
    fields.text("properties", user.properties.as_ref())?;
    fields.texts("smtphunt", &user.smtphunt)?;
    fields.texts("fetchdomains", &user.fetchdomains)?;
    fields.text("smtpaddress", user.smtpaddress.as_ref())?;
    fields.text("smtpname", user.smtpname.as_ref())?;
    let codes: Vec<_> = user.antispam.iter().map(i32::to_string).collect();
    writeln!(fields.f, "\t\t    'antispam':'{}',", codes.join(" "))?;
    fields.texts("mailboxes", &user.folders)
}

/// Fields of a dictionary. As with fetchmail, keys of texts have double quotes, others single ones.
struct Fields<'f, 'a> {
    f: &'f mut Formatter<'a>,
    indent: &'static str,
}

impl Fields<'_, '_> {
    fn number(&mut self, key: &str, number: impl Display) -> fmt::Result {
        writeln!(self.f, "{}'{key}':{number},", self.indent)
    }

    fn switch(&mut self, key: &str, on: bool) -> fmt::Result {
        writeln!(self.f, "{}'{key}':{},", self.indent, Truth(on))
    }

    fn word(&mut self, key: &str, word: &str) -> fmt::Result {
        writeln!(self.f, "{}\"{key}\":\"{word}\",", self.indent)
    }

    fn text(&mut self, key: &str, text: Option<&BString>) -> fmt::Result {
        match text {
            Some(text) => writeln!(self.f, "{}\"{key}\":{},", self.indent, Quoted(text)),
            None => writeln!(self.f, "{}\"{key}\":None,", self.indent),
        }
    }

    fn secret(&mut self, key: &str, secret: Option<&SecretSlice<u8>>) -> fmt::Result {
        match secret {
            Some(secret) => {
                let secret = Quoted(secret.expose_secret());
                writeln!(self.f, "{}\"{key}\":{secret},", self.indent)
            }
            None => writeln!(self.f, "{}\"{key}\":None,", self.indent),
        }
    }

    fn texts(&mut self, key: &str, texts: &[BString]) -> fmt::Result {
        let texts: Vec<_> = texts.iter().map(|text| Quoted(text).to_string()).collect();
        writeln!(self.f, "{}\"{key}\":[{}],", self.indent, texts.join(", "))
    }

    fn localnames(&mut self, names: &[LocalName], wildcard: bool) -> fmt::Result {
        let names = names.iter().map(|name| match &name.client {
            Some(client) => format!("({}, {})", Quoted(&name.server), Quoted(client)),
            None => Quoted(&name.server).to_string(),
        });
        let mut names: Vec<_> = names.collect();
        if wildcard {
            names.push("'*'".to_owned());
        }
        writeln!(
            self.f,
            "{}'localnames':[{}],",
            self.indent,
            names.join(", ")
        )
    }
}

struct Truth(bool);

impl Display for Truth {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0 { "TRUE" } else { "FALSE" })
    }
}

/// A text in Python's quotes.
///
/// fetchmail escapes an octet that cannot be shown as `\0xHH`, which Python does not read back as
/// that octet, and garbles those above 127. Here they all come as `\xHH`.
struct Quoted<'t>(&'t [u8]);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for octet in self.0 {
            match octet {
                b'"' => f.write_str("\\\"")?,
                b'\\' => f.write_str("\\\\")?,
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b' '..=b'~' => f.write_str(BStr::new(&[*octet]).to_string().as_str())?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        f.write_str("\"")
    }
}

fn protocol(entry: &Entry) -> &'static str {
    match entry.protocol {
        Protocol::Apop => "APOP",
        Protocol::Auto => "auto",
        Protocol::Etrn => "ETRN",
        Protocol::Imap => "IMAP",
        Protocol::Odmr => "ODMR",
        // fetchmail 6.4 is built without it, and has no other word for it then.
        Protocol::Pop2 => "unknown?!?",
        Protocol::Pop3 => "POP3",
        Protocol::Rpop => "RPOP",
    }
}

/// The word for an authentication type; fetchmail 6.4 has none for some.
fn auth(auth: Auth) -> Option<&'static str> {
    match auth {
        Auth::Any => Some("any"),
        Auth::Apop => Some("apop"),
        Auth::CramMd5 => Some("cram-md5"),
        Auth::External => None,
        Auth::Gssapi => Some("gssapi"),
        Auth::Implicit => Some("implicit"),
        Auth::KerberosV4 => Some("kerberos_v4"),
        Auth::KerberosV5 => Some("kerberos_v5"),
        Auth::Msn => Some("msn"),
        Auth::Ntlm => Some("ntlm"),
        Auth::OAuthBearer => Some("oauthbearer"),
        Auth::Otp => Some("otp"),
        Auth::Password => Some("password"),
        Auth::Ssh => Some("ssh"),
    }
}
