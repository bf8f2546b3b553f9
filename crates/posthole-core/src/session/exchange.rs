//! A SASL mechanism for a login, made and driven away from the network.

use posthole_proto::sasl::{
    Authentication, Binding, CramMd5, Exchange, External, Failure, Hash, Mechanism, OAuthBearer,
    Plain, Scram, XOAuth2,
};
use secrecy::SecretSlice;

use super::Login;

/// Begins with a mechanism, away from the network: Kerberos talks to its servers then.
pub(crate) async fn start(
    mechanism: Mechanism,
    login: &Login<'_>,
) -> Result<Authentication, Failure> {
    let exchange = exchange(mechanism, login)?;
    let starting = tokio::task::spawn_blocking(move || Authentication::new(mechanism, exchange));
    match starting.await {
        Ok(result) => result,
        Err(error) => Err(stopped(error)),
    }
}

/// Works out a response away from the network: SCRAM takes a while by design.
pub(crate) async fn respond(
    mut authentication: Authentication,
    challenge: Option<Vec<u8>>,
) -> Result<(Authentication, Result<SecretSlice<u8>, Failure>), Failure> {
    let responding = tokio::task::spawn_blocking(move || {
        let response = authentication.respond(challenge.as_deref());
        (authentication, response)
    });
    responding.await.map_err(stopped)
}

/// Goes on with a panic. Only a runtime that shuts down cancels such a task.
fn stopped(error: tokio::task::JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => Failure::Library("the program is shutting down".to_owned()),
    }
}

fn exchange(mechanism: Mechanism, login: &Login<'_>) -> Result<Box<dyn Exchange>, Failure> {
    let (user, secret) = (login.user, &login.secret);
    Ok(match mechanism {
        Mechanism::CramMd5 => Box::new(CramMd5::new(user, secret)),
        Mechanism::External => Box::new(External::new(user)?),
        Mechanism::Gssapi => gssapi(login)?,
        Mechanism::Login => Box::new(posthole_proto::sasl::Login::new(user, secret)),
        Mechanism::OAuthBearer => Box::new(OAuthBearer::new(user, login.host, login.port, secret)?),
        Mechanism::Plain => Box::new(Plain::new(user, secret)?),
        Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => scram(mechanism, Hash::Sha1, login)?,
        Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
            scram(mechanism, Hash::Sha256, login)?
        }
        Mechanism::XOAuth2 => Box::new(XOAuth2::new(user, secret)?),
    })
}

#[cfg(feature = "gssapi")]
fn gssapi(login: &Login<'_>) -> Result<Box<dyn Exchange>, Failure> {
    Ok(Box::new(super::gssapi::Gssapi::new(login.user, login.host)))
}

#[cfg(not(feature = "gssapi"))]
fn gssapi(_login: &Login<'_>) -> Result<Box<dyn Exchange>, Failure> {
    Err(Failure::Library(
        "it was left out when posthole was built".to_owned(),
    ))
}

fn scram(
    mechanism: Mechanism,
    hash: Hash,
    login: &Login<'_>,
) -> Result<Box<dyn Exchange>, Failure> {
    let is_plus = matches!(
        mechanism,
        Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus
    );
    let binding = match login.privacy.bindings().first() {
        Some(binding) if is_plus => Binding::Used(binding.clone()),
        Some(_) if !login.offers_plus => Binding::NotOffered,
        _ => Binding::Unsupported,
    };
    Ok(Box::new(Scram::new(
        hash,
        login.user,
        &login.secret,
        &nonce()?,
        &binding,
    )?))
}

/// Enough random octets that no two logins have the same (RFC 5802 §5.1).
fn nonce() -> Result<String, Failure> {
    let mut octets = [0; 18];
    getrandom::fill(&mut octets)
        .map_err(|error| Failure::Library(format!("there are no random numbers: {error}")))?;
    Ok(data_encoding::BASE64.encode(&octets))
}
