//! From what was written to what will be done.

mod backend;
mod daemon;
mod deliver;
mod edits;
mod forward;
mod hop;
mod password;
mod said;
mod tls;
mod tokens;
mod way;

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use posthole_proto::sasl::Mechanism;

use super::auth::Auth;
use super::mailbox;
use super::tls::TlsStart;
use super::{
    Environment, Forward, HostPort, Job, Keep, MAX_SIZE, Overrides, Plan, Remarks, Route, Way,
};
use crate::config::{
    AccountArg, Config, Diagnostic, Limits, Options, ServerUrl, Spanned, SshTarget, did_you_mean,
    one_line,
};
use crate::openssh::OpenSsh;

pub(super) use deliver::{MDA_TIMEOUT, SMTP_PORT, for_commands, local_part};
pub use forward::resolve_forwards;
use password::Login;
pub(super) use tls::usual_port;
use way::Listed;

/// A configuration file that was read without errors.
#[derive(Clone, Copy, Debug)]
pub struct ConfigFile<'a> {
    /// Where it is; its relative paths start in its directory.
    pub path: &'a Path,
    /// What it says.
    pub config: &'a Config,
}

/// Works out what will be done.
///
/// What the command line says wins over an account's own section, which wins over `[defaults]`.
///
/// # Errors
/// All problems at once. Their spans are places in the configuration file; a problem without one
/// is about the command line or the environment.
pub fn resolve(
    file: Option<ConfigFile<'_>>,
    overrides: &Overrides,
    environment: &Environment,
    openssh: &dyn OpenSsh,
) -> Result<Plan, Vec<Diagnostic>> {
    let empty = Config::default();
    let mut resolver = Resolver::new(file, &empty, overrides, environment, openssh);
    let wanted = resolver.select();
    resolver.plan(&wanted, Vec::new())
}

/// Works out what a daemon does: all accounts and all forwards of the file, of which there must be
/// one.
///
/// # Errors
/// All problems at once, as with [`resolve`].
pub fn resolve_all(
    file: Option<ConfigFile<'_>>,
    overrides: &Overrides,
    environment: &Environment,
    openssh: &dyn OpenSsh,
) -> Result<Plan, Vec<Diagnostic>> {
    let empty = Config::default();
    let mut resolver = Resolver::new(file, &empty, overrides, environment, openssh);
    let Config {
        accounts, forwards, ..
    } = resolver.config;
    let wanted = if accounts.is_empty() && !forwards.is_empty() {
        Vec::new()
    } else {
        resolver.select()
    };
    let forwards = resolver.all_forwards();
    resolver.plan(&wanted, forwards)
}

/// Works out how an SSH host is reached, as [`resolve`] does for a `via`.
///
/// # Errors
/// All problems at once, as with [`resolve`].
pub fn resolve_way(
    file: Option<ConfigFile<'_>>,
    targets: &[SshTarget],
    overrides: &Overrides,
    environment: &Environment,
    openssh: &dyn OpenSsh,
) -> Result<Way, Vec<Diagnostic>> {
    let empty = Config::default();
    let mut resolver = Resolver::new(file, &empty, overrides, environment, openssh);
    let listed: Vec<_> = targets
        .iter()
        .map(|target| (target.clone(), None))
        .collect();
    let hops = resolver.way(&listed);
    let remarks = resolver.remarks()?;
    Ok(Way {
        // INVARIANT: what is missing was noted as an error.
        hops: hops.unwrap_or_default(),
        remarks,
    })
}

/// An account to be worked on, of the file or of the command line.
struct Wanted<'a> {
    name: String,
    /// Where the name stands in the file.
    span: Option<Range<usize>>,
    server: &'a ServerUrl,
    server_span: Option<Range<usize>>,
    /// None for an account of the command line.
    options: Option<&'a Options>,
}

pub(super) struct Resolver<'a> {
    pub(super) config: &'a Config,
    path: Option<&'a Path>,
    pub(super) overrides: &'a Overrides,
    pub(super) environment: &'a Environment,
    openssh: &'a dyn OpenSsh,
    /// The SSH hosts that are gone through.
    hosts: Vec<String>,
    diagnostics: Vec<Diagnostic>,
    notices: Vec<String>,
}

impl<'a> Resolver<'a> {
    /// Starts with what is wrong on the command line. `empty` stands in for a missing file.
    fn new(
        file: Option<ConfigFile<'a>>,
        empty: &'a Config,
        overrides: &'a Overrides,
        environment: &'a Environment,
        openssh: &'a dyn OpenSsh,
    ) -> Self {
        let mut resolver = Self {
            config: file.map_or(empty, |file| file.config),
            path: file.map(|file| file.path),
            overrides,
            environment,
            openssh,
            hosts: Vec::new(),
            diagnostics: Vec::new(),
            notices: Vec::new(),
        };
        resolver.check_overrides();
        resolver
    }

    /// The end of it, when it is known what is wanted.
    fn plan(
        mut self,
        wanted: &[Wanted<'a>],
        forwards: Vec<Arc<Forward>>,
    ) -> Result<Plan, Vec<Diagnostic>> {
        let state_dir = self.environment.state_dir().unwrap_or_else(|| {
            self.note(
                Diagnostic::error(
                    "there is no directory for the records: no home directory is known",
                )
                .help("set HOME, or XDG_STATE_HOME to an absolute path"),
            );
            PathBuf::new()
        });
        let jobs: Vec<_> = wanted
            .iter()
            .filter_map(|wanted| Some((wanted, self.job(wanted)?)))
            .collect();
        self.check_mailboxes(&jobs);
        self.check_ssh_names();
        let daemon = self.daemon();
        let remarks = self.remarks()?;
        let jobs = jobs.into_iter().map(|(_, job)| Arc::new(job)).collect();
        Ok(Plan {
            jobs,
            forwards,
            state_dir,
            daemon,
            remarks,
        })
    }
}

impl<'a> Resolver<'a> {
    pub(super) fn note(&mut self, diagnostic: Diagnostic) {
        // Several accounts may have the same problem with the same line of [defaults].
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    fn notice(&mut self, notice: String) {
        if !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    /// What was noted, unless that is an error.
    fn remarks(self) -> Result<Remarks, Vec<Diagnostic>> {
        if self.diagnostics.iter().any(Diagnostic::is_error) {
            return Err(self.diagnostics);
        }
        Ok(Remarks {
            warnings: self.diagnostics,
            notices: self.notices,
        })
    }

    /// The durations of the file were checked when it was read.
    fn check_overrides(&mut self) {
        let ssh = &self.overrides.ssh;
        for (flag, duration, limits) in [
            ("--timeout", self.overrides.timeout, Limits::TIMEOUT),
            ("--connect-timeout", ssh.connect_timeout, Limits::TIMEOUT),
            ("--keepalive", ssh.keepalive, Limits::TIMEOUT_OR_NEVER),
        ] {
            if let Some(Err(message)) = duration.map(|duration| limits.check(duration)) {
                self.note(Diagnostic::error(format!("`{flag}`: {message}")));
            }
        }
    }

    fn select(&mut self) -> Vec<Wanted<'a>> {
        let Overrides { accounts, .. } = self.overrides;
        if accounts.is_empty() {
            if self.config.accounts.is_empty() {
                self.note(self.nothing_to_do());
            }
            return self.config.accounts.iter().map(Wanted::from_file).collect();
        }
        let mut wanted: Vec<Wanted<'a>> = Vec::new();
        for argument in accounts {
            match argument {
                AccountArg::Url(url) => wanted.push(Wanted::from_command_line(url)),
                AccountArg::Name(name) => {
                    let mut known = self.config.accounts.iter();
                    match known.find(|account| account.name.value == *name) {
                        // Naming an account twice is no reason to poll it twice.
                        Some(account) if wanted.iter().any(|earlier| earlier.is(account)) => {}
                        Some(account) => wanted.push(Wanted::from_file(account)),
                        None => self.note(self.unknown_account(name)),
                    }
                }
            }
        }
        wanted
    }

    fn nothing_to_do(&self) -> Diagnostic {
        let help = "give an account as a URL, such as `pop3://msingh@localhost --via \
                    msingh@popserver --to maildir:~/Mail`, or write an [account.NAME] into";
        match self
            .path
            .map(Path::to_owned)
            .or_else(|| self.environment.config_file())
        {
            Some(path) => Diagnostic::error("there is no account to work on")
                .help(format!("{help} {}", path.display())),
            None => Diagnostic::error("there is no account to work on")
                .help(format!("{help} a file and name it with --config")),
        }
    }

    fn unknown_account(&self, name: &str) -> Diagnostic {
        let diagnostic = Diagnostic::error(format!("there is no account `{}`", one_line(name)));
        let names: Vec<&str> = self
            .config
            .accounts
            .iter()
            .map(|account| account.name.value.as_str())
            .collect();
        match did_you_mean(name, names.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None if names.is_empty() => diagnostic
                .help("no account is configured; a URL has a `://`, such as pop3://user@host"),
            None => diagnostic.help(format!("known are {}", names.join(", "))),
        }
    }

    fn job(&mut self, wanted: &Wanted<'_>) -> Option<Job> {
        let user = self.mail_user(wanted);
        let server = HostPort {
            host: wanted.server.host.clone(),
            port: wanted
                .server
                .port
                .unwrap_or_else(|| usual_port(wanted.server.is_tls)),
        };
        let targets = self.via(wanted);
        let hops = self.way(&targets);
        let allow_plaintext = self.overrides.allow_plaintext.unwrap_or_else(|| {
            wanted
                .options
                .and_then(|options| options.allow_plaintext.as_ref())
                .is_some_and(|allow| allow.value)
        });
        let auth = self.overrides.auth;
        let auth = auth.or_else(|| self.option(wanted, |options| options.auth.as_ref()));
        let auth = auth.unwrap_or_default();
        if auth == Auth::Sasl(Mechanism::Gssapi) && !cfg!(feature = "gssapi") {
            self.note(
                wanted.at_name(
                    Diagnostic::error(format!(
                        "`{}` logs in by Kerberos, which this posthole was built without",
                        wanted.name
                    ))
                    .help("build it with the feature `gssapi`, or use a package that has it"),
                ),
            );
        }
        let tls = match &hops {
            Some(hops) => self.tls(wanted, &server, hops, allow_plaintext),
            None => None,
        };
        let is_without_tls = tls.as_ref().is_some_and(|tls| tls.start == TlsStart::Never);
        // The mail is not protected then either, but `tls = "never"` says so.
        let may_be_overheard = allow_plaintext || !auth.may_reveal_secret();
        if is_without_tls && targets.is_empty() && !may_be_overheard && !is_loopback(&server.host) {
            self.note(
                wanted.at_server(
                    Diagnostic::error(format!(
                        "the password of `{}` would cross the network to {} in the clear",
                        wanted.name, server.host
                    ))
                    .help(format!(
                        "allow TLS with {}, go through SSH with `via`, or accept the risk with {}",
                        if wanted.options.is_some() {
                            "tls = \"required\""
                        } else {
                            "--tls required"
                        },
                        if wanted.options.is_some() {
                            "allow-plaintext = true"
                        } else {
                            "--allow-plaintext"
                        },
                    )),
                ),
            );
        }
        let deliver = self.deliver(wanted);
        let login = Login::of_mail(
            user.as_deref(),
            &server.host,
            targets.last().map(|(host, _)| host),
        );
        let password = self.mail_password(wanted, &login);
        let overrides = self.overrides;
        let keep = overrides
            .keep
            .or_else(|| self.option(wanted, |options| options.keep.as_ref()));
        let select = self.which(wanted);
        let filter = self.filter(wanted);
        let timeout = overrides
            .timeout
            .or_else(|| self.option(wanted, |options| options.timeout.as_ref()));

        let max_size = overrides
            .max_size
            .or_else(|| self.option(wanted, |options| options.max_size.as_ref()));

        let (user, tls, deliver) = (user?, tls?, deliver?);
        let edits = self.edits(wanted, &user, &tls.name, &deliver);
        let multidrop = self.multidrop(wanted, &server, &tls.name, &deliver);
        let route = match hops? {
            hops if hops.is_empty() => Route::Direct,
            hops => Route::Ssh(hops.into()),
        };
        Some(Job {
            account: wanted.name.clone(),
            mailbox: mailbox::key(
                &user,
                &server,
                usual_port(wanted.server.is_tls),
                targets.last().map(|(target, _)| target),
            ),
            user,
            server,
            route,
            auth,
            password: password?,
            keep: keep.unwrap_or(Keep::Always),
            select,
            every: self
                .option(wanted, |options| options.every.as_ref())
                .unwrap_or(EVERY),
            filter,
            edits: edits?,
            multidrop: multidrop?,
            timeout: timeout.unwrap_or(TIMEOUT),
            max_size: max_size.unwrap_or(MAX_SIZE),
            deliver,
            allow_plaintext,
            tls,
        })
    }

    /// An option of the account or, failing that, of `[defaults]`.
    fn option<T: Copy>(
        &self,
        wanted: &Wanted<'_>,
        field: impl Fn(&Options) -> Option<&Spanned<T>>,
    ) -> Option<T> {
        let own = wanted.options.and_then(&field);
        own.or_else(|| field(&self.config.defaults))
            .map(|option| option.value)
    }

    /// As ssh(1) and fetchmail(1) do, an unnamed user is the local one.
    fn mail_user(&mut self, wanted: &Wanted<'_>) -> Option<String> {
        let user = wanted
            .server
            .user
            .clone()
            .or_else(|| self.environment.user.clone());
        if user.is_none() {
            self.note(
                wanted.at_server(
                    Diagnostic::error(format!(
                        "`{}` names no user, and the local user's name is not known",
                        wanted.name
                    ))
                    .help("write the user into the URL: pop3://user@host"),
                ),
            );
        }
        user
    }

    fn via(&self, wanted: &Wanted<'_>) -> Vec<Listed> {
        if let Some(targets) = &self.overrides.via {
            return targets
                .iter()
                .map(|target| (target.clone(), None))
                .collect();
        }
        let own = wanted.options.and_then(|options| options.via.as_ref());
        let Some(via) = own.or(self.config.defaults.via.as_ref()) else {
            return Vec::new();
        };
        via.value
            .iter()
            .map(|target| (target.clone(), Some(via.span.clone())))
            .collect()
    }

    /// A path of the file, which is relative to the file's directory.
    pub(super) fn file_path(&mut self, path: &Path, span: &Range<usize>) -> Option<PathBuf> {
        let base = self
            .path
            .and_then(Path::parent)
            .unwrap_or_else(|| Path::new(""));
        // A file that is itself named relative to the working directory.
        let base = self.environment.cwd.join(base);
        self.expand(path, &base, Some(span))
    }

    /// A path of the command line, which is relative to the working directory.
    pub(super) fn command_line_path(&mut self, path: &Path) -> Option<PathBuf> {
        self.expand(path, &self.environment.cwd, None)
    }

    fn expand(&mut self, path: &Path, base: &Path, span: Option<&Range<usize>>) -> Option<PathBuf> {
        let Ok(below_home) = path.strip_prefix("~") else {
            return Some(base.join(path));
        };
        let Some(home) = &self.environment.home else {
            let mut diagnostic =
                Diagnostic::error("`~` stands for the home directory, which is not known")
                    .help("set HOME, or write the path out");
            diagnostic.span = span.cloned();
            self.note(diagnostic);
            return None;
        };
        // Joining nothing would leave a slash at the end.
        Some(if below_home.as_os_str().is_empty() {
            home.clone()
        } else {
            home.join(below_home)
        })
    }

    /// Says so when a section is for a host that is not gone through but has nearly the name of one
    /// that is.
    ///
    /// One that is not used at all may be there for the command line, or for another account.
    fn check_ssh_names(&mut self) {
        let Overrides { accounts, via, .. } = self.overrides;
        if !accounts.is_empty() || via.is_some() {
            return;
        }
        let forwards = self.config.forwards.iter().flat_map(|f| f.via());
        let mut used = std::mem::take(&mut self.hosts);
        used.extend(forwards.map(|target| target.host.clone()));
        for ssh in &self.config.ssh {
            let name = &ssh.name.value;
            if !used.iter().any(|host| host.eq_ignore_ascii_case(name))
                && let Some(near) = did_you_mean(name, &used)
            {
                self.note(
                    Diagnostic::warning(format!("nothing goes through `{name}`"))
                        .at(ssh.name.span.clone())
                        .label(format!("did you mean `{near}`?")),
                );
            }
        }
    }

    /// Two accounts of one mailbox would each take the other's mail for its own.
    fn check_mailboxes(&mut self, jobs: &[(&Wanted<'_>, Job)]) {
        let mut owners: HashMap<&str, &str> = HashMap::new();
        for (wanted, job) in jobs {
            if let Some(owner) = owners.insert(&job.mailbox, &job.account) {
                self.note(
                    wanted.at_name(
                        Diagnostic::error(format!(
                            "`{owner}` and `{}` are the same mailbox ({})",
                            job.account, job.mailbox
                        ))
                        .help("take one of them out; mail is fetched once from each mailbox"),
                    ),
                );
            }
        }
    }
}

impl<'a> Wanted<'a> {
    fn from_file(account: &'a crate::config::Account) -> Self {
        Self {
            name: account.name.value.clone(),
            span: Some(account.name.span.clone()),
            server: &account.server.value,
            server_span: Some(account.server.span.clone()),
            options: Some(&account.options),
        }
    }

    /// It is called by what stands in the URL, without the scheme.
    fn from_command_line(server: &'a ServerUrl) -> Self {
        let url = server.to_string();
        let name = url
            .split_once("://")
            .map_or(url.as_str(), |(_, name)| name)
            .to_owned();
        Self {
            name,
            span: None,
            server,
            server_span: None,
            options: None,
        }
    }

    fn is(&self, account: &crate::config::Account) -> bool {
        self.span.as_ref() == Some(&account.name.span)
    }

    fn at_name(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.span.clone_from(&self.span);
        diagnostic
    }

    fn at_server(&self, mut diagnostic: Diagnostic) -> Diagnostic {
        diagnostic.span.clone_from(&self.server_span);
        diagnostic
    }
}

/// Whether a connection to `host` never leaves this machine (RFC 6761 §6.3 for the names).
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// RFC 1939 §3.
pub(super) const POP3_PORT: u16 = 110;
pub(in crate::plan) const EVERY: Duration = Duration::from_secs(5 * 60);
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::TIMEOUT;
    pub(crate) use super::deliver::{MDA_TIMEOUT, SMTP_TIMEOUT};
    pub(crate) use super::edits::FILTER_TIMEOUT;
    pub(crate) use super::way::MAX_JUMPS;
}
