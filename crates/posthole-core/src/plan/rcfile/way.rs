//! The way to the server: `via`, `preconnect` and `plugin`.
//!
//! A `preconnect` that only forwards the port which is polled, and a `plugin` that only connects,
//! are carried out by ourselves. What the `ssh` command says goes to `ssh -G`, so that all of its
//! options mean what they mean there.

use std::cell::Cell;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BString, ByteSlice};

use super::{Mapping, Refused, TunnelFor};
use crate::config::{Diagnostic, SshTarget};
use crate::fetchmailrc::ssh_command::{NotUnderstood, Plugin, SshCommand, Tunnel};
use crate::openssh::{Answer, Files, OpenSsh, OpenSshError, Query};
use crate::plan::{Backend, Hop, HostPort, Overrides, Route, SshOverrides, resolve_way};

/// How the server is reached, and where it is from there.
pub(super) struct Way {
    pub(super) route: Route,
    pub(super) server: HostPort,
    /// The server by which the mailbox is remembered: the same whichever way leads there, or all
    /// its mail would be new.
    pub(super) known_as: HostPort,
    /// The SSH host by which it is remembered.
    pub(super) via: Option<SshTarget>,
    pub(super) tunnel_for: Option<TunnelFor>,
    /// What the `ssh` command says besides.
    pub(super) ssh_settings: Vec<(String, String)>,
    /// The command that is to be run as it is written.
    pub(super) preconnect: Option<BString>,
}

impl Mapping<'_> {
    pub(super) fn way(&mut self, server: HostPort) -> Result<Way, Refused> {
        let preconnect = self.user.preconnect.clone();
        match &self.entry.plugin {
            Some(plugin) => {
                let plugin = plugin.clone();
                let mut way = self.plugin(&plugin, server)?;
                way.preconnect = preconnect;
                Ok(way)
            }
            None => match &preconnect {
                Some(command) => self.preconnect(command, server),
                None => Ok(Way::direct(server)),
            },
        }
    }

    fn preconnect(&mut self, command: &BString, server: HostPort) -> Result<Way, Refused> {
        let understood = Tunnel::of(self.entry, command, &|name| self.variable(name));
        let Tunnel {
            command: ssh,
            target,
        } = match understood {
            Ok(tunnel) => tunnel,
            Err(why) => {
                if looks_like_ssh(command) {
                    self.as_written("preconnect", &why);
                }
                return Ok(Way {
                    preconnect: Some(command.clone()),
                    ..Way::direct(server)
                });
            }
        };
        if self.wishes.native_tunnels {
            match self.hops(&ssh)? {
                Ok(hops) => {
                    self.notice(format!(
                        "{}: `preconnect` becomes a tunnel of our own through {} to {target}",
                        self.account(),
                        target_of(&ssh),
                    ));
                    return Ok(Way::tunnel(hops, &ssh, target, TunnelFor::Preconnect));
                }
                Err(why) => self.as_written("preconnect", &why),
            }
        }
        Ok(Way {
            preconnect: Some(command.clone()),
            known_as: target,
            via: Some(target_of(&ssh)),
            ..Way::direct(server)
        })
    }

    fn plugin(&mut self, plugin: &BString, server: HostPort) -> Result<Way, Refused> {
        let as_written = Way {
            route: Route::Plugin(plugin_words(plugin, &server)),
            ..Way::direct(server)
        };
        let understood = match Plugin::of(self.entry, plugin) {
            Ok(understood) => understood,
            Err(why) => {
                self.as_written("plugin", &why);
                return Ok(as_written);
            }
        };
        match understood {
            Plugin::Tcp(target) if self.wishes.native_tunnels => {
                self.notice(format!(
                    "{}: `plugin` becomes a connection of our own to {target}",
                    self.account()
                ));
                Ok(Way::direct(target))
            }
            Plugin::Tcp(target) => Ok(Way {
                known_as: target,
                ..as_written
            }),
            Plugin::Ssh { command, target } => {
                if self.wishes.native_tunnels {
                    match self.hops(&command)? {
                        Ok(hops) => {
                            self.notice(format!(
                                "{}: `plugin` becomes a tunnel of our own through {} to {target}",
                                self.account(),
                                target_of(&command),
                            ));
                            return Ok(Way::tunnel(hops, &command, target, TunnelFor::Plugin));
                        }
                        Err(why) => self.as_written("plugin", &why),
                    }
                }
                Ok(Way {
                    known_as: target,
                    via: Some(target_of(&command)),
                    ..as_written
                })
            }
        }
    }

    /// The SSH hosts on the way; the inner error is for what only `ssh` itself can do.
    fn hops(&mut self, command: &SshCommand) -> Result<Result<Arc<[Hop]>, NotUnderstood>, Refused> {
        let commanded = Commanded {
            openssh: self.openssh,
            command,
            is_missing: Cell::new(false),
        };
        let resolve = |overrides: &Overrides| {
            let targets = [target_of(command)];
            resolve_way(None, &targets, overrides, self.environment, &commanded)
        };
        let mut way = resolve(&Overrides::default());
        if commanded.is_missing.get() {
            match without_openssh(command) {
                Ok(overrides) => way = resolve(&overrides),
                Err(diagnostic) => return Err(diagnostic.into()),
            }
        }
        let way = way.map_err(|mut diagnostics| {
            let mut first = diagnostics.swap_remove(0);
            first.message = format!("{}: {}", self.account(), first.message);
            first
        })?;
        for warning in way.remarks.warnings {
            self.warn(warning);
        }
        for notice in way.remarks.notices {
            self.notice(notice);
        }
        let has_options = command.config_file.is_some() || !command.settings.is_empty();
        let by_ssh = way.hops.iter().find_map(|hop| match &hop.backend {
            Backend::OpenSsh { needed_for } => Some(needed_for.clone()),
            Backend::BuiltIn => None,
        });
        if let Some(needed_for) = by_ssh.filter(|_| has_options) {
            let what = needed_for.unwrap_or_else(|| "what it asks for".to_owned());
            return Ok(Err(format!("{what} is for ssh itself to do").into()));
        }
        Ok(Ok(way.hops.into()))
    }

    fn as_written(&mut self, what: &str, why: &NotUnderstood) {
        self.notice(format!(
            "{}: `{what}` is run as it is written: {why}",
            self.account()
        ));
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = self.environment.vars.get(OsStr::new(name))?;
        value.to_str().map(str::to_owned)
    }
}

impl Way {
    fn direct(server: HostPort) -> Self {
        Self {
            route: Route::Direct,
            known_as: server.clone(),
            server,
            via: None,
            tunnel_for: None,
            ssh_settings: Vec::new(),
            preconnect: None,
        }
    }

    fn tunnel(
        hops: Arc<[Hop]>,
        command: &SshCommand,
        target: HostPort,
        tunnel_for: TunnelFor,
    ) -> Self {
        Self {
            route: Route::Ssh(hops),
            known_as: target.clone(),
            server: target,
            via: Some(target_of(command)),
            tunnel_for: Some(tunnel_for),
            ssh_settings: settings_of(command),
            preconnect: None,
        }
    }
}

/// `ssh -G` with what a command says.
struct Commanded<'a> {
    openssh: &'a dyn OpenSsh,
    command: &'a SshCommand,
    /// There is no OpenSSH.
    is_missing: Cell<bool>,
}

impl OpenSsh for Commanded<'_> {
    fn answer(&self, query: &Query) -> Result<Option<Arc<Answer>>, OpenSshError> {
        let is_about_it = query.host == self.command.host && query.files == Files::All;
        if !is_about_it || query.is_behind {
            return self.openssh.answer(query);
        }
        let mut arguments = Vec::new();
        if let Some(file) = &self.command.config_file {
            arguments.extend(["-F".to_owned(), file.clone()]);
        }
        for setting in &self.command.settings {
            arguments.push("-o".to_owned());
            arguments.push(format!("{}={}", setting.keyword, setting.value));
        }
        let answer = self.openssh.answer(&Query {
            arguments,
            ..query.clone()
        })?;
        self.is_missing.set(answer.is_none());
        Ok(answer)
    }

    fn is_there(&self, path: &Path) -> bool {
        self.openssh.is_there(path)
    }

    fn is_security_key(&self, identity: &Path) -> Option<bool> {
        self.openssh.is_security_key(identity)
    }

    fn has_kerberos_ticket(&self, cache: Option<&OsStr>) -> bool {
        self.openssh.has_kerberos_ticket(cache)
    }
}

/// The options of a command on a machine where there is no `ssh` to explain them.
fn without_openssh(command: &SshCommand) -> Result<Overrides, Diagnostic> {
    let mut ssh = SshOverrides::default();
    for setting in &command.settings {
        if setting.keyword.eq_ignore_ascii_case("IdentityFile") {
            let file = PathBuf::from(&setting.value);
            ssh.identity.get_or_insert_default().push(file);
        } else if setting.keyword.eq_ignore_ascii_case("Compression") {
            ssh.compression = Some(setting.value.eq_ignore_ascii_case("yes"));
        } else {
            return Err(Diagnostic::error(format!(
                "the ssh option {} is not understood without OpenSSH",
                setting.keyword
            ))
            .help("install OpenSSH's client"));
        }
    }
    Ok(Overrides {
        ssh,
        ..Overrides::default()
    })
}

fn settings_of(command: &SshCommand) -> Vec<(String, String)> {
    let settings = command.settings.iter();
    settings
        .map(|setting| (setting.keyword.clone(), setting.value.clone()))
        .collect()
}

fn target_of(command: &SshCommand) -> SshTarget {
    SshTarget {
        user: command.user.clone(),
        host: command.host.clone(),
        port: command.port,
    }
}

/// fetchmail splits a plugin at blanks, without a shell.
pub(super) fn plugin_words(plugin: &BString, server: &HostPort) -> Vec<BString> {
    let port = server.port.to_string();
    let words = plugin.split_str(b" ").filter(|word| !word.is_empty());
    let substitute = |word: &[u8]| word.replace("%h", &server.host).replace("%p", &port).into();
    words.map(substitute).collect()
}

/// Whether somebody may wonder why a command is not replaced.
fn looks_like_ssh(command: &[u8]) -> bool {
    let mut words = command.split(u8::is_ascii_whitespace);
    words.any(|word| word == b"ssh" || word.ends_with(b"/ssh"))
}
