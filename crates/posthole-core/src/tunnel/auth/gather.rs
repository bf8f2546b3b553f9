//! The keys of a hop, from its files, its certificates and its agent, in the order they are offered.
//!
//! Certificates that were named come first, as with ssh(1). Then the named keys, each through the
//! agent if that holds it; then the agent's other keys, unless only named ones are wanted; then the
//! usual files. Servers count every key they do not like as a failed attempt, so the order decides
//! whether the right key is reached. What is of no use is noted with the reason, because it may be
//! what somebody looks for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::AgentSessionBinding;
use russh::keys::ssh_key::certificate::Certificate;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PrivateKey, PublicKey};

use crate::plan::Hop;

use super::super::error::{Attempt, TunnelError};
use super::agent::{Agent, Identity, Listing};
use super::certificate::{self, CertificateError};
use super::key_file::{KeyFile, KeyFileError};
use super::keys::{Candidate, Keys, Offer, Source};

/// Collects the keys of a hop, noting those that are of no use.
pub(super) async fn gather(
    hop: &Hop,
    session: Option<&AgentSessionBinding>,
    tried: &mut Vec<Attempt>,
) -> Result<Keys, TunnelError> {
    let (agent, held) = match &hop.agent {
        None => (None, Vec::new()),
        Some(socket) => match Agent::connect(socket, session).await {
            Ok((agent, listing)) => {
                note_listing(socket, &listing, tried);
                let held = listing.identities.into_iter().map(Arc::new).collect();
                (Some(agent), held)
            }
            Err(outcome) => {
                tracing::info!(socket = %socket.display(), outcome, "no ssh-agent");
                tried.push(Attempt::missed(agent_at(socket), outcome).perhaps(START_AN_AGENT));
                (None, Vec::new())
            }
        },
    };
    let mut gathering = Gathering {
        hop,
        held,
        tried,
        named: VecDeque::new(),
        by_agent: VecDeque::new(),
        by_file: VecDeque::new(),
    };
    for read in read_all(hop).await {
        match read {
            Read::Key {
                path,
                file,
                certificate,
            } => gathering.add_key(path, file, certificate)?,
            Read::Certificate { path, certificate } => {
                gathering.add_certificate(path, certificate);
            }
        }
    }
    Ok(Keys::new(gathering.finish(), agent))
}

fn agent_at(socket: &Path) -> String {
    format!("ssh-agent at {}", socket.display())
}

fn note_listing(socket: &Path, listing: &Listing, tried: &mut Vec<Attempt>) {
    if listing.may_be_locked {
        let outcome = "shows no keys; it may be locked";
        let hint = "unlock the agent with ssh-add -X, or add a key to it with ssh-add";
        tried.push(Attempt::missed(agent_at(socket), outcome).perhaps(hint));
    } else if listing.identities.is_empty() && listing.unreadable == 0 {
        let hint = "add the key to the agent with ssh-add";
        tried.push(Attempt::missed(agent_at(socket), "holds no keys").perhaps(hint));
    } else if listing.unreadable > 0 {
        let outcome = match listing.unreadable {
            1 => "holds a key of a kind that is not known here".to_owned(),
            count => format!("holds {count} keys of kinds that are not known here"),
        };
        tracing::info!(socket = %socket.display(), outcome, "ssh-agent");
        tried.push(Attempt::missed(agent_at(socket), outcome));
    }
}

/// Keys on their way into a queue.
struct Gathering<'a> {
    hop: &'a Hop,
    /// The keys of the agent that were not named so far.
    held: Vec<Arc<Identity>>,
    tried: &'a mut Vec<Attempt>,
    /// Certificates that were named.
    named: VecDeque<Candidate>,
    by_agent: VecDeque<Candidate>,
    by_file: VecDeque<Candidate>,
}

impl Gathering<'_> {
    /// Adds the key in a file, and after it the certificate beside it, as ssh(1) does.
    fn add_key(
        &mut self,
        path: PathBuf,
        file: Result<KeyFile, KeyFileError>,
        certificate: Option<Result<Certificate, CertificateError>>,
    ) -> Result<(), TunnelError> {
        let Some(mut file) = self.usable(&path, file)? else {
            return Ok(());
        };
        let certificate = match certificate {
            None => None,
            Some(Err(error)) if error.is_missing() => None,
            Some(Err(error)) => {
                self.miss_certificate(&certificate::beside(&path), &error.to_string());
                None
            }
            Some(Ok(certificate)) => Some(certificate),
        };
        if let (KeyFile::Locked(locked), Some(certificate)) = (&mut file, &certificate)
            && locked.public.is_none()
        {
            locked.public = Some(certificate.public_key().clone().into());
        }
        let held = file
            .public()
            .and_then(|public| self.take(public.key_data()));
        let certificate = certificate.filter(|certificate| {
            let public = file.public().map(PublicKey::key_data);
            let is_of_key = public == Some(certificate.public_key());
            if !is_of_key {
                let outcome = format!("belongs to another key than {}", path.display());
                self.miss_certificate(&certificate::beside(&path), &outcome);
            }
            is_of_key
        });
        let (source, origin) = match (held, file) {
            (Some(identity), _) => {
                let origin = format!("from {} in the agent", path.display());
                (Source::Agent(identity), origin)
            }
            (None, KeyFile::Open(key)) if is_on_device(&key) => {
                let outcome = "its other half is in a device, which only an agent can reach";
                let hint = format!("add it to ssh-agent: ssh-add {}", path.display());
                self.miss_key(&path, outcome, &hint);
                return Ok(());
            }
            (None, KeyFile::Open(key)) => (Source::Open(key), format!("from {}", path.display())),
            (None, KeyFile::Locked(key)) => {
                (Source::Locked(key), format!("from {}", path.display()))
            }
            (None, KeyFile::Public(_)) => {
                let outcome = "there is only the public key, and no agent holds the private one";
                let what = format!("key file {}", path.display());
                let attempt = Attempt::missed(what, outcome);
                self.tried.push(attempt.perhaps(START_AN_AGENT));
                return Ok(());
            }
        };
        // The person's order is kept among named keys.
        let is_by_agent = matches!(source, Source::Agent(_)) && !self.hop.identities_named;
        let queue = if is_by_agent {
            &mut self.by_agent
        } else {
            &mut self.by_file
        };
        queue.push_back(Candidate {
            source: source.clone(),
            certificate: None,
            origin,
        });
        if let Some(certificate) = certificate {
            queue.push_back(Candidate {
                source,
                origin: format!("from {}", certificate::beside(&path).display()),
                certificate: Some(Box::new(certificate)),
            });
        }
        Ok(())
    }

    /// The content of a file, unless it is of no use, which is noted.
    fn usable(
        &mut self,
        path: &Path,
        file: Result<KeyFile, KeyFileError>,
    ) -> Result<Option<KeyFile>, TunnelError> {
        let name = path.display();
        let (outcome, hint) = match file {
            Ok(file) => return Ok(Some(file)),
            Err(KeyFileError::Missing(error)) if self.hop.identities_named => {
                return Err(TunnelError::IdentityMissing {
                    login: self.hop.login(),
                    path: path.to_owned(),
                    error: Arc::new(error),
                });
            }
            Err(KeyFileError::Missing(_)) => return Ok(None),
            Err(KeyFileError::Encryption(outcome)) => {
                (outcome, format!("rewrite the key: ssh-keygen -p -f {name}"))
            }
            Err(KeyFileError::Exposed { path, mode }) => (
                format!("is not used, because others can read it (mode {mode:04o})"),
                format!("make the key file private: chmod 600 {}", path.display()),
            ),
            Err(KeyFileError::Unusable(outcome)) => {
                (outcome, format!("look at it with ssh-keygen -y -f {name}"))
            }
        };
        self.miss_key(path, &outcome, &hint);
        Ok(None)
    }

    /// Adds a certificate that was named, with whatever holds the private half of its key.
    fn add_certificate(
        &mut self,
        path: PathBuf,
        certificate: Result<Certificate, CertificateError>,
    ) {
        let certificate = match certificate {
            Ok(certificate) => certificate,
            Err(error) => return self.miss_certificate(&path, &error.to_string()),
        };
        let mut known = self.by_agent.iter().chain(&self.by_file);
        let source = known
            .find(|candidate| candidate.public() == Some(certificate.public_key()))
            .map(|candidate| candidate.source.clone())
            // Naming the certificate names its key.
            .or_else(|| self.find(certificate.public_key()).map(Source::Agent))
            .or_else(|| self.find_certificate(&certificate).map(Source::Agent));
        match source {
            Some(source) => self.named.push_back(Candidate {
                source,
                origin: format!("from {}", path.display()),
                certificate: Some(Box::new(certificate)),
            }),
            None => self.miss_certificate(&path, "there is no private key that it belongs to"),
        }
    }

    /// Puts the keys into their order.
    fn finish(mut self) -> VecDeque<Candidate> {
        if !self.hop.identities_only {
            let shown: Vec<_> = self.named.iter().chain(&self.by_file).collect();
            let is_new = |identity: &Arc<Identity>| match &identity.offer {
                Offer::Key(_) => true,
                Offer::Certificate(certificate) => !shown
                    .iter()
                    .any(|candidate| candidate.certificate.as_ref() == Some(certificate)),
            };
            self.held.retain(is_new);
            let others = self.held.drain(..).map(|identity| Candidate {
                source: Source::Agent(identity),
                certificate: None,
                origin: "from the agent".to_owned(),
            });
            self.by_agent.extend(others);
        }
        let (first, rest) = if self.hop.identities_named {
            (self.by_file, self.by_agent)
        } else {
            (self.by_agent, self.by_file)
        };
        let mut queue = self.named;
        queue.extend(first);
        queue.extend(rest);
        queue
    }

    /// A key that the agent holds.
    fn find(&self, public: &KeyData) -> Option<Arc<Identity>> {
        let is_it =
            |identity: &&Arc<Identity>| identity.plain().map(PublicKey::key_data) == Some(public);
        self.held.iter().find(is_it).map(Arc::clone)
    }

    /// Takes a key out of those the agent holds.
    fn take(&mut self, public: &KeyData) -> Option<Arc<Identity>> {
        let found = self.find(public)?;
        self.held.retain(|identity| !Arc::ptr_eq(identity, &found));
        Some(found)
    }

    fn find_certificate(&self, certificate: &Certificate) -> Option<Arc<Identity>> {
        let is_it = |identity: &&Arc<Identity>| matches!(&identity.offer, Offer::Certificate(held) if **held == *certificate);
        self.held.iter().find(is_it).map(Arc::clone)
    }

    fn miss_key(&mut self, path: &Path, outcome: &str, hint: &str) {
        let what = format!("key file {}", path.display());
        self.tried.push(Attempt::missed(what, outcome).hint(hint));
    }

    fn miss_certificate(&mut self, path: &Path, outcome: &str) {
        let what = format!("certificate {}", path.display());
        self.tried.push(Attempt::missed(what, outcome));
    }
}

enum Read {
    Certificate {
        path: PathBuf,
        certificate: Result<Certificate, CertificateError>,
    },
    Key {
        path: PathBuf,
        file: Result<KeyFile, KeyFileError>,
        /// What is in the certificate file beside it.
        certificate: Option<Result<Certificate, CertificateError>>,
    },
}

/// Reads all files where waiting for a disk holds nobody up; keys first.
async fn read_all(hop: &Hop) -> Vec<Read> {
    let (keys, certificates) = (hop.identities.clone(), hop.certificates.clone());
    let reading = move || {
        // As with ssh(1), naming certificates leaves those beside the keys alone.
        let looks_beside = certificates.is_empty();
        let keys = keys.into_iter().map(|path| Read::Key {
            file: KeyFile::read(&path),
            certificate: looks_beside.then(|| certificate::read(&certificate::beside(&path))),
            path,
        });
        let certificates = certificates.into_iter().map(|path| Read::Certificate {
            certificate: certificate::read(&path),
            path,
        });
        keys.chain(certificates).collect()
    };
    // Nothing but the end of the runtime makes this fail.
    tokio::task::spawn_blocking(reading)
        .await
        .unwrap_or_default()
}

fn is_on_device(key: &PrivateKey) -> bool {
    matches!(
        key.key_data(),
        KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_)
    )
}

const START_AN_AGENT: &str = "start ssh-agent and add the key with ssh-add";
