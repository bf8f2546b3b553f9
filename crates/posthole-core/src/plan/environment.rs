//! The environment of the process, captured once so that the plan depends on nothing else.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

/// What the plan may know about the machine and the person.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Environment {
    /// The working directory, absolute; relative paths of the command line start here.
    pub cwd: PathBuf,
    /// The home directory, if it is known.
    pub home: Option<PathBuf>,
    /// The local user's name, if it is known.
    pub user: Option<String>,
    /// The environment variables.
    pub vars: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Takes the home directory from `HOME` and the user from `LOGNAME` or `USER`.
    ///
    /// A caller with better sources, such as the password database, sets the fields itself.
    #[must_use]
    pub fn new(cwd: PathBuf, vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut environment = Self {
            cwd,
            vars: vars.into_iter().collect(),
            ..Self::default()
        };
        environment.home = environment.directory("HOME");
        environment.user = ["LOGNAME", "USER"]
            .into_iter()
            .find_map(|name| environment.var(name)?.to_str().map(str::to_owned));
        environment
    }

    /// A variable that is set and not empty.
    #[must_use]
    pub fn var(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.vars
            .get(name.as_ref())
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }

    /// The configuration file when none is named: `$XDG_CONFIG_HOME/posthole/config.toml`, with
    /// `~/.config` for an unset variable (XDG Base Directory Specification).
    #[must_use]
    pub fn config_file(&self) -> Option<PathBuf> {
        Some(
            self.base_directory("XDG_CONFIG_HOME", ".config")?
                .join("posthole/config.toml"),
        )
    }

    /// Where the records live: `$XDG_STATE_HOME/posthole`, with `~/.local/state` for an unset
    /// variable (XDG Base Directory Specification).
    #[must_use]
    pub fn state_dir(&self) -> Option<PathBuf> {
        Some(
            self.base_directory("XDG_STATE_HOME", ".local/state")?
                .join("posthole"),
        )
    }

    /// The agent's socket: `$SSH_AUTH_SOCK` (ssh-agent(1)).
    #[must_use]
    pub fn agent(&self) -> Option<PathBuf> {
        self.var("SSH_AUTH_SOCK").map(PathBuf::from)
    }

    /// The address of the session's D-Bus: `$DBUS_SESSION_BUS_ADDRESS`, or the usual socket in
    /// `$XDG_RUNTIME_DIR` (D-Bus specification, "Well-known Message Bus Instances").
    #[must_use]
    pub fn session_bus(&self) -> Option<String> {
        if let Some(address) = self.var("DBUS_SESSION_BUS_ADDRESS") {
            return address.to_str().map(str::to_owned);
        }
        let socket = self.directory("XDG_RUNTIME_DIR")?.join("bus");
        let mut address = "unix:path=".to_owned();
        for octet in socket.into_os_string().into_encoded_bytes() {
            // What need not be escaped, by the specification.
            if octet.is_ascii_alphanumeric() || b"-_/.\\*".contains(&octet) {
                address.push(char::from(octet));
            } else {
                address += &format!("%{octet:02x}");
            }
        }
        Some(address)
    }

    /// Where systemd puts the credentials of a service: `$CREDENTIALS_DIRECTORY` (systemd.exec(5)).
    #[must_use]
    pub fn credentials(&self) -> Option<PathBuf> {
        self.directory("CREDENTIALS_DIRECTORY")
    }

    fn base_directory(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        self.directory(variable)
            .or_else(|| Some(self.home.as_ref()?.join(below_home)))
    }

    /// The specification has relative paths ignored; a relative `HOME` is as useless.
    fn directory(&self, variable: &str) -> Option<PathBuf> {
        self.var(variable)
            .map(Path::new)
            .filter(|path| path.is_absolute())
            .map(PathBuf::from)
    }
}

/// Names the variables but not their values, which may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cwd,
            home,
            user,
            vars,
        } = self;
        f.debug_struct("Environment")
            .field("cwd", cwd)
            .field("home", home)
            .field("user", user)
            .field("vars", &vars.keys())
            .finish()
    }
}
