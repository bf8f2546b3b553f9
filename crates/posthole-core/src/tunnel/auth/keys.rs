//! Which keys are offered (RFC 4252 §7), and in which order.
//!
//! Certificates that were named come first, as with ssh(1). Then the named keys, each through the
//! agent if that holds it; then the agent's other keys, unless only named ones are wanted; then the
//! usual files. Servers count every key they do not like as a failed attempt, so the order decides
//! whether the right key is reached. What is of no use is noted with the reason, because it may be
//! what somebody looks for.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::agent::AgentSessionBinding;
use russh::keys::ssh_key::certificate::Certificate;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PrivateKey, PublicKey};

use crate::plan::Hop;

use super::super::error::{Attempt, TunnelError};
use super::super::known_hosts::{fingerprint, kind};
use super::agent::{Agent, Identity, Listing};
use super::certificate::{self, CertificateError};
use super::key_file::{KeyFile, KeyFileError, LockedKey};
use super::signer::{Locksmith, SignError};

/// The keys to offer.
pub(super) struct Keys {
    queue: VecDeque<Candidate>,
    pub(super) agent: Option<Agent>,
}

/// A key to offer.
pub(super) struct Candidate {
    /// What signs for it.
    pub(super) source: Source,
    /// The certificate that is shown instead of the plain key.
    certificate: Option<Box<Certificate>>,
    /// Where it is from, such as `from /home/x/.ssh/id_ed25519` or `from the agent`.
    origin: String,
}

/// Where the private half of a key is.
#[derive(Clone)]
pub(super) enum Source {
    Agent(Arc<Identity>),
    Open(Arc<PrivateKey>),
    Locked(LockedKey),
}

impl Keys {
    /// Collects the keys of a hop, noting those that are of no use.
    pub(super) async fn gather(
        hop: &Hop,
        session: Option<&AgentSessionBinding>,
        tried: &mut Vec<Attempt>,
    ) -> Result<Self, TunnelError> {
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
        let queue = gathering.finish();
        Ok(Self { queue, agent })
    }

    /// No keys.
    pub(super) fn none() -> Self {
        Self {
            queue: VecDeque::new(),
            agent: None,
        }
    }

    /// How many keys are left.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the next key can be offered without asking for its passphrase first.
    pub(super) fn is_next_ready(&self) -> bool {
        self.queue
            .front()
            .is_some_and(|candidate| candidate.offer().is_some())
    }

    /// The next key to offer.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        self.queue.pop_front()
    }

    /// Takes back a key that the server did not look at.
    pub(super) fn put_back(&mut self, candidate: Candidate) {
        self.queue.push_front(candidate);
    }
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

/// What is shown to the server.
#[derive(Clone, Debug)]
pub(super) enum Offer {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Offer {
    /// Whether the signature's hash is a matter of negotiation (RFC 8332).
    pub(super) fn is_rsa(&self) -> bool {
        match self {
            Self::Key(key) => key.algorithm().is_rsa(),
            Self::Certificate(certificate) => certificate.algorithm().is_rsa(),
        }
    }

    /// The name of the algorithm with this hash, as ssh_config(5) has it.
    pub(super) fn algorithm(&self, hash: Option<HashAlg>) -> String {
        let rsa = match hash {
            Some(HashAlg::Sha256) => Some("rsa-sha2-256"),
            Some(HashAlg::Sha512) => Some("rsa-sha2-512"),
            _ => None,
        };
        match (self, rsa.filter(|_| self.is_rsa())) {
            (Self::Key(_), Some(name)) => name.to_owned(),
            (Self::Key(key), None) => key.algorithm().to_string(),
            (Self::Certificate(_), Some(name)) => format!("{name}-cert-v01@openssh.com"),
            (Self::Certificate(certificate), None) => certificate.algorithm().to_certificate_type(),
        }
    }

    fn public(&self) -> &KeyData {
        match self {
            Self::Key(key) => key.key_data(),
            Self::Certificate(certificate) => certificate.public_key(),
        }
    }
}

impl Candidate {
    /// What to show to the server; none if that takes a passphrase.
    pub(super) fn offer(&self) -> Option<Offer> {
        if let Some(certificate) = &self.certificate {
            return Some(Offer::Certificate(certificate.clone()));
        }
        match &self.source {
            Source::Agent(identity) => Some(identity.offer.clone()),
            Source::Open(key) => Some(Offer::Key(key.public_key().clone())),
            Source::Locked(key) => key.public.clone().map(Offer::Key),
        }
    }

    /// Opens a key whose public half is not to be had otherwise.
    pub(super) async fn reveal(&mut self, locksmith: Locksmith<'_>) -> Result<Offer, SignError> {
        if let Source::Locked(locked) = &self.source {
            self.source = Source::Open(locksmith.unlock(locked).await?);
        }
        self.offer()
            .ok_or_else(|| SignError::Failed("it has no public key".to_owned()))
    }

    fn public(&self) -> Option<&KeyData> {
        match &self.source {
            Source::Agent(identity) => Some(identity.offer.public()),
            Source::Open(key) => Some(key.public_key().key_data()),
            Source::Locked(key) => key.public.as_ref().map(PublicKey::key_data),
        }
    }

    /// What the server may hold against it, as far as that can be seen from here.
    pub(super) fn trouble(&self, user: &str) -> Option<String> {
        match self.offer()? {
            Offer::Certificate(certificate) => {
                certificate::trouble(&certificate, user, SystemTime::now())
            }
            Offer::Key(_) => None,
        }
    }

    /// The key as messages show it, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id`.
    pub(super) fn describe(&self) -> String {
        match self.offer() {
            Some(Offer::Key(key)) => {
                let (kind, fingerprint) = (kind(&key.algorithm()), fingerprint(&key));
                format!("publickey {kind} {fingerprint} {}", self.origin)
            }
            Some(Offer::Certificate(certificate)) => {
                let key = PublicKey::from(certificate.public_key().clone());
                let (kind, fingerprint) = (kind(&key.algorithm()), fingerprint(&key));
                format!("publickey {kind}-CERT {fingerprint} {}", self.origin)
            }
            None => format!("publickey {}", self.origin),
        }
    }
}

const START_AN_AGENT: &str =
    "start ssh-agent and add the key with ssh-add, or name a private key with `identity`";
