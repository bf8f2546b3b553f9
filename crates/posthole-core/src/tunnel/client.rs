//! What we are to russh: the settings of a session, and the answers to its callbacks.
//!
//! The settings are measured ones. The callbacks judge the host key, refuse every channel that the
//! server wants to open (russh would accept them, and buffer what comes through), and note what
//! russh tells nobody else: why a channel was refused and why the session ended.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use russh::Names;
use russh::client::{self, ChannelOpenHandle, DisconnectReason, Msg, Session};
use russh::keys::{Algorithm, PublicKeyOrCertificate};
use russh::{Channel, ChannelId, ChannelOpenFailure, SshId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::plan::Hop;
use crate::transport::dial::DialError;

use super::algorithms::{Ciphers, Unsupported, is_open_to_terrapin, preferred, rekey_limits};
use super::error::{Refusal, TunnelError};
use super::host_key::Gatekeeper;
use super::known_hosts::{HostKey, KnownHostsError};
use super::loss::{Loss, explain};
use super::offer::Offer;
use super::text::{BANNER, SHOWN, clean, clean_lines};

/// The settings for a session with a host.
pub(super) fn config(
    hop: &Hop,
    offer: &Offer,
    ciphers: Ciphers,
) -> Result<client::Config, Unsupported> {
    let preferred = preferred(&hop.algorithms, ciphers, offer, hop.compression)?;
    Ok(client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!(
            "SSH-2.0-posthole_",
            env!("CARGO_PKG_VERSION")
        ))),
        // russh reopens the window once half of it is used up, so that its rate over a distant link
        // is half a window per round trip. Much larger windows make sshd buffer, and slow.
        window_size: 8 * 1024 * 1024,
        maximum_packet_size: 32 * 1024,
        channel_buffer_size: 32,
        nodelay: true,
        keepalive_interval: (hop.keepalive > Duration::ZERO).then_some(hop.keepalive),
        keepalive_max: hop.keepalive_max as usize,
        preferred,
        limits: rekey_limits(hop.rekey),
        ..client::Config::default()
    })
}

/// Our side of a session's callbacks.
pub(super) struct Client {
    pub(super) gatekeeper: Arc<Gatekeeper>,
    /// The algorithm of the host key that was shown, until it is compared with what was agreed on.
    pub(super) shown: Option<Algorithm>,
    pub(super) refusals: Arc<Refusals>,
    pub(super) banner: Arc<Mutex<String>>,
    pub(super) loss: watch::Sender<Option<Loss>>,
    /// The algorithm that the host key was to sign by, for a comparison with what it signed by.
    pub(super) agreed: Arc<OnceLock<Algorithm>>,
    /// Cancelled when nobody wants the session any more.
    pub(super) cut: CancellationToken,
}

impl client::Handler for Client {
    type Error = Fault;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Fault> {
        let key = shown.public_key();
        self.shown = Some(key.algorithm());
        let certificate = shown.certificate().cloned();
        tokio::select! {
            biased;
            () = self.cut.cancelled() => Ok(false),
            admitted = self.gatekeeper.admit(key, certificate) => admitted.map(|()| true),
        }
    }

    async fn kex_done(
        &mut self,
        _shared_secret: Option<&[u8]>,
        names: &Names,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        if is_open_to_terrapin(names) {
            return Err(Fault::NotStrict);
        }
        // Only the first counts: of what is signed later nothing is to be seen.
        self.agreed.set(names.key.clone()).ok();
        // russh takes a key of any kind, whatever was agreed on.
        if let Some(shown) = self.shown.take()
            && !is_same_kind(&shown, &names.key)
        {
            return Err(Fault::OtherHostKey {
                agreed: names.key.clone(),
                shown,
            });
        }
        Ok(())
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Result<(), Fault> {
        let mut kept = self.banner.lock().unwrap_or_else(PoisonError::into_inner);
        // A server may send any number of them (RFC 4252 §5.4).
        if kept.len() < BANNER {
            if !kept.is_empty() {
                kept.push('\n');
            }
            kept.push_str(&clean_lines(banner, BANNER));
        }
        Ok(())
    }

    async fn channel_open_failure(
        &mut self,
        _channel: ChannelId,
        reason: ChannelOpenFailure,
        description: &str,
        _language: &str,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        self.refusals.note(&reason, clean(description, SHOWN));
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Fault>) -> Result<(), Fault> {
        let loss = Loss::from(reason);
        tracing::debug!(reason = loss.reason, "SSH session ended");
        self.loss.send_replace(Some(loss));
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _connected_address: &str,
        _connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_unknown(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Fault> {
        reject(reply).await
    }
}

/// The name of the algorithm that a signature was made by, if it is another one than was agreed on.
///
/// russh checks a signature by whatever algorithm it names, SHA-1 among them.
pub(super) fn signed_otherwise(signature: &[u8], agreed: &Algorithm) -> Option<String> {
    let name = signature
        .split_at_checked(4)
        .and_then(|(length, rest)| {
            let length = u32::from_be_bytes(length.try_into().ok()?);
            rest.get(..usize::try_from(length).ok()?)
        })
        .unwrap_or_default();
    (name != agreed.as_str().as_bytes()).then(|| clean(&String::from_utf8_lossy(name), SHOWN))
}

/// Whether a key of one algorithm can sign by the other: the hash is the signature's business, of
/// which [`signed_otherwise`] sees.
fn is_same_kind(key: &Algorithm, signature: &Algorithm) -> bool {
    match (key, signature) {
        (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
        (key, signature) => key == signature,
    }
}

/// Nothing was forwarded, so no server has a reason to open a channel.
async fn reject(reply: ChannelOpenHandle) -> Result<(), Fault> {
    reply
        .reject(ChannelOpenFailure::AdministrativelyProhibited)
        .await;
    Ok(())
}

/// Why a session cannot go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// A cipher was agreed on that is not safe without strict key exchange.
    NotStrict,
    /// The host key was not admitted, or the host was not even reached.
    Failed(TunnelError),
    /// The host key is of another kind than was agreed on.
    OtherHostKey { agreed: Algorithm, shown: Algorithm },
    /// The host key has signed by another algorithm than was agreed on.
    OtherSignature { agreed: Algorithm, signed: String },
    /// The host key is all that was wanted.
    Seen(HostKey),
    /// The protocol or the connection failed.
    Ssh(russh::Error),
    /// The configuration leaves nothing to offer.
    Unsupported(Unsupported),
    /// The host key can be broken.
    WeakHostKey { bits: u32 },
}

impl From<russh::Error> for Fault {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl From<TunnelError> for Fault {
    fn from(error: TunnelError) -> Self {
        Self::Failed(error)
    }
}

impl From<DialError> for Fault {
    fn from(error: DialError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<KnownHostsError> for Fault {
    fn from(error: KnownHostsError) -> Self {
        Self::Failed(error.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStrict => f.write_str("no cipher is safe without strict key exchange"),
            Self::Failed(error) => error.fmt(f),
            Self::OtherHostKey { agreed, shown } => {
                write!(
                    f,
                    "a host key for {agreed} was agreed on, and it showed one for {shown}"
                )
            }
            Self::OtherSignature { agreed, signed } => write!(
                f,
                "a host key for {agreed} was agreed on, and it signed with {signed}"
            ),
            Self::Seen(_) => f.write_str("only the host key was wanted"),
            Self::Ssh(error) => f.write_str(&explain(error)),
            Self::Unsupported(unsupported) => unsupported.fmt(f),
            Self::WeakHostKey { bits } => write!(f, "its RSA host key has only {bits} bits"),
        }
    }
}

impl Fault {
    /// What to do about it.
    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotStrict => Some(
                "the server should be updated to one with strict key exchange (OpenSSH 9.6), or \
                 offer aes128-gcm@openssh.com or aes128-ctr",
            ),
            Self::OtherHostKey { .. } | Self::OtherSignature { .. } => Some(
                "the server is broken, or somebody is in between; ask the administrator of the host",
            ),
            Self::Ssh(russh::Error::WrongServerSig) => {
                Some("somebody may be in between; ask the administrator of the host")
            }
            Self::WeakHostKey { .. } => Some(
                "such a key can be broken; ask the administrator of the host for a longer one, or \
                 better one of Ed25519 (ssh-keygen -A)",
            ),
            _ => None,
        }
    }
}

/// Words of the server about channels it refused, until whoever asked for the channel fetches them.
///
/// russh reports the reason code to the one and the words to the other, without saying which channel
/// it was to the one. The codes and the order tell; where several words could be meant, none are
/// given, rather than the wrong ones.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    noted: Mutex<Vec<(Refusal, Option<String>)>>,
    came: Notify,
}

impl Refusals {
    fn note(&self, reason: &ChannelOpenFailure, text: String) {
        let refusal = Refusal::from(reason);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.push((refusal, Some(text.clone())));
        let is_ambiguous = noted
            .iter()
            .any(|(other, words)| *other == refusal && words.as_deref() != Some(text.as_str()));
        if is_ambiguous {
            for (other, words) in noted.iter_mut() {
                if *other == refusal {
                    *words = None;
                }
            }
        }
        drop(noted);
        self.came.notify_waiters();
    }

    /// The server's words for a refusal, which may be still on their way.
    pub(super) async fn words(&self, refusal: Refusal) -> Option<String> {
        let fetch = async {
            loop {
                let came = self.came.notified();
                let mut came = std::pin::pin!(came);
                came.as_mut().enable();
                {
                    let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(index) = noted.iter().position(|(other, _)| *other == refusal) {
                        return noted.remove(index).1;
                    }
                }
                came.await;
            }
        };
        tokio::time::timeout(WORDS_FOLLOW_WITHIN, fetch)
            .await
            .ok()
            .flatten()
    }
}

impl From<&ChannelOpenFailure> for Refusal {
    fn from(reason: &ChannelOpenFailure) -> Self {
        match reason {
            ChannelOpenFailure::AdministrativelyProhibited => Self::AdministrativelyProhibited,
            ChannelOpenFailure::ConnectFailed => Self::ConnectFailed,
            ChannelOpenFailure::Other { code, .. } => Self::Other(*code),
            ChannelOpenFailure::ResourceShortage => Self::ResourceShortage,
            ChannelOpenFailure::UnknownChannelType => Self::UnknownChannelType,
        }
    }
}

/// The words follow the code within the same task of russh; this only bounds a surprise.
const WORDS_FOLLOW_WITHIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use russh::keys::HashAlg;

    use super::*;

    #[test]
    fn a_host_key_signs_by_what_was_agreed_on() {
        let signature = |name: &str| {
            let mut blob = u32::try_from(name.len()).unwrap().to_be_bytes().to_vec();
            blob.extend(name.as_bytes());
            blob.extend([0, 0, 0, 1, 7]);
            blob
        };
        let agreed = Algorithm::Rsa {
            hash: Some(HashAlg::Sha512),
        };
        assert_eq!(signed_otherwise(&signature("rsa-sha2-512"), &agreed), None);
        for other in ["ssh-rsa", "rsa-sha2-256", "ssh-ed25519", ""] {
            let signed = signed_otherwise(&signature(other), &agreed);
            assert_eq!(signed.as_deref(), Some(other));
        }
        assert!(signed_otherwise(&[0, 0, 0, 9, b'x'], &agreed).is_some());
        let agreed = Algorithm::Ed25519;
        assert_eq!(signed_otherwise(&signature("ssh-ed25519"), &agreed), None);
    }

    #[tokio::test(start_paused = true)]
    async fn words_about_a_refused_channel_are_given_only_when_it_is_clear_whose_they_are() {
        let refusals = Refusals::default();
        refusals.note(
            &ChannelOpenFailure::ConnectFailed,
            "Connection refused".to_owned(),
        );
        refusals.note(
            &ChannelOpenFailure::AdministrativelyProhibited,
            "no".to_owned(),
        );
        let words = refusals.words(Refusal::ConnectFailed).await;
        assert_eq!(words.as_deref(), Some("Connection refused"));

        refusals.note(
            &ChannelOpenFailure::ConnectFailed,
            "Connection refused".to_owned(),
        );
        refusals.note(
            &ChannelOpenFailure::ConnectFailed,
            "Name not known".to_owned(),
        );
        assert_eq!(refusals.words(Refusal::ConnectFailed).await, None);
        assert_eq!(refusals.words(Refusal::ConnectFailed).await, None);
        let words = refusals.words(Refusal::AdministrativelyProhibited).await;
        assert_eq!(words.as_deref(), Some("no"));
        assert_eq!(refusals.words(Refusal::ResourceShortage).await, None);
    }
}
