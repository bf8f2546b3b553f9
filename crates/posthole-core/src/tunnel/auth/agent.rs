//! The ssh-agent: keys that can be used but not had (draft-miller-ssh-agent).

use std::io;
use std::path::Path;
use std::time::Duration;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::{Error, HashAlg};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::transport::dial::plain;

/// A connection to an agent.
pub(super) struct Agent {
    client: AgentClient<UnixStream>,
    /// The keys it holds.
    pub(super) identities: Vec<AgentIdentity>,
}

impl Agent {
    /// Connects to an agent and lists its keys; an error is for reading, since a login can do
    /// without an agent.
    pub(super) async fn connect(
        socket: &Path,
        session: Option<&AgentSessionBinding>,
    ) -> Result<Self, String> {
        let connecting = async {
            let mut client = AgentClient::connect_uds(socket).await?;
            if let Some(session) = session {
                // Keys that are bound to destinations need it (ssh-add(1), -h); an agent that does
                // not know of such keys refuses, and that is fine.
                client.bind_session(session, false).await.ok();
            }
            let identities = client.request_identities().await?;
            Ok::<_, Error>(Self { client, identities })
        };
        match timeout(LISTING, connecting).await {
            Ok(Ok(agent)) => Ok(agent),
            Ok(Err(error)) => Err(explain(&error)),
            Err(_) => Err("does not answer".to_owned()),
        }
    }

    /// Has the agent sign, which may make it ask a person to confirm or to touch a device.
    pub(super) async fn sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, String> {
        match timeout(SIGNING, self.client.sign_request(identity, hash, to_sign)).await {
            Ok(Ok(signed)) => Ok(signed),
            Ok(Err(Error::AgentFailure)) => Err("the agent declined to sign".to_owned()),
            Ok(Err(error)) => Err(format!("the agent could not sign: {}", explain(&error))),
            Err(_) => Err("the agent did not sign in time".to_owned()),
        }
    }
}

fn explain(error: &Error) -> String {
    match error {
        Error::IO(error) => match error.kind() {
            io::ErrorKind::UnexpectedEof => "closed the connection".to_owned(),
            _ => plain(error),
        },
        other => other.to_string(),
    }
}

/// An agent answers at once unless it is ill.
const LISTING: Duration = Duration::from_secs(5);

/// sshd gives a login two minutes by default (`LoginGraceTime` in sshd_config(5)).
const SIGNING: Duration = Duration::from_secs(120);
