//! Where fetchmail's files are (fetchmail(1), FILES and ENVIRONMENT).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use posthole_core::plan::Environment;

/// The usual places of fetchmail's files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Places {
    pub(super) rcfile: PathBuf,
    pub(super) idfile: PathBuf,
    pub(super) pidfile: PathBuf,
    /// None without a home directory.
    pub(super) netrc: Option<PathBuf>,
}

impl Places {
    /// By the environment; `is_dir` says whether there is such a directory.
    pub(super) fn new(
        environment: &Environment,
        superuser: bool,
        is_dir: impl Fn(&Path) -> bool,
    ) -> Self {
        let variable = |name: &str| environment.var(name).map(PathBuf::from);
        // HOME_ETC takes the place of HOME, and FETCHMAILHOME of both.
        let home = variable("HOME_ETC").or_else(|| environment.home.clone());
        let own = variable("FETCHMAILHOME").filter(|path| is_dir(path));
        let dir = own.clone().or_else(|| home.clone()).unwrap_or_default();
        let dir = environment.cwd.join(dir);
        let dot = if own.is_some() { "" } else { "." };
        Self {
            rcfile: dir.join(format!("{dot}fetchmailrc")),
            idfile: dir.join(".fetchids"),
            pidfile: if superuser {
                PathBuf::from("/run/fetchmail.pid")
            } else {
                dir.join(format!("{dot}fetchmail.pid"))
            },
            netrc: home.map(|home| environment.cwd.join(home).join(".netrc")),
        }
    }
}

/// The user who asks, as mail is addressed to.
pub(super) fn user(environment: &Environment) -> Option<&OsStr> {
    let named = environment.var("FETCHMAILUSER");
    named.or_else(|| environment.user.as_ref().map(OsStr::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
        Environment::new("/work".into(), vars)
    }

    #[test]
    fn files_are_where_fetchmail_has_them() {
        let home = ("HOME", "/home/m");
        for (vars, superuser, [rcfile, idfile, pidfile, netrc]) in [
            (
                &[home][..],
                false,
                [
                    "/home/m/.fetchmailrc",
                    "/home/m/.fetchids",
                    "/home/m/.fetchmail.pid",
                    "/home/m/.netrc",
                ],
            ),
            (
                &[home],
                true,
                [
                    "/home/m/.fetchmailrc",
                    "/home/m/.fetchids",
                    "/run/fetchmail.pid",
                    "/home/m/.netrc",
                ],
            ),
            (
                &[home, ("HOME_ETC", "/etc/m")],
                false,
                [
                    "/etc/m/.fetchmailrc",
                    "/etc/m/.fetchids",
                    "/etc/m/.fetchmail.pid",
                    "/etc/m/.netrc",
                ],
            ),
            (
                &[home, ("FETCHMAILHOME", "/srv/f")],
                false,
                [
                    "/srv/f/fetchmailrc",
                    "/srv/f/.fetchids",
                    "/srv/f/fetchmail.pid",
                    "/home/m/.netrc",
                ],
            ),
            (
                &[home, ("FETCHMAILHOME", "/missing")],
                false,
                [
                    "/home/m/.fetchmailrc",
                    "/home/m/.fetchids",
                    "/home/m/.fetchmail.pid",
                    "/home/m/.netrc",
                ],
            ),
        ] {
            let is_dir = |path: &Path| path != Path::new("/missing");
            let places = Places::new(&environment(vars), superuser, is_dir);
            assert_eq!(places.rcfile, Path::new(rcfile), "{vars:?}");
            assert_eq!(places.idfile, Path::new(idfile), "{vars:?}");
            assert_eq!(places.pidfile, Path::new(pidfile), "{vars:?}");
            assert_eq!(places.netrc.as_deref(), Some(Path::new(netrc)), "{vars:?}");
        }
    }
}
