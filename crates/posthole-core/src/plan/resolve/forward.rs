//! From `[forward.NAME]`, or a forward of the command line, to one that can be served.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::way::Listed;
use super::{ConfigFile, Resolver, is_loopback};
use crate::config::{
    self, Config, Diagnostic, ForwardTarget, Limits, Listen, Protocol, Spanned, did_you_mean,
    one_line,
};
use crate::openssh::OpenSsh;
use crate::plan::{Environment, Forward, ForwardTo, Forwards, HostPort, ListenOn, Overrides, Wish};

/// Works out which forwards are served and how, as [`resolve`](super::resolve) does for accounts.
///
/// # Errors
/// All problems at once, as with [`resolve`](super::resolve).
pub fn resolve_forwards(
    file: Option<ConfigFile<'_>>,
    wish: &Wish,
    overrides: &Overrides,
    environment: &Environment,
    openssh: &dyn OpenSsh,
) -> Result<Forwards, Vec<Diagnostic>> {
    let empty = Config::default();
    let mut resolver = Resolver::new(file, &empty, overrides, environment, openssh);
    let wanted = resolver.wanted(wish);
    let forwards = resolver.forwards(wanted);
    let remarks = resolver.remarks()?;
    Ok(Forwards { forwards, remarks })
}

/// A forward to be served, of the file or of the command line.
struct Wanted {
    name: String,
    listen: Listen,
    listen_span: Option<Range<usize>>,
    target: Target,
    protocol: Option<Protocol>,
    idle: Option<Duration>,
    allow_any: bool,
}

/// Where it is to lead.
enum Target {
    Account(Spanned<String>),
    Through { via: Vec<Listed>, to: HostPort },
}

impl Wanted {
    /// As the file has it, with what the command line says about all of them.
    fn of_file(forward: &config::Forward, idle: Option<Duration>, allow_any: bool) -> Self {
        let target = match &forward.target {
            ForwardTarget::Account(name) => Target::Account(name.clone()),
            ForwardTarget::Through { via, to } => {
                let span = || Some(via.span.clone());
                let listed = via.value.iter().map(|target| (target.clone(), span()));
                Target::Through {
                    via: listed.collect(),
                    to: to.value.clone(),
                }
            }
        };
        Self {
            name: forward.name.value.clone(),
            listen: forward.listen.value.clone(),
            listen_span: Some(forward.listen.span.clone()),
            target,
            protocol: forward.protocol.as_ref().map(|protocol| protocol.value),
            idle: idle.or_else(|| Some(forward.idle.as_ref()?.value)),
            allow_any: allow_any || forward.allow_any,
        }
    }
}

impl Resolver<'_> {
    /// All forwards of the file, of which there may be none.
    pub(super) fn all_forwards(&mut self) -> Vec<Arc<Forward>> {
        let forwards = self.config.forwards.iter();
        let wanted = forwards.map(|forward| Wanted::of_file(forward, None, false));
        self.forwards(wanted.collect())
    }

    fn forwards(&mut self, wanted: Vec<Wanted>) -> Vec<Arc<Forward>> {
        let is_passed = |wanted: &&Wanted| matches!(wanted.listen, Listen::Systemd(_));
        let takes_all = wanted.iter().filter(is_passed).count() == 1;
        let mut forwards: Vec<Arc<Forward>> = Vec::new();
        for wanted in wanted {
            let span = wanted.listen_span.clone();
            let Some(forward) = self.forward(wanted, takes_all) else {
                continue;
            };
            let mut earlier = forwards.iter();
            if let Some(first) = earlier.find(|earlier| earlier.listen == forward.listen) {
                let mut diagnostic = Diagnostic::error(format!(
                    "`{}` listens there already, before `{}`",
                    first.name, forward.name
                ));
                diagnostic.span = span;
                self.note(diagnostic.help("give each forward a place of its own"));
            }
            forwards.push(Arc::new(forward));
        }
        forwards
    }

    fn wanted(&mut self, wish: &Wish) -> Vec<Wanted> {
        match wish {
            Wish::New {
                listen,
                via,
                to,
                protocol,
                idle,
                allow_any,
            } => vec![Wanted {
                name: to.to_string(),
                listen: listen.clone(),
                listen_span: None,
                target: Target::Through {
                    via: via.iter().map(|target| (target.clone(), None)).collect(),
                    to: to.clone(),
                },
                protocol: *protocol,
                idle: self.checked_idle(*idle),
                allow_any: *allow_any,
            }],
            Wish::Named {
                names,
                idle,
                allow_any,
            } => {
                let idle = self.checked_idle(*idle);
                let mut wanted: Vec<&config::Forward> = Vec::new();
                if names.is_empty() {
                    wanted.extend(&self.config.forwards);
                    if wanted.is_empty() {
                        self.note(no_forward());
                    }
                }
                for name in names {
                    match self.config.forwards.iter().find(|f| f.name.value == *name) {
                        // Naming one twice is no reason to serve it twice.
                        Some(known) if wanted.iter().any(|f| f.name == known.name) => {}
                        Some(known) => wanted.push(known),
                        None => self.note(self.unknown_forward(name)),
                    }
                }
                let wanted = wanted.into_iter();
                wanted
                    .map(|forward| Wanted::of_file(forward, idle, *allow_any))
                    .collect()
            }
        }
    }

    /// `takes_all` says that nobody else wants sockets that were passed.
    fn forward(&mut self, wanted: Wanted, takes_all: bool) -> Option<Forward> {
        let span = wanted.listen_span.clone();
        let listen = match wanted.listen {
            Listen::Loopback(port) => Some(ListenOn::Loopback(port)),
            Listen::Systemd(None) if takes_all => Some(ListenOn::Systemd(None)),
            Listen::Systemd(name) => {
                let name = name.unwrap_or_else(|| wanted.name.clone());
                Some(ListenOn::Systemd(Some(name)))
            }
            // The name stands for both addresses, whatever a resolver makes of it.
            Listen::Tcp(HostPort { host, port })
                if is_loopback(&host) && host.parse::<std::net::IpAddr>().is_err() =>
            {
                Some(ListenOn::Loopback(port))
            }
            Listen::Tcp(address) => {
                self.check_exposure(&address, wanted.allow_any, span);
                Some(ListenOn::Tcp(address))
            }
            Listen::Unix(path) => match &span {
                Some(span) => self.file_path(&path, span),
                None => self.command_line_path(&path),
            }
            .map(ListenOn::Unix),
        };
        let target = match wanted.target {
            Target::Account(name) => self.mailbox_of(&name),
            Target::Through { via, to } => self.way(&via).map(|hops| ForwardTo::Through {
                hops: hops.into(),
                to,
            }),
        }?;
        let usual = match &target {
            ForwardTo::Mailbox(_) => Protocol::Pop3,
            ForwardTo::Through { to, .. } => usual_protocol(to),
        };
        Some(Forward {
            name: wanted.name,
            listen: listen?,
            target,
            protocol: wanted.protocol.unwrap_or(usual),
            idle: Some(wanted.idle.unwrap_or(IDLE)).filter(|idle| !idle.is_zero()),
            allow_any: wanted.allow_any,
        })
    }

    fn mailbox_of(&mut self, name: &Spanned<String>) -> Option<ForwardTo> {
        let mut accounts = self.config.accounts.iter();
        let account = accounts.find(|account| account.name.value == name.value);
        let Some(account) = account else {
            let names = self.config.accounts.iter().map(|a| a.name.value.as_str());
            let help = match did_you_mean(&name.value, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`account` is the NAME of an [account.NAME]".to_owned(),
            };
            let message = format!("there is no account `{}`", one_line(&name.value));
            self.note(Diagnostic::error(message).at(name.span.clone()).help(help));
            return None;
        };
        let job = self.job(&super::Wanted::from_file(account))?;
        Some(ForwardTo::Mailbox(Arc::new(job)))
    }

    /// Other machines have no users that could be told apart.
    fn check_exposure(&mut self, address: &HostPort, allow_any: bool, span: Option<Range<usize>>) {
        if is_loopback(&address.host) {
            return;
        }
        let mut diagnostic = if allow_any {
            Diagnostic::warning(format!(
                "everybody who can reach {address} can connect to this forward"
            ))
        } else {
            let allow = match span {
                Some(_) => "allow = \"any\"",
                None => "--allow any",
            };
            Diagnostic::error(format!("{address} can be reached from other machines")).help(
                format!("listen on a port alone for this machine only, or accept it with {allow}"),
            )
        };
        diagnostic.span = span;
        self.note(diagnostic);
    }

    fn checked_idle(&mut self, idle: Option<Duration>) -> Option<Duration> {
        if let Some(Err(message)) = idle.map(|idle| Limits::TIMEOUT_OR_NEVER.check(idle)) {
            self.note(Diagnostic::error(format!("`--idle`: {message}")));
        }
        idle
    }

    fn unknown_forward(&self, name: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error(format!("there is no forward `{}`", one_line(name)));
        let names = self.config.forwards.iter().map(|f| f.name.value.as_str());
        let names: Vec<&str> = names.collect();
        match did_you_mean(name, names.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => diagnostic.help(NEW),
            None => diagnostic.help(format!("known are {}", names.join(", "))),
        }
    }
}

/// What is spoken at a port. With TLS from the start, no word of ours would be understood.
fn usual_protocol(to: &HostPort) -> Protocol {
    match to.port {
        110 => Protocol::Pop3,
        143 => Protocol::Imap,
        _ => Protocol::Other,
    }
}

fn no_forward() -> Diagnostic {
    Diagnostic::error("there is no forward to serve").help(NEW)
}

/// What can be done where no forward is configured.
const NEW: &str = "write a [forward.NAME] into the configuration, or say all of it: `posthole \
                   forward 11110 --via msingh@popserver --to localhost:110`";
/// Long enough for a mail program that looks every five minutes.
const IDLE: Duration = Duration::from_secs(600);
