//! The decision about a host key in the middle of a key exchange.
//!
//! A key that is recorded or certified passes, a changed or revoked one never does. About an
//! unknown one the plan decides: a person is asked while the key exchange waits, or it is recorded
//! unseen, which somebody must have asked for outright.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::{Certificate, PublicKey};

use crate::ask::{HostKeyQuestion, Unanswered};
use crate::plan::{Hop, HostPort, UnknownHostKey};

use super::answers::{Answers, Turn};
use super::client::Fault;
use super::error::TunnelError;
use super::known_hosts::{self, HostKey, Judgement, KnownHostsError, Names, Recorded, Standing};
use super::offer::Offer;
use super::patience::Patience;
use super::trust_command::TrustCommand;

/// Decides about the host keys of one host.
pub(super) struct Gatekeeper {
    hop: Hop,
    /// The hosts on the way to it, as `posthole trust` takes them.
    via: Vec<String>,
    purpose: Purpose,
    admitted: Mutex<Option<Admitted>>,
}

/// What the key exchange is for.
enum Purpose {
    /// A session.
    Session {
        answers: Arc<Answers>,
        patience: Arc<Patience>,
    },
    /// The host key, and nothing after it.
    Scan,
}

/// A host key that passed.
#[derive(Clone, Debug)]
pub(super) struct Admitted {
    pub(super) key: HostKey,
    /// Where it, or the authority, was recorded before.
    pub(super) recorded: Option<(PathBuf, usize)>,
    /// The authority that certified it.
    pub(super) authority: Option<String>,
    /// What a person should know.
    pub(super) notices: Vec<String>,
}

impl Gatekeeper {
    /// One that admits what may be trusted.
    pub(super) fn new(
        hop: &Hop,
        before: &[Hop],
        answers: Arc<Answers>,
        patience: Arc<Patience>,
    ) -> Self {
        let mut gatekeeper = Self::with_purpose(hop, Purpose::Session { answers, patience });
        let via = |hop: &Hop| format!("{}@{}", hop.user, target(&hop.name, hop.address.port));
        gatekeeper.via = before.iter().map(via).collect();
        gatekeeper
    }

    /// One that only looks at the key.
    pub(super) fn scanning(hop: &Hop) -> Self {
        Self::with_purpose(hop, Purpose::Scan)
    }

    fn with_purpose(hop: &Hop, purpose: Purpose) -> Self {
        Self {
            hop: hop.clone(),
            via: Vec::new(),
            purpose,
            admitted: Mutex::new(None),
        }
    }

    /// The algorithms to offer, by what the files have about the host.
    pub(super) async fn offer(&self) -> Result<Offer, Fault> {
        let names = Names::of(&self.hop);
        let known = self
            .blocking(move |hop| Ok(Recorded::load(&hop.known_hosts, &names)?.known()))
            .await?;
        Offer::new(&self.hop, &known).map_err(Fault::Unsupported)
    }

    /// The key that passed.
    pub(super) fn admitted(&self) -> Option<Admitted> {
        self.admitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns if the key may be trusted, and otherwise says why not.
    pub(super) async fn admit(
        &self,
        key: PublicKey,
        certificate: Option<Certificate>,
    ) -> Result<(), Fault> {
        let key = HostKey::new(&self.hop, key, certificate);
        let Purpose::Session { answers, patience } = &self.purpose else {
            return Err(Fault::Seen(key));
        };
        if let Some(bits) = key.rsa_bits().filter(|&bits| bits < LEAST_RSA_BITS) {
            return Err(Fault::WeakHostKey { bits });
        }
        let mut judgement = self.judge(&key).await?;
        if judgement.standing == Standing::Unknown
            && self.hop.unknown_host_key != UnknownHostKey::Refuse
        {
            let _pause = patience.pause();
            let turn = answers.turn().await;
            // Another connection may have asked about the same host meanwhile.
            judgement = self.judge(&key).await?;
            if judgement.standing == Standing::Unknown {
                let notice = match self.hop.unknown_host_key {
                    UnknownHostKey::Record => Some(self.record_unseen(&key).await?),
                    _ => self.ask(&turn, &key, &judgement).await?,
                };
                self.let_pass(Admitted {
                    key,
                    recorded: None,
                    authority: None,
                    notices: notice.into_iter().collect(),
                });
                return Ok(());
            }
        }
        if let Some(refusal) = judgement.refusal(&key) {
            return Err(Fault::Failed(refusal));
        }
        let (recorded, authority) = match judgement.standing {
            Standing::Certified {
                file,
                line,
                authority,
            } => ((file, line), Some(authority)),
            Standing::Known { file, line } => ((file, line), None),
            _ => return Err(Fault::Failed(self.unknown(&key, &judgement))),
        };
        // Where the authority is trusted, whoever renews certificates has forgotten one.
        let flaw = judgement.flaw.filter(|flaw| flaw.is_authority_trusted);
        let notices = flaw.into_iter().map(|flaw| {
            let host = key.host();
            format!(
                "the host key of {host} is recorded by itself, but {}",
                flaw.text
            )
        });
        self.let_pass(Admitted {
            notices: notices.collect(),
            key,
            recorded: Some(recorded),
            authority,
        });
        Ok(())
    }

    fn let_pass(&self, admitted: Admitted) {
        *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(admitted);
    }

    /// Records an unknown key without asking (`accept-new`), and returns what to say about it.
    ///
    /// A key that cannot be recorded is not trusted: it would be as new the next time, and so would
    /// be any other.
    async fn record_unseen(&self, key: &HostKey) -> Result<String, Fault> {
        let Some(file) = self.hop.known_hosts.first().cloned() else {
            let judgement = Judgement::from(Standing::Unknown);
            return Err(Fault::Failed(self.unknown(key, &judgement)));
        };
        self.record(key).await?;
        Ok(format!(
            "recorded the host key of {} unseen in {}: {} {}",
            key.host(),
            file.display(),
            key.algorithm(),
            key.fingerprint()
        ))
    }

    /// Asks about an unknown key and records it after a yes; returns why that did not work.
    async fn ask(
        &self,
        turn: &Turn<'_>,
        key: &HostKey,
        judgement: &Judgement,
    ) -> Result<Option<String>, Fault> {
        // Without a place to record the key the question would come again every time.
        let Some(file) = self.hop.known_hosts.first().cloned() else {
            return Err(Fault::Failed(self.unknown(key, judgement)));
        };
        let question = HostKeyQuestion {
            host: key.host().to_owned(),
            algorithm: key.algorithm(),
            fingerprint: key.fingerprint(),
            randomart: None,
            notes: judgement
                .flaw
                .iter()
                .map(|flaw| flaw.text.clone())
                .collect(),
            known_hosts: file,
        };
        match turn.trust_host_key(question).await {
            Ok(true) => {}
            Ok(false) => {
                return Err(Fault::Failed(TunnelError::HostKeyDeclined {
                    host: key.host().to_owned(),
                    fingerprint: key.fingerprint(),
                }));
            }
            Err(Unanswered::NoTerminal) => {
                return Err(Fault::Failed(self.unknown(key, judgement)));
            }
            Err(reason) => {
                let host = self.hop.name.clone();
                return Err(Fault::Failed(TunnelError::Unanswered { host, reason }));
            }
        }
        let unrecorded = self.record(key).await.err();
        Ok(unrecorded.map(|error| format!("{error}, so the question will come again")))
    }

    async fn record(&self, key: &HostKey) -> Result<(), KnownHostsError> {
        let key = key.clone();
        self.blocking(move |hop| match hop.known_hosts.first() {
            Some(file) => known_hosts::append(file, &key, hop.hash_known_hosts),
            None => Ok(()),
        })
        .await
    }

    async fn judge(&self, key: &HostKey) -> Result<Judgement, Fault> {
        let key = key.clone();
        Ok(self
            .blocking(move |hop| known_hosts::judge(&hop.known_hosts, &key))
            .await?)
    }

    /// Does something with the files where waiting for a disk holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Hop) -> Result<T, KnownHostsError> + Send + 'static,
    ) -> Result<T, KnownHostsError> {
        let hop = self.hop.clone();
        match tokio::task::spawn_blocking(move || work(&hop)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn unknown(&self, key: &HostKey, judgement: &Judgement) -> TunnelError {
        TunnelError::HostKeyUnknown {
            host: key.host().to_owned(),
            algorithm: key.algorithm(),
            fingerprint: key.fingerprint(),
            flaw: judgement.flaw.as_ref().map(|flaw| flaw.text.clone()),
            trust: self.trust_command(),
        }
    }

    /// The command that records the key after a look at it.
    pub(super) fn trust_command(&self) -> String {
        // Recorded in another file than this host's, the key would be as unknown as before.
        let file = self.hop.known_hosts.first();
        let file = file.filter(|file| !file.ends_with(".ssh/known_hosts"));
        let command = TrustCommand {
            config: None,
            known_hosts: file.map(std::slice::from_ref).unwrap_or_default(),
            via: &self.via,
            host: &target(&self.hop.name, self.hop.address.port),
            fingerprint: None,
        };
        command.to_string()
    }
}

/// A host as the command line takes it.
pub(super) fn target(name: &str, port: u16) -> String {
    match port {
        22 => name.to_owned(),
        port => HostPort {
            host: name.to_owned(),
            port,
        }
        .to_string(),
    }
}

/// What OpenSSH asks for at least (`RequiredRSASize` in ssh_config(5)).
const LEAST_RSA_BITS: u32 = 1024;
