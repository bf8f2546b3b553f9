//! `posthole trust`: a host key, looked at and recorded.
//!
//! It never replaces a key. A recorded key that changed is either an attack or news from the
//! host's administrator, and only a person can tell; removing the old line is their deed.

use std::path::Path;
use std::sync::Arc;

use posthole_core::ask::{Ask, HostKeyQuestion, Unanswered};
use posthole_core::error::{Class, Error};
use posthole_core::openssh::Ssh;
use posthole_core::plan::{self, ConfigFile, Hop};
use posthole_core::transport::TransportError;
use posthole_core::tunnel::known_hosts::{self, HostKey, Judgement, Standing};
use posthole_core::tunnel::sshfp::{Fingerprints, Resolver, Verdict};
use posthole_core::tunnel::{TrustCommand, TunnelError, Tunnels};

use super::Run;
use super::plan::Refusal;
use crate::args::{Fingerprint, SshfpResolver, TrustArgs};
use crate::exit::Exit;
use crate::progress::Progress;
use crate::render;
use crate::report::{Problem, Sshfp, Trusted, json, printable};

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
    // INVARIANT: the way to a host ends with the host itself.
    let hop = hops.last().expect("the host is one of the hops");
    let looking = async {
        let keys = run.look(args, &hops).await?;
        let sshfp = match args.sshfp {
            Some(resolver) => Some(ask_dns(hop, resolver).await?),
            None => None,
        };
        Ok::<_, Refusal>((keys, sshfp))
    };
    let (keys, sshfp) = tokio::select! {
        found = looking => found?,
        () = run.stop.cancelled() => return Ok(Exit::TempFail),
    };
    let seen: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let judgement = known_hosts::judge(&hop.known_hosts, &key);
            let judgement = judgement.map_err(|error| refused(error.into()))?;
            let sshfp = sshfp.as_ref();
            Ok(Seen {
                key,
                judgement,
                sshfp,
            })
        })
        .collect::<Result<_, Refusal>>()?;
    // All are judged before any is recorded.
    for one in &seen {
        one.check(args, &seen)?;
    }
    for one in &seen {
        let trusted = match &one.judgement.standing {
            Standing::Known { file, line } => one.trusted("known", file, Some(*line), None),
            Standing::Certified {
                file,
                line,
                authority,
            } => one.trusted("certified", file, Some(*line), Some(authority)),
            _ => {
                let file = hop.known_hosts.first().ok_or_else(nowhere)?;
                run.accept(args, one, file).await?;
                known_hosts::append(file, &one.key, hop.hash_known_hosts)
                    .map_err(|error| refused(error.into()))?;
                one.trusted("added", file, None, None)
            }
        };
        run.print_trusted(&trusted);
    }
    Ok(Exit::Success)
}

/// A key of the host, and all that is known of it.
struct Seen<'a> {
    key: HostKey,
    judgement: Judgement,
    sshfp: Option<&'a Fingerprints>,
}

impl Seen<'_> {
    /// Refuses what no answer could make good.
    fn check(&self, args: &TrustArgs, all: &[Self]) -> Result<(), Refusal> {
        if self.dns_says() == Some(Verdict::Differs) {
            return Err(self.contradicted().into());
        }
        // A key of a type that was not recorded yet is no news where another key is the recorded
        // one, or where it is vouched for.
        let is_another = matches!(
            self.judgement.standing,
            Standing::Changed {
                same_algorithm: false,
                ..
            }
        );
        let may_be_another = args.fingerprint.is_some()
            || self.dns_says() == Some(Verdict::Matches)
            || all
                .iter()
                .any(|one| matches!(one.judgement.standing, Standing::Known { .. }));
        match self.judgement.refusal(&self.key) {
            Some(refusal) if !(is_another && may_be_another) => Err(refused(refusal)),
            _ => Ok(()),
        }
    }

    /// The verdict of the DNS where it counts.
    fn dns_says(&self) -> Option<Verdict> {
        let sshfp = self.sshfp.filter(|sshfp| sshfp.is_authenticated())?;
        Some(sshfp.verdict(&self.key))
    }

    /// What else a person should know before they say yes.
    fn notes(&self) -> Vec<String> {
        let flaw = self.judgement.flaw.iter().map(|flaw| flaw.text.clone());
        let sshfp = self.sshfp.iter().map(|sshfp| sshfp.describe(&self.key));
        let mut notes: Vec<_> = flaw.chain(sshfp).collect();
        if let Standing::Changed { recorded, .. } = &self.judgement.standing {
            notes.push(format!(
                "{recorded} is recorded for it already and stays so"
            ));
        }
        notes
    }

    fn trusted(
        &self,
        status: &'static str,
        file: &Path,
        line: Option<usize>,
        authority: Option<&String>,
    ) -> Trusted {
        Trusted {
            host: printable(self.key.host()),
            ok: true,
            status,
            algorithm: self.key.algorithm(),
            fingerprint: self.key.fingerprint(),
            file: printable(&file.display().to_string()),
            line,
            authority: authority.cloned(),
            sshfp: self.sshfp.map(|sshfp| Sshfp {
                verdict: match sshfp.verdict(&self.key) {
                    Verdict::Differs => "mismatch",
                    Verdict::Matches => "match",
                    Verdict::Silent => "none",
                },
                authenticated: sshfp.is_authenticated(),
                text: sshfp.describe(&self.key),
            }),
            randomart: self.key.randomart(),
        }
    }

    fn contradicted(&self) -> Problem {
        let (host, algorithm) = (printable(self.key.host()), self.key.algorithm());
        let said = self
            .sshfp
            .map_or_else(String::new, |sshfp| sshfp.describe(&self.key));
        let message = format!(
            "the {algorithm} key of {host} has the fingerprint {}, but {said}",
            self.key.fingerprint()
        );
        let hint =
            "nothing was recorded. Either the DNS is out of date, or somebody is listening in; \
                    ask the host's administrator"
                .to_owned();
        Problem::say(Class::HostKey, message).hint(Some(hint))
    }
}

async fn ask_dns(hop: &Hop, resolver: SshfpResolver) -> Result<Fingerprints, Refusal> {
    let resolver = match resolver {
        SshfpResolver::At(address) => Resolver::at(address),
        SshfpResolver::System => Resolver::from_file(Path::new(RESOLV_CONF)).map_err(|error| {
            let message = format!("cannot read {RESOLV_CONF}: {error}");
            Problem::say(Class::Local, message)
                .hint(Some("name a resolver: --sshfp=ADDRESS".to_owned()))
        })?,
    };
    let host = &hop.address.host;
    resolver.sshfp(host).await.map_err(|error| {
        let message = format!("no SSHFP records of {}: {error}", printable(host));
        let hint = "leave out --sshfp to compare the fingerprint yourself".to_owned();
        Problem::say(Class::Temporary, message)
            .hint(Some(hint))
            .into()
    })
}

impl Run {
    /// The keys to judge.
    async fn look(&self, args: &TrustArgs, hops: &[Hop]) -> Result<Vec<HostKey>, Refusal> {
        let observer = Arc::new(Progress::new(Arc::clone(&self.console), !self.global.quiet));
        let tunnels = Tunnels::new(self.prompt(), observer);
        let name = args.host.to_string();
        let keys = look(args, &tunnels, &name, hops).await;
        tunnels.close().await;
        keys
    }

    /// Returns if the key is to be trusted.
    async fn accept(&self, args: &TrustArgs, seen: &Seen<'_>, file: &Path) -> Result<(), Refusal> {
        let key = &seen.key;
        if args.fingerprint.is_some() || seen.dns_says() == Some(Verdict::Matches) {
            return Ok(());
        }
        let question = HostKeyQuestion {
            host: key.host().to_owned(),
            algorithm: key.algorithm(),
            fingerprint: key.fingerprint(),
            randomart: Some(key.randomart()),
            notes: seen.notes(),
            known_hosts: file.to_owned(),
        };
        let prompt = self.prompt();
        let answer = tokio::task::spawn_blocking(move || prompt.trust_host_key(&question)).await;
        match answer.unwrap_or(Err(Unanswered::Cancelled)) {
            Ok(true) => Ok(()),
            Ok(false) => Err(declined(key).into()),
            // Whoever interrupts the question knows how to come back.
            Err(_) if self.stop.is_cancelled() => Err(stopped(key).into()),
            Err(why) => Err(unanswered(seen, self.trust_command(args, key), why).into()),
        }
    }

    /// The same command again, with the fingerprint: what it leaves out would be looked for, and
    /// recorded, elsewhere.
    fn trust_command(&self, args: &TrustArgs, key: &HostKey) -> String {
        let via: Vec<_> = args.via.iter().map(ToString::to_string).collect();
        let command = TrustCommand {
            config: self.global.config.as_deref(),
            known_hosts: &args.known_hosts,
            via: &via,
            host: &args.host.to_string(),
            fingerprint: Some(&key.fingerprint()),
        };
        command.to_string()
    }

    fn print_trusted(&self, trusted: &Trusted) {
        if self.global.quiet {
            // Nothing went wrong.
        } else if self.global.json {
            self.console.print(json(trusted));
        } else {
            self.console.print(render::trusted(trusted));
        }
    }
}

async fn look(
    args: &TrustArgs,
    tunnels: &Tunnels,
    name: &str,
    hops: &[Hop],
) -> Result<Vec<HostKey>, Refusal> {
    if args.all {
        return tunnels.scan_host_keys(name, hops).await.map_err(refused);
    }
    let key = tunnels.scan_host_key(name, hops).await.map_err(refused)?;
    let Some(fingerprint) = &args.fingerprint else {
        return Ok(vec![key]);
    };
    if fingerprint.is_of(&key) {
        return Ok(vec![key]);
    }
    // It may be that of a key of another type, which the host has as well.
    let keys = tunnels.scan_host_keys(name, hops).await.map_err(refused)?;
    match keys.iter().find(|key| fingerprint.is_of(key)) {
        Some(key) => Ok(vec![key.clone()]),
        None => Err(mismatch(&keys, fingerprint).into()),
    }
}

fn refused(error: TunnelError) -> Refusal {
    Problem::from(&Error::from(TransportError::from(error))).into()
}

fn mismatch(keys: &[HostKey], expected: &Fingerprint) -> Problem {
    let host = keys
        .first()
        .map_or_else(String::new, |key| printable(key.host()));
    let of = |key: &HostKey| format!("{} {}", key.algorithm(), key.fingerprint());
    let found: Vec<_> = keys.iter().map(of).collect();
    let message = format!(
        "no key of {host} has the fingerprint {}: it has {}",
        expected.as_str(),
        found.join(", "),
    );
    let hint =
        "nothing was recorded. If the expected fingerprint is of this very host, somebody may \
                be listening in"
            .to_owned();
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

fn unanswered(seen: &Seen<'_>, command: String, why: Unanswered) -> Problem {
    let key = &seen.key;
    let mut message = format!(
        "the host key of {} is not known: {} {}",
        printable(key.host()),
        key.algorithm(),
        key.fingerprint(),
    );
    for note in seen.notes() {
        message += &format!("; {}", printable(&note));
    }
    let hint = format!("once you have compared it: {command}");
    Problem::say(Class::HostKey, format!("{message}; {why}")).hint(Some(hint))
}

fn nowhere() -> Problem {
    Problem::say(
        Class::Config,
        "there is no known_hosts file to record the key in",
    )
    .hint(Some("name one with --known-hosts".to_owned()))
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
