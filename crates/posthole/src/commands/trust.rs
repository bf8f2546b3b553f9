//! `posthole trust`: a host key, looked at and recorded.
//!
//! It never replaces a key. A recorded key that changed is either an attack or news from the
//! host's administrator, and only a person can tell; removing the old line is their deed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use posthole_core::ask::{Ask, HostKeyQuestion, Unanswered};
use posthole_core::error::{Class, Error};
use posthole_core::openssh::Ssh;
use posthole_core::plan::{self, ConfigFile};
use posthole_core::transport::TransportError;
use posthole_core::tunnel::known_hosts::{self, HostKey, Standing};
use posthole_core::tunnel::{TunnelError, Tunnels};

use super::Run;
use super::plan::Refusal;
use crate::args::{Fingerprint, TrustArgs};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::render;
use crate::report::{Problem, Trusted, json, printable};

/// Shows the host's key and records it if a person, or the given fingerprint, says so.
pub(crate) async fn trust(run: &Run, args: &TrustArgs) -> Result<Exit, Refusal> {
    let environment = run.environment()?;
    let file = run.config_file(&environment)?;
    let written = file.as_ref().map(|f| ConfigFile {
        path: &f.path,
        config: &f.config,
    });
    let overrides = args.overrides();
    let targets: Vec<_> = args.via.iter().chain([&args.host]).cloned().collect();
    let way = plan::resolve_way(written, &targets, &overrides, &environment, &Ssh::new()).map_err(
        |diagnostics| Refusal::mistakes(file.as_ref().map(|file| file.shown()), diagnostics),
    )?;
    run.remark(file.as_ref(), &way.remarks);
    let hops = way.hops;
    let observer = Arc::new(Progress::new(Arc::clone(&run.console), !run.global.quiet));
    let tunnels = Tunnels::new(run.prompt(), observer);
    let name = args.host.to_string();
    let key = tokio::select! {
        key = tunnels.scan_host_key(&name, &hops) => key.map_err(refused)?,
        () = run.stop.cancelled() => return Ok(Exit::TempFail),
    };
    tunnels.close().await;
    // INVARIANT: the way to a host ends with the host itself.
    let hop = hops.last().expect("the host is one of the hops");
    let known = |file: &Path, line| trusted(&key, "known", file, Some(line));
    match known_hosts::judge(&hop.known_hosts, &key).map_err(|error| refused(error.into()))? {
        Standing::Known { file, line } => match &args.fingerprint {
            Some(fingerprint) if !fingerprint.is(&key.fingerprint()) => {
                Err(mismatch(&key, fingerprint).into())
            }
            _ => Ok(run.print_trusted(&known(&file, line))),
        },
        Standing::Changed {
            file,
            line,
            recorded,
        } => Err(changed(&key, &file, line, &recorded).into()),
        Standing::Revoked { file, line } => Err(revoked(&key, &file, line).into()),
        Standing::Unknown => {
            let file = hop.known_hosts.first().ok_or_else(nowhere)?;
            run.accept(args, &key, file).await?;
            known_hosts::append(file, &key).map_err(|error| refused(error.into()))?;
            Ok(run.print_trusted(&trusted(&key, "added", file, None)))
        }
    }
}

impl Run {
    /// Returns if the key is to be trusted.
    async fn accept(&self, args: &TrustArgs, key: &HostKey, file: &Path) -> Result<(), Refusal> {
        match &args.fingerprint {
            Some(fingerprint) if fingerprint.is(&key.fingerprint()) => Ok(()),
            Some(fingerprint) => Err(mismatch(key, fingerprint).into()),
            None => {
                let question = HostKeyQuestion {
                    host: key.host().to_owned(),
                    algorithm: key.algorithm(),
                    fingerprint: key.fingerprint(),
                    known_hosts: file.to_owned(),
                };
                let prompt = self.prompt();
                let answer =
                    tokio::task::spawn_blocking(move || prompt.trust_host_key(&question)).await;
                match answer.unwrap_or(Err(Unanswered::Cancelled)) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(declined(key).into()),
                    // Whoever interrupts the question knows how to come back.
                    Err(_) if self.stop.is_cancelled() => Err(stopped(key).into()),
                    Err(why) => Err(unanswered(key, self.trust_command(args, key), why).into()),
                }
            }
        }
    }

    /// The same command again, with the fingerprint: what it leaves out would be looked for, and
    /// recorded, elsewhere.
    fn trust_command(&self, args: &TrustArgs, key: &HostKey) -> String {
        let path = |path: &PathBuf| shell_word(&printable(&path.display().to_string()));
        let mut command = "posthole trust".to_owned();
        if let Some(file) = &self.global.config {
            command += &format!(" --config {}", path(file));
        }
        for file in &args.known_hosts {
            command += &format!(" --known-hosts {}", path(file));
        }
        for host in &args.via {
            command += &format!(" --via {}", shell_word(&printable(&host.to_string())));
        }
        let host = shell_word(&printable(&args.host.to_string()));
        format!("{command} {host} --fingerprint {}", key.fingerprint())
    }

    fn print_trusted(&self, trusted: &Trusted) -> Exit {
        if self.global.quiet {
            // Nothing went wrong.
        } else if self.global.json {
            self.console.print(json(trusted));
        } else {
            self.console.print(render::trusted(trusted));
        }
        Exit::Success
    }
}

fn trusted(key: &HostKey, status: &'static str, file: &Path, line: Option<usize>) -> Trusted {
    Trusted {
        host: printable(key.host()),
        ok: true,
        status,
        algorithm: key.algorithm(),
        fingerprint: key.fingerprint(),
        file: printable(&file.display().to_string()),
        line,
    }
}

fn refused(error: TunnelError) -> Refusal {
    Problem::from(&Error::from(TransportError::from(error))).into()
}

fn changed(key: &HostKey, file: &Path, line: usize, recorded: &str) -> Problem {
    let (host, file) = (
        printable(key.host()),
        printable(&file.display().to_string()),
    );
    let message = format!(
        "the host key of {host} has changed: it is {} {} now, but {file}:{line} records {recorded}",
        key.algorithm(),
        key.fingerprint(),
    );
    let hint = format!(
        "somebody may be listening in. Ask the host's administrator; only if the key was really \
         changed, remove the old one with `ssh-keygen -R '{host}' -f {}` and come back",
        shell_word(&file)
    );
    Problem::say(Class::HostKey, message).hint(Some(hint))
}

fn revoked(key: &HostKey, file: &Path, line: usize) -> Problem {
    let message = format!(
        "{}:{line} revokes the host key {} of {}",
        printable(&file.display().to_string()),
        key.fingerprint(),
        printable(key.host()),
    );
    let hint = "somebody may be listening in; ask the host's administrator".to_owned();
    Problem::say(Class::HostKey, message).hint(Some(hint))
}

fn mismatch(key: &HostKey, expected: &Fingerprint) -> Problem {
    let message = format!(
        "the {} key of {} has the fingerprint {}, not {}",
        key.algorithm(),
        printable(key.host()),
        key.fingerprint(),
        expected.as_str(),
    );
    let hint = format!(
        "nothing was recorded. A host has a key of each algorithm: is the expected fingerprint \
         that of its {} key? If it is, somebody may be listening in",
        key.algorithm()
    );
    Problem::say(Class::HostKey, message).hint(Some(hint))
}

fn declined(key: &HostKey) -> Problem {
    Problem::say(
        Class::HostKey,
        format!(
            "the host key of {} was not accepted, and nothing was recorded",
            key.host()
        ),
    )
}

fn stopped(key: &HostKey) -> Problem {
    let host = printable(key.host());
    let message =
        format!("stopped before the host key of {host} was accepted, nothing was recorded");
    Problem::say(Class::Temporary, message)
}

fn unanswered(key: &HostKey, command: String, why: Unanswered) -> Problem {
    let (algorithm, fingerprint) = (key.algorithm(), key.fingerprint());
    let message = format!(
        "the host key of {} is not known: {algorithm} {fingerprint}; {why}",
        printable(key.host()),
    );
    let hint = format!("once you have compared it: {command}");
    Problem::say(Class::HostKey, message).hint(Some(hint))
}

/// A word as a shell takes it, in quotes where it needs them.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn nowhere() -> Problem {
    Problem::say(
        Class::Config,
        "there is no known_hosts file to record the key in",
    )
    .hint(Some("name one with --known-hosts".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_or_read_it() {
        let table = [
            ("msingh@popserver:2222", "msingh@popserver:2222"),
            ("[::1]:2222", "'[::1]:2222'"),
            ("/home/m/known hosts", "'/home/m/known hosts'"),
            ("it's", r"'it'\''s'"),
            ("~/x", "'~/x'"),
        ];
        for (word, quoted) in table {
            assert_eq!(shell_word(word), quoted);
        }
    }
}
