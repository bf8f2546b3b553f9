//! What the SSH server answers to one client.

use std::borrow::Cow;
use std::sync::Arc;

use russh::keys::PublicKey;
use russh::server::{
    Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelOpenFailure, MethodKind, MethodSet, server};
use tokio::net::TcpStream;

use super::{Attempt, ChannelRequest, Login, Shared, Target, lock};
use crate::keys;

pub(super) struct Handler {
    shared: Arc<Shared>,
    connection: u64,
    user: String,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>, connection: u64) -> Self {
        Self {
            shared,
            connection,
            user: String::new(),
        }
    }

    /// Notes an attempt and answers it.
    fn judge(
        &mut self,
        user: &str,
        method: &'static str,
        key: Option<(String, &PublicKey)>,
        accepted: bool,
    ) -> Auth {
        lock(&self.shared.attempts).push(Attempt {
            connection: self.connection,
            user: user.to_owned(),
            method,
            key: key.map(|(algorithm, key)| (algorithm, keys::fingerprint(key))),
            accepted,
        });
        if accepted {
            user.clone_into(&mut self.user);
            return Auth::Accept;
        }
        Auth::Reject {
            proceed_with_methods: Some(methods(&self.shared.login(user))),
            partial_success: false,
        }
    }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        Ok(lock(&self.shared.settings).banner.clone())
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        Ok(self.judge(user, "none", None, false))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let accepted = self.shared.login(user).password.as_deref() == Some(password);
        Ok(self.judge(user, "password", None, accepted))
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let accepted = has_key(&self.shared.login(user), offer.public_key);
        let key = (offer.algorithm.to_string(), offer.public_key);
        Ok(self.judge(user, "publickey-offer", Some(key), accepted))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        // SHA-1 signatures are what OpenSSH has refused since 8.8.
        let sha1 = key.algorithm.as_str() == "ssh-rsa";
        let accepted = !sha1 && has_key(&self.shared.login(user), key.public_key);
        let key = (key.algorithm.to_string(), key.public_key);
        Ok(self.judge(user, "publickey", Some(key), accepted))
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some((prompt, answer)) = self.shared.login(user).keyboard_interactive else {
            return Ok(self.judge(user, "keyboard-interactive", None, false));
        };
        let Some(mut answers) = response else {
            return Ok(Auth::Partial {
                name: Cow::Borrowed(""),
                instructions: Cow::Borrowed(""),
                prompts: Cow::Owned(vec![(Cow::Owned(prompt), false)]),
            });
        };
        let accepted = answers
            .next()
            .is_some_and(|given| given == answer.as_bytes());
        Ok(self.judge(user, "keyboard-interactive", None, accepted))
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let mut request = ChannelRequest {
            connection: self.connection,
            user: self.user.clone(),
            host: host.to_owned(),
            port,
            opened: false,
        };
        let target = self.shared.target(host, port);
        let shared = Arc::clone(&self.shared);
        // Not here: a handler that waits holds up the whole connection.
        drop(tokio::spawn(async move {
            let refusal = match target {
                Target::Connect(address) => match TcpStream::connect(address).await {
                    Ok(stream) => {
                        request.opened = true;
                        lock(&shared.channels).push(request);
                        stream.set_nodelay(true).ok();
                        reply.accept().await;
                        forward(channel, stream).await;
                        return;
                    }
                    Err(_) => ChannelOpenFailure::ConnectFailed,
                },
                Target::Ignore => {
                    lock(&shared.channels).push(request);
                    // Holds the reply, because dropping it is a refusal.
                    return std::future::pending().await;
                }
                Target::Refuse(reason) => reason,
            };
            lock(&shared.channels).push(request);
            reply.reject(refusal).await;
        }));
        Ok(())
    }

    async fn channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        lock(&self.shared.misplaced).push("session".to_owned());
        reply
            .reject(ChannelOpenFailure::AdministrativelyProhibited)
            .await;
        Ok(())
    }

    async fn tcpip_forward(
        &mut self,
        address: &str,
        port: &mut u32,
        _session: &mut Session,
    ) -> Result<bool, Self::Error> {
        lock(&self.shared.misplaced).push(format!("tcpip-forward {address}:{port}"));
        Ok(false)
    }
}

/// Carries bytes both ways, with half-closes, until both sides are done or one fails.
async fn forward(channel: Channel<Msg>, mut stream: TcpStream) {
    let mut channel = channel.into_stream();
    if tokio::io::copy_bidirectional(&mut channel, &mut stream)
        .await
        .is_err()
    {
        // One side broke off: the other is to see more than an end of file.
        stream.set_zero_linger().ok();
    }
}

fn has_key(login: &Login, key: &PublicKey) -> bool {
    // Not by `==`, which compares comments too.
    login
        .keys
        .iter()
        .any(|known| known.key_data() == key.key_data())
}

fn methods(login: &Login) -> MethodSet {
    let mut methods = MethodSet::empty();
    if !login.keys.is_empty() {
        methods.push(MethodKind::PublicKey);
    }
    if login.keyboard_interactive.is_some() {
        methods.push(MethodKind::KeyboardInteractive);
    }
    if login.password.is_some() {
        methods.push(MethodKind::Password);
    }
    if methods.is_empty() {
        // As an sshd that does not tell who exists.
        methods.push(MethodKind::PublicKey);
        methods.push(MethodKind::Password);
    }
    methods
}
