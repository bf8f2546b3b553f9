//! From what was written, and the command line, to what it amounts to.
//!
//! The order is fetchmail's: an entry takes over what `defaults` says and it does not, then what
//! the program has as defaults, and then the command line covers all of it. Pure: what it needs to
//! know of the user and the machine comes in with the [`Request`].

use bstr::{BString, ByteSlice};

use super::ast::{self, Rcfile};
use super::check;
use super::configuration::{Configuration, Entry, Globals, User};
use super::options::{
    Auth, BadHeader, Envelope, GlobalOptions, LocalName, Protocol, ServerOptions, UserOptions,
};
use crate::config::Diagnostic;

/// Who asks for what, and where.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whether servers that this run does not poll are checked too, as for `--configdump`.
    pub check_all: bool,
    /// What the command line says.
    pub flags: Flags,
    /// The name of this host, which mail is asked for with ETRN and ODMR.
    pub hostname: BString,
    /// Where it is kept what was fetched, unless the file or a flag says otherwise.
    pub idfile: BString,
    /// The servers that the command line names; none polls all that are not skipped.
    pub names: Vec<BString>,
    /// The directory of the rc file, which relative paths in it start from; empty leaves them.
    pub rcfile_dir: BString,
    /// Whether the superuser asks.
    pub superuser: bool,
    /// Who asks: the name here, and on a server where nothing else is said.
    pub user: BString,
}

/// Options on the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// For the whole run.
    pub globals: GlobalOptions,
    /// For every server.
    pub server: ServerOptions,
    /// For every user.
    pub user: UserOptions,
}

impl Rcfile {
    /// Works out what the file and the request amount to, and what is wrong with it.
    ///
    /// Meant for a file that was read without errors; after any error, here or there, nothing is
    /// to be done.
    #[must_use]
    pub fn resolve(&self, request: &Request) -> (Configuration, Vec<Diagnostic>) {
        let mut resolver = Resolver {
            request,
            diagnostics: Vec::new(),
        };
        let configuration = resolver.resolve(self);
        (configuration, resolver.diagnostics)
    }
}

struct Resolver<'r> {
    request: &'r Request,
    diagnostics: Vec<Diagnostic>,
}

/// What is to become an [`Entry`], and where it comes from.
pub(super) struct Draft<'a> {
    name: BString,
    pub(super) server: ServerOptions,
    users: Vec<UserOptions>,
    active: bool,
    /// Where it stands in the file, if it does.
    pub(super) origin: Option<&'a ast::Entry>,
}

impl Resolver<'_> {
    fn resolve(&mut self, rcfile: &Rcfile) -> Configuration {
        let mut drafts: Vec<_> = rcfile
            .entries
            .iter()
            .map(|entry| self.draft(entry))
            .collect();
        drafts.extend(self.named_only_on_the_command_line(&drafts));
        let defaults = self.take_defaults(&mut drafts);
        let own = self.own_defaults();
        for draft in &mut drafts {
            for layer in defaults.iter().chain([&own]) {
                draft.server.fill_from(&layer.server);
                draft
                    .users
                    .iter_mut()
                    .for_each(|user| user.fill_from(&layer.user));
            }
            draft.server.override_with(&self.request.flags.server);
            for user in &mut draft.users {
                user.override_with(&self.request.flags.user);
            }
        }
        let entries: Vec<_> = drafts.iter().map(|draft| self.entry(draft)).collect();
        let globals = self.globals(&rcfile.globals);
        let all = drafts.iter().zip(&entries);
        let checked = all.filter(|(_, entry)| entry.active || self.request.check_all);
        let checked: Vec<_> = checked.collect();
        self.diagnostics.extend(check::check(&globals, &checked));
        Configuration { globals, entries }
    }

    fn draft<'a>(&self, entry: &'a ast::Entry) -> Draft<'a> {
        let mut users: Vec<_> = entry
            .users
            .iter()
            .map(|user| user.options.clone())
            .collect();
        if users.is_empty() {
            users.push(UserOptions::default());
        }
        for user in &mut users {
            for path in [
                &mut user.bsmtp,
                &mut user.passwordfile,
                &mut user.sslcert,
                &mut user.sslcertfile,
                &mut user.sslcertpath,
                &mut user.sslkey,
            ] {
                self.make_absolute(path);
            }
        }
        let names = &self.request.names;
        let is_named = |name: &BString| names.contains(name);
        let active = if names.is_empty() {
            entry.options.skip.is_none()
        } else {
            is_named(&entry.name.value) || entry.options.aka.iter().any(is_named)
        };
        Draft {
            name: entry.name.value.clone(),
            server: entry.options.clone(),
            users,
            active,
            origin: Some(entry),
        }
    }

    /// A server that the file does not have is polled with what the command line says of it.
    fn named_only_on_the_command_line<'a>(&self, known: &[Draft<'a>]) -> Vec<Draft<'a>> {
        let names = self.request.names.iter();
        let unknown = names.filter(|name| {
            !known
                .iter()
                .any(|draft| draft.name == **name || draft.server.aka.contains(name))
        });
        let draft = |name: &BString| Draft {
            name: name.clone(),
            server: ServerOptions {
                via: Some(name.clone()),
                ..ServerOptions::default()
            },
            users: vec![UserOptions::default()],
            active: true,
            origin: None,
        };
        unknown.map(draft).collect()
    }

    /// Takes `defaults` out, which must be the first entry.
    ///
    /// What fetchmail makes of more than one user or entry of it is a server of that name. That is
    /// never meant, but it does no harm to the others either.
    fn take_defaults(&mut self, drafts: &mut Vec<Draft<'_>>) -> Option<Flags> {
        // fetchmail goes by the name, so that `poll "defaults"` is the same.
        let is_defaults = |draft: &Draft<'_>| draft.origin.is_some() && draft.name == "defaults";
        let first = drafts.first_mut().filter(|draft| is_defaults(draft));
        let defaults = first.map(|draft| Flags {
            globals: GlobalOptions::default(),
            server: draft.server.clone(),
            user: draft.users.remove(0),
        });
        let mut allowed = defaults.is_some();
        if defaults.is_some() && drafts[0].users.is_empty() {
            drafts.remove(0);
        }
        for (index, draft) in drafts
            .iter()
            .enumerate()
            .filter(|(_, draft)| is_defaults(draft))
        {
            let span = draft.origin.map_or(0..0, |origin| origin.name.span.clone());
            let tolerated = index == 0 && std::mem::take(&mut allowed);
            let diagnostic = if tolerated {
                Diagnostic::warning("only the first user of `defaults` counts")
                    .help("fetchmail takes the rest for a server called `defaults`; leave it out")
            } else {
                Diagnostic::error("`defaults` is not the first entry, or not the only one").help(
                    "write everything that holds for all servers into one `defaults` at \
                           the beginning",
                )
            };
            self.diagnostics.push(diagnostic.at(span));
        }
        defaults
    }

    /// fetchmail's own defaults, as far as they are given before the command line.
    fn own_defaults(&self) -> Flags {
        Flags {
            globals: GlobalOptions::default(),
            server: ServerOptions {
                esmtpname: Some(self.request.user.clone()),
                protocol: Some(Protocol::Auto),
                timeout: Some(TIMEOUT),
                ..ServerOptions::default()
            },
            user: UserOptions {
                fastuidl: Some(4),
                fetchsizelimit: Some(100),
                remotename: Some(self.request.user.clone()),
                sslcertck: Some(true),
                warnings: Some(3600),
                ..UserOptions::default()
            },
        }
    }

    fn globals(&self, written: &GlobalOptions) -> Globals {
        let mut options = written.clone();
        for path in [
            &mut options.idfile,
            &mut options.logfile,
            &mut options.pidfile,
        ] {
            self.make_absolute(path);
        }
        options.override_with(&self.request.flags.globals);
        let postmaster = || {
            if self.request.superuser {
                BString::from("postmaster")
            } else {
                self.request.user.clone()
            }
        };
        Globals {
            bouncemail: options.bouncemail.unwrap_or(true),
            idfile: options
                .idfile
                .unwrap_or_else(|| self.request.idfile.clone()),
            invisible: options.invisible.unwrap_or(false),
            logfile: options.logfile,
            pidfile: options.pidfile,
            pinentry_timeout: options.pinentry_timeout,
            poll_interval: at_least_zero(options.daemon),
            postmaster: options.postmaster.unwrap_or_else(postmaster),
            properties: options.properties,
            showdots: options.showdots.unwrap_or(false),
            softbounce: options.softbounce.unwrap_or(true),
            spambounce: options.spambounce.unwrap_or(false),
            syslog: options.syslog.unwrap_or(false),
        }
    }

    fn entry(&self, draft: &Draft<'_>) -> Entry {
        let server = draft.server.clone();
        // fetchmail's command line makes -1 of a zero, and then the default of it.
        let timeout = server
            .timeout
            .map(|timeout| if timeout == -1 { TIMEOUT } else { timeout });
        let protocol = server.protocol.unwrap_or(Protocol::Auto);
        Entry {
            // `skip` may also come from the entry `defaults`.
            active: draft.active && !(self.request.names.is_empty() && server.skip == Some(true)),
            aka: server.aka,
            auth: server.auth.unwrap_or(Auth::Any),
            bad_header: server.bad_header.unwrap_or(BadHeader::Reject),
            checkalias: server.checkalias.unwrap_or(false),
            dns: server.dns.unwrap_or(true),
            envelope: match server.envelope {
                Some(Envelope::Disabled) => None,
                Some(Envelope::Header(header)) => Some(header),
                None => Some("Received".into()),
            },
            envskip: at_least_zero(server.envskip),
            esmtpname: server.esmtpname.unwrap_or_default(),
            esmtppassword: server.esmtppassword,
            idletimeout: server.idletimeout,
            interface: server.interface,
            interval: at_least_zero(server.interval),
            localdomains: server.localdomains,
            monitor: server.monitor,
            name: draft.name.clone(),
            plugin: server.plugin,
            plugout: server.plugout,
            principal: server.principal,
            protocol,
            qvirtual: server.qvirtual,
            retrieve_error: server.retrieve_error,
            sdps: server.sdps.unwrap_or(false),
            service: server.service,
            skip: server.skip.unwrap_or(false),
            timeout: at_least_zero(timeout),
            tracepolls: server.tracepolls.unwrap_or(false),
            uidl: server.uidl.unwrap_or(false),
            via: server.via,
            users: draft
                .users
                .iter()
                .map(|user| self.user(user, protocol))
                .collect(),
        }
    }

    fn user(&self, options: &UserOptions, protocol: Protocol) -> User {
        let options = options.clone();
        let mut user = User {
            antispam: options.antispam,
            batchlimit: at_least_zero(options.batchlimit),
            bsmtp: options.bsmtp,
            dropdelivered: options.dropdelivered.unwrap_or(false),
            dropstatus: options.dropstatus.unwrap_or(false),
            expunge: at_least_zero(options.expunge),
            fastuidl: at_least_zero(options.fastuidl),
            fetchall: options.fetchall.unwrap_or(false),
            fetchdomains: options.fetchdomains,
            fetchlimit: at_least_zero(options.fetchlimit),
            fetchsizelimit: at_least_zero(options.fetchsizelimit),
            flush: options.flush.unwrap_or(false),
            folders: options.folders,
            forcecr: options.forcecr.unwrap_or(false),
            forceidle: options.forceidle,
            idle: options.idle.unwrap_or(false),
            keep: options.keep.unwrap_or(false),
            limit: at_least_zero(options.limit),
            limitflush: options.limitflush.unwrap_or(false),
            lmtp: options.lmtp.unwrap_or(false),
            localnames: options.localnames,
            mimedecode: options.mimedecode.unwrap_or(false),
            pass8bits: options.pass8bits.unwrap_or(false),
            password: options.password,
            passwordeval: options.passwordeval,
            passwordfd: options.passwordfd,
            passwordfile: options.passwordfile,
            postconnect: options.postconnect,
            preconnect: options.preconnect,
            properties: options.properties,
            pwmd_file: options.pwmd_file,
            pwmd_socket: options.pwmd_socket,
            pwmd_socket_args: options.pwmd_socket_args,
            remote: options.remotename.unwrap_or_default(),
            rewrite: options.rewrite.unwrap_or(true),
            smtpaddress: options.smtpaddress,
            smtphunt: options.smtphost,
            smtpname: options.smtpname,
            ssl: options.ssl.unwrap_or(false),
            sslcert: options.sslcert,
            sslcertck: options.sslcertck.unwrap_or(true),
            sslcertfile: options.sslcertfile,
            sslcertpath: options.sslcertpath,
            sslcommonname: options.sslcommonname,
            sslfingerprint: options.sslfingerprint,
            sslkey: options.sslkey,
            sslmode: options.sslmode,
            sslproto: options.sslproto,
            stripcr: options.stripcr.unwrap_or_else(|| options.mda.is_some()),
            mda: options.mda,
            warnings: at_least_zero(options.warnings),
            wildcard: options.wildcard.unwrap_or(false),
        };
        if user.smtphunt.is_empty() {
            user.smtphunt.push("localhost".into());
        }
        let for_domains = matches!(protocol, Protocol::Etrn | Protocol::Odmr);
        if for_domains && user.fetchdomains.is_empty() {
            user.fetchdomains.push(self.request.hostname.clone());
        }
        if user.localnames.is_empty() {
            user.localnames.push(LocalName {
                server: self.request.user.clone(),
                client: None,
            });
        }
        user
    }

    /// A relative path in the rc file starts from its directory; `-` is no path.
    fn make_absolute(&self, path: &mut Option<BString>) {
        let dir = &self.request.rcfile_dir;
        if let Some(path) = path
            && !(path.is_empty() || path.starts_with(b"/") || path == "-" || dir.is_empty())
        {
            let separator = if dir.ends_with(b"/") { "" } else { "/" };
            *path = bstr::concat([dir.as_bytes(), separator.as_bytes(), path.as_bytes()]).into();
        }
    }
}

/// fetchmail shows and takes a negative number as zero.
fn at_least_zero(number: Option<i32>) -> u32 {
    number.map_or(0, |number| number.max(0).unsigned_abs())
}

/// `CLIENT_TIMEOUT`, in seconds.
const TIMEOUT: i32 = 300;
