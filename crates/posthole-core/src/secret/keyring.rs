//! A password in the desktop's keyring: the Secret Service of freedesktop.org, as GNOME Keyring,
//! KWallet and KeePassXC provide it on the session's D-Bus.
//!
//! An item is found by attributes, which are those of `secret-tool store`. A keyring that is locked
//! stays so: to open it is a question to a person, who may be asleep, in a window that nobody here
//! asked for. The secret crosses the bus as it is (the service's `plain` algorithm), since that is
//! a socket of this user's own, and whoever may listen there may ask for the secret as well.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use zbus::connection::Builder;
use zbus::fdo;
use zbus::{Connection, Message, OwnedObjectPath, OwnedVariant, Variant};

use crate::plan::Keyring;

use super::{LENGTH_LIMIT, SecretError, first_line};

/// Asks for the password.
pub(super) async fn look_up(keyring: &Keyring) -> Result<SecretString, SecretError> {
    let looked_up = tokio::time::timeout(TIME_LIMIT, find(keyring)).await;
    let problem = match looked_up.unwrap_or(Err(KeyringProblem::TimedOut)) {
        Ok(secret) => return Ok(secret),
        Err(problem) => problem,
    };
    Err(SecretError::Keyring {
        store: keyring.store_command(),
        look_up: keyring.look_up_command(),
        problem,
    })
}

/// Why the keyring gives no password.
#[derive(Debug)]
#[non_exhaustive]
pub enum KeyringProblem {
    /// The session's bus could not be reached.
    Bus(String),
    /// The item is there, and locked.
    Locked,
    /// There is no such item.
    Missing,
    /// There is no session with a bus.
    NoBus,
    /// No program on the bus keeps secrets.
    NoService,
    /// The program that keeps the secrets refused.
    Refused(String),
    /// It did not answer.
    TimedOut,
    /// What it gave cannot be a password.
    Unusable,
}

impl fmt::Display for KeyringProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bus(why) => write!(f, "the session's D-Bus cannot be reached: {why}"),
            Self::Locked => f.write_str("it is locked"),
            Self::Missing => f.write_str("there is no such item in it"),
            Self::NoBus => f.write_str("this process belongs to no desktop session"),
            Self::NoService => f.write_str("no program of this session provides one"),
            Self::Refused(why) => write!(f, "it refused: {why}"),
            Self::TimedOut => f.write_str("it did not answer in time"),
            Self::Unusable => f.write_str("what it has cannot be a password"),
        }
    }
}

impl KeyringProblem {
    fn of(error: &zbus::Error) -> Self {
        match error {
            zbus::Error::FDO(error) => match &**error {
                fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => Self::NoService,
                fdo::Error::TimedOut(_) | fdo::Error::NoReply(_) => Self::TimedOut,
                error => Self::Refused(one_line(&error.to_string())),
            },
            zbus::Error::MethodError(name, text, _) => match name.as_str() {
                "org.freedesktop.Secret.Error.IsLocked" => Self::Locked,
                name if name.starts_with("org.freedesktop.DBus.Error.Spawn.") => Self::NoService,
                name => Self::Refused(one_line(text.as_deref().unwrap_or(name))),
            },
            error => Self::Bus(one_line(&error.to_string())),
        }
    }
}

async fn find(keyring: &Keyring) -> Result<SecretString, KeyringProblem> {
    let bus = keyring.bus.as_deref().ok_or(KeyringProblem::NoBus)?;
    let connection = Builder::address(bus).build().await;
    let connection =
        connection.map_err(|error| KeyringProblem::Bus(one_line(&error.to_string())))?;
    let service = Service(&connection);
    let session = service.open_session().await?;
    let mut is_locked = false;
    let mut found = None;
    for attributes in &keyring.attributes {
        let (unlocked, locked) = service.search(attributes).await?;
        found = match (unlocked.first(), locked.is_empty()) {
            (Some(item), _) => Some(item.clone()),
            (None, true) => None,
            (None, false) => service.unlock(&locked).await?,
        };
        if found.is_some() {
            break;
        }
        is_locked |= !locked.is_empty();
    }
    let secret = match &found {
        Some(item) => service.secret(item, &session).await,
        None if is_locked => Err(KeyringProblem::Locked),
        None => Err(KeyringProblem::Missing),
    };
    // The service forgets the session with the connection; this only spares it the wait.
    service
        .call(session.as_str(), "Session", "Close", &())
        .await
        .ok();
    secret
}

/// The methods of the Secret Service API 0.2 that are needed here.
struct Service<'a>(&'a Connection);

impl Service<'_> {
    async fn open_session(&self) -> Result<OwnedObjectPath, KeyringProblem> {
        let body = ("plain", Variant::from(""));
        let reply = self.call(SERVICE, "Service", "OpenSession", &body).await?;
        let (_output, session): (OwnedVariant, OwnedObjectPath) = read(&reply)?;
        Ok(session)
    }

    /// Items that have all of the attributes: those unlocked and those locked.
    async fn search(
        &self,
        attributes: &[(String, String)],
    ) -> Result<(Vec<OwnedObjectPath>, Vec<OwnedObjectPath>), KeyringProblem> {
        let attributes: HashMap<&str, &str> = attributes
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let reply = self.call(SERVICE, "Service", "SearchItems", &attributes);
        read(&reply.await?)
    }

    /// One of the items, if it can be unlocked without asking anybody.
    async fn unlock(
        &self,
        items: &[OwnedObjectPath],
    ) -> Result<Option<OwnedObjectPath>, KeyringProblem> {
        let reply = self.call(SERVICE, "Service", "Unlock", &(items,)).await?;
        let (unlocked, prompt): (Vec<OwnedObjectPath>, OwnedObjectPath) = read(&reply)?;
        if prompt.as_str() != "/" {
            self.call(prompt.as_str(), "Prompt", "Dismiss", &())
                .await
                .ok();
        }
        Ok(unlocked.into_iter().next())
    }

    async fn secret(
        &self,
        item: &OwnedObjectPath,
        session: &OwnedObjectPath,
    ) -> Result<SecretString, KeyringProblem> {
        let reply = self
            .call(item.as_str(), "Item", "GetSecret", &(session,))
            .await?;
        type Secret = (OwnedObjectPath, Vec<u8>, Vec<u8>, String);
        let ((_session, _parameters, value, _type),): (Secret,) = read(&reply)?;
        let value = Zeroizing::new(value);
        if value.len() > LENGTH_LIMIT {
            return Err(KeyringProblem::Unusable);
        }
        first_line(&value).map_err(|_| KeyringProblem::Unusable)
    }

    async fn call<B: serde::Serialize + zbus::DynamicType>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> Result<Message, KeyringProblem> {
        let interface = format!("org.freedesktop.Secret.{interface}");
        let reply = self.0.call_method(
            Some("org.freedesktop.secrets"),
            path,
            Some(interface.as_str()),
            method,
            body,
        );
        reply.await.map_err(|error| KeyringProblem::of(&error))
    }
}

fn read<T: serde::de::DeserializeOwned + zbus::Type>(reply: &Message) -> Result<T, KeyringProblem> {
    let body = reply.body();
    // What is in a reply may be a secret, so nothing of it is in the error.
    body.deserialize_ignore_signature()
        .map_err(|_| KeyringProblem::Refused("its answer makes no sense".to_owned()))
}

/// The words of another program.
fn one_line(text: &str) -> String {
    posthole_proto::text::clean(text.as_bytes()).into_owned()
}

const SERVICE: &str = "/org/freedesktop/secrets";
/// Long enough for the service to be started.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(30);
