//! The decision about a host key in the middle of a key exchange.
//!
//! A key that is recorded passes, a changed or revoked one never does, and about an unknown one a
//! person is asked while the key exchange waits. There is no setting that lets a key pass unasked.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::{Algorithm, PublicKey};

use crate::ask::{HostKeyQuestion, Unanswered};
use crate::plan::{Hop, HostPort};

use super::answers::{Answers, Turn};
use super::client::Fault;
use super::error::{HostKeyChanged, TunnelError};
use super::known_hosts::{self, HostKey, KnownHostsError, Recorded, Standing, host_name};
use super::patience::Patience;

/// Decides about the host keys of one host.
pub(super) struct Gatekeeper {
    /// The host as `via` has it.
    name: String,
    /// The hosts on the way to it, as `posthole trust` takes them.
    via: Vec<String>,
    address: HostPort,
    files: Vec<PathBuf>,
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
    /// Where it was recorded before.
    pub(super) recorded: Option<(PathBuf, usize)>,
    /// Why it could not be recorded now.
    pub(super) unrecorded: Option<KnownHostsError>,
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
            name: hop.name.clone(),
            via: Vec::new(),
            address: hop.address.clone(),
            files: hop.known_hosts.clone(),
            purpose,
            admitted: Mutex::new(None),
        }
    }

    /// The algorithms of the keys that are recorded for the host.
    pub(super) async fn known_algorithms(&self) -> Result<Vec<Algorithm>, KnownHostsError> {
        let host = host_name(&self.address);
        self.blocking(move |files| Ok(Recorded::load(files, &host)?.algorithms()))
            .await
    }

    /// The key that passed.
    pub(super) fn admitted(&self) -> Option<Admitted> {
        self.admitted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// Returns if the key may be trusted, and otherwise says why not.
    pub(super) async fn admit(&self, key: PublicKey) -> Result<(), Fault> {
        let key = HostKey::new(&self.address, key);
        let Purpose::Session { answers, patience } = &self.purpose else {
            return Err(Fault::Seen(key));
        };
        let mut standing = self.judge(&key).await?;
        if standing == Standing::Unknown {
            let _pause = patience.pause();
            let turn = answers.turn().await;
            // Another connection may have asked about the same host meanwhile.
            standing = self.judge(&key).await?;
            if standing == Standing::Unknown {
                let unrecorded = self.ask(&turn, &key).await?;
                self.let_pass(Admitted {
                    key,
                    recorded: None,
                    unrecorded,
                });
                return Ok(());
            }
        }
        match standing {
            Standing::Known { file, line } => {
                let recorded = Some((file, line));
                self.let_pass(Admitted {
                    key,
                    recorded,
                    unrecorded: None,
                });
                Ok(())
            }
            Standing::Changed {
                file,
                line,
                recorded,
            } => Err(Fault::Failed(TunnelError::HostKeyChanged(Box::new(
                HostKeyChanged {
                    host: key.host().to_owned(),
                    algorithm: key.algorithm(),
                    fingerprint: key.fingerprint(),
                    recorded,
                    file,
                    line,
                },
            )))),
            Standing::Revoked { file, line } => Err(Fault::Failed(TunnelError::HostKeyRevoked {
                host: key.host().to_owned(),
                fingerprint: key.fingerprint(),
                file,
                line,
            })),
            Standing::Unknown => Err(Fault::Failed(self.unknown(&key))),
        }
    }

    fn let_pass(&self, admitted: Admitted) {
        *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(admitted);
    }

    /// Asks about an unknown key and records it after a yes. The inner error is that of recording.
    async fn ask(&self, turn: &Turn<'_>, key: &HostKey) -> Result<Option<KnownHostsError>, Fault> {
        // Without a place to record the key the question would come again every time.
        let Some(file) = self.files.first().cloned() else {
            return Err(Fault::Failed(self.unknown(key)));
        };
        let question = HostKeyQuestion {
            host: key.host().to_owned(),
            algorithm: key.algorithm(),
            fingerprint: key.fingerprint(),
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
            Err(Unanswered::NoTerminal) => return Err(Fault::Failed(self.unknown(key))),
            Err(reason) => {
                let host = self.name.clone();
                return Err(Fault::Failed(TunnelError::Unanswered { host, reason }));
            }
        }
        let key = key.clone();
        let written = self.blocking(move |files| match files.first() {
            Some(file) => known_hosts::append(file, &key),
            None => Ok(()),
        });
        Ok(written.await.err())
    }

    async fn judge(&self, key: &HostKey) -> Result<Standing, Fault> {
        let key = key.clone();
        Ok(self
            .blocking(move |files| known_hosts::judge(files, &key))
            .await?)
    }

    /// Does something with the files where waiting for a disk holds nobody up.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&[PathBuf]) -> Result<T, KnownHostsError> + Send + 'static,
    ) -> Result<T, KnownHostsError> {
        let files = self.files.clone();
        match tokio::task::spawn_blocking(move || work(&files)).await {
            Ok(result) => result,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down, and this future with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn unknown(&self, key: &HostKey) -> TunnelError {
        TunnelError::HostKeyUnknown {
            host: key.host().to_owned(),
            algorithm: key.algorithm(),
            fingerprint: key.fingerprint(),
            trust: self.trust_command(),
        }
    }

    /// The command that records the key after a look at it.
    pub(super) fn trust_command(&self) -> String {
        let mut command = "posthole trust".to_owned();
        for host in &self.via {
            command += &format!(" --via {host}");
        }
        // Recorded in another file than this host's, the key would be as unknown as before.
        if let Some(file) = self.files.first()
            && !file.ends_with(".ssh/known_hosts")
        {
            let file = file.display().to_string();
            command += &format!(" --known-hosts {}", shell_words::quote(&file));
        }
        format!("{command} {}", target(&self.name, self.address.port))
    }
}

/// A host as the command line takes it.
fn target(name: &str, port: u16) -> String {
    match port {
        22 => name.to_owned(),
        port => HostPort {
            host: name.to_owned(),
            port,
        }
        .to_string(),
    }
}
