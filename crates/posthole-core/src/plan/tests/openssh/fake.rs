//! An `ssh` that answers from a table.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::openssh::{Answer, Files, OpenSsh, OpenSshError, Query};

/// OpenSSH 9.2 with a configuration, given by the lines in which `ssh -G` differs for a host.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) hosts: BTreeMap<&'static str, &'static str>,
    pub(super) system: &'static str,
    pub(super) there: BTreeSet<PathBuf>,
    pub(super) security_keys: BTreeMap<PathBuf, bool>,
    pub(super) has_ticket: bool,
    pub(super) asked: Mutex<Vec<Query>>,
}

impl Fake {
    pub(super) fn host(mut self, host: &'static str, lines: &'static str) -> Self {
        self.hosts.insert(host, lines);
        self
    }

    pub(super) fn there(mut self, path: &str) -> Self {
        self.there.insert(path.into());
        self
    }

    pub(super) fn security_key(mut self, path: &str, is_one: bool) -> Self {
        self.security_keys.insert(path.into(), is_one);
        self
    }
}

impl OpenSsh for Fake {
    fn answer(&self, query: &Query) -> Result<Option<Arc<Answer>>, OpenSshError> {
        self.asked.lock().unwrap().push(query.clone());
        let lines = match query.files {
            Files::None => "controlpath /home/me",
            Files::System => self.system,
            Files::All => self.hosts.get(&*query.host).copied().unwrap_or_default(),
        };
        if lines == "broken" {
            return Err(OpenSshError::Forbidden {
                host: query.host.clone(),
                reason: "broken".to_owned(),
            });
        }
        let host = [
            format!("hostname {}", query.host),
            format!("user {}", query.user.as_deref().unwrap_or("me")),
            format!("port {}", query.port.unwrap_or(22)),
        ];
        let keyword = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        let mut text: Vec<String> = lines.lines().map(str::to_owned).collect();
        for layer in [&host[..], &defaults()[..]] {
            let said: BTreeSet<_> = text.iter().map(|line| keyword(line)).collect();
            let unsaid = layer.iter().filter(|line| !said.contains(&keyword(line)));
            text.extend(unsaid.cloned());
        }
        if query.is_behind {
            text.retain(|line| {
                !line.starts_with("proxyjump ") && !line.starts_with("proxycommand ")
            });
        }
        Ok(Some(Arc::new(Answer::parse(&text.join("\n")))))
    }

    fn is_there(&self, path: &Path) -> bool {
        self.there.contains(path)
    }

    fn is_security_key(&self, identity: &Path) -> Option<bool> {
        self.security_keys.get(identity).copied()
    }

    fn has_kerberos_ticket(&self, _: Option<&OsStr>) -> bool {
        self.has_ticket
    }
}

/// What OpenSSH 9.2 says about any host, with the home directory of these tests.
fn defaults() -> Vec<String> {
    let of_any_host = |line: &&str| {
        let of_this = ["host ", "hostname ", "user ", "port ", "controlpath "];
        !of_this.iter().any(|keyword| line.starts_with(keyword))
    };
    include_str!("../../../openssh/recorded/9.2-defaults.txt")
        .lines()
        .filter(of_any_host)
        .map(|line| line.replace("/home/msingh", "/home/me"))
        .collect()
}

/// Every host has a jump host with a longer name, as by `Host h*` with `ProxyJump h%n`.
#[derive(Debug)]
pub(super) struct Endless(pub(super) Fake);

impl OpenSsh for Endless {
    fn answer(&self, query: &Query) -> Result<Option<Arc<Answer>>, OpenSshError> {
        self.0.answer(&Query {
            host: if query.files == Files::All {
                "h".to_owned()
            } else {
                query.host.clone()
            },
            ..query.clone()
        })
    }

    fn is_there(&self, path: &Path) -> bool {
        self.0.is_there(path)
    }

    fn is_security_key(&self, identity: &Path) -> Option<bool> {
        self.0.is_security_key(identity)
    }

    fn has_kerberos_ticket(&self, cache: Option<&OsStr>) -> bool {
        self.0.has_kerberos_ticket(cache)
    }
}

/// A machine without an `ssh`, but with what somebody wrote for one.
#[derive(Debug)]
pub(super) struct Absent;

impl OpenSsh for Absent {
    fn answer(&self, _: &Query) -> Result<Option<Arc<Answer>>, OpenSshError> {
        Ok(None)
    }

    fn is_there(&self, path: &Path) -> bool {
        path == Path::new("/home/me/.ssh/config")
    }

    fn is_security_key(&self, _: &Path) -> Option<bool> {
        None
    }

    fn has_kerberos_ticket(&self, _: Option<&OsStr>) -> bool {
        true
    }
}
