//! Servers that do what they should not, or what they may but rarely do.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthole_core::ask::SecretQuestion;
use posthole_core::plan::HostPort;
use posthole_core::tunnel::{Phase, TunnelError};
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use russh::keys::PrivateKey;
use russh::server::{Auth, ChannelOpenHandle, Handle, Msg, PublicKeyOffer, Response, Session};
use russh::{Channel, ChannelOpenFailure, Disconnect, MethodKind, MethodSet, Preferred};
use russh::{cipher, kex, server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::world::{Client, Person};

/// What the server does.
#[derive(Clone, Default)]
struct Behaviour {
    /// Login methods in the order in which the server wants all of them.
    wants: Vec<MethodKind>,
    /// Prompts of keyboard-interactive, round by round.
    rounds: Vec<Vec<(&'static str, bool)>>,
    /// What it does about any attempt to log in instead.
    on_login: Option<OnLogin>,
    /// Whether it opens channels of all kinds once somebody is logged in.
    opens_channels: bool,
    /// Whether it fills channels to `flood` with data.
    floods: bool,
    /// When it opens channels to `late`, and that they were closed.
    late: Arc<Notify>,
    closed: Arc<Notify>,
}

#[derive(Clone, Copy)]
enum OnLogin {
    Disconnect(&'static str),
    Drop,
}

/// A server of one's own making.
struct Server {
    addr: SocketAddr,
    key: PrivateKey,
    /// How often it could open a channel here.
    opened: Arc<Mutex<Vec<bool>>>,
}

async fn start(behaviour: Behaviour, change: impl FnOnce(&mut server::Config)) -> Server {
    let key = keys::generate(KeyType::Ed25519);
    let mut config = server::Config {
        keys: vec![key.clone()],
        auth_rejection_time: Duration::ZERO,
        ..server::Config::default()
    };
    change(&mut config);
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let opened = Arc::<Mutex<Vec<bool>>>::default();
    let results = Arc::clone(&opened);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let handler = Handler {
                wants: behaviour.wants.iter().copied().collect(),
                rounds: behaviour.rounds.iter().cloned().collect(),
                behaviour: behaviour.clone(),
                opened: Arc::clone(&results),
            };
            let config = Arc::clone(&config);
            tokio::spawn(async move {
                if let Ok(session) = server::run_stream(config, stream, handler).await {
                    session.await.ok();
                }
            });
        }
    });
    Server { addr, key, opened }
}

impl Server {
    fn client(&self, person: Arc<Person>) -> Client {
        let known = keys::known_hosts_line("127.0.0.1", self.addr.port(), self.key.public_key());
        Client::at(self.addr, &known, person).given_password("sesame")
    }
}

struct Handler {
    wants: VecDeque<MethodKind>,
    rounds: VecDeque<Vec<(&'static str, bool)>>,
    behaviour: Behaviour,
    opened: Arc<Mutex<Vec<bool>>>,
}

impl Handler {
    fn judge(&mut self, method: MethodKind, is_right: bool) -> Result<Auth, russh::Error> {
        if let Some(OnLogin::Drop) = self.behaviour.on_login {
            return Err(russh::Error::Disconnect);
        }
        let is_partial = is_right && self.wants.front() == Some(&method);
        if is_partial {
            self.wants.pop_front();
        }
        if is_partial && self.wants.is_empty() {
            return Ok(Auth::Accept);
        }
        let next: Vec<_> = self.wants.front().copied().into_iter().collect();
        Ok(Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(&next[..])),
            partial_success: is_partial,
        })
    }
}

impl server::Handler for Handler {
    type Error = russh::Error;

    async fn auth_none(&mut self, _user: &str) -> Result<Auth, russh::Error> {
        self.judge(MethodKind::None, false)
    }

    async fn auth_password(&mut self, _user: &str, password: &str) -> Result<Auth, russh::Error> {
        self.judge(MethodKind::Password, password == "sesame")
    }

    async fn auth_publickey_offered(
        &mut self,
        _user: &str,
        _offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        Ok(Auth::Accept)
    }

    async fn auth_publickey(
        &mut self,
        _user: &str,
        _key: server::VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        self.judge(MethodKind::PublicKey, true)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        _response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(round) = self.rounds.pop_front() else {
            return self.judge(MethodKind::KeyboardInteractive, true);
        };
        let prompts = round
            .into_iter()
            .map(|(prompt, echo)| (Cow::Borrowed(prompt), echo));
        Ok(Auth::Partial {
            name: Cow::Borrowed(""),
            instructions: Cow::Borrowed("Two of \x07three"),
            prompts: prompts.collect(),
        })
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Result<(), russh::Error> {
        if self.behaviour.opens_channels {
            let (handle, opened) = (session.handle(), Arc::clone(&self.opened));
            tokio::spawn(open_everything(handle, opened));
        }
        if let Some(OnLogin::Disconnect(words)) = self.behaviour.on_login {
            session.disconnect(Disconnect::ByApplication, words, "")?;
        }
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), russh::Error> {
        if host == "nowhere" {
            let reason = "no such \x1b[2Jplace".to_owned();
            reply
                .reject(ChannelOpenFailure::Other { code: 77, reason })
                .await;
            return Ok(());
        }
        if host == "late refusal" {
            let Behaviour { late, closed, .. } = self.behaviour.clone();
            tokio::spawn(async move {
                late.notified().await;
                let reason = "too late".to_owned();
                reply
                    .reject(ChannelOpenFailure::Other { code: 77, reason })
                    .await;
                closed.notify_one();
            });
            return Ok(());
        }
        if host == "late" {
            let Behaviour { late, closed, .. } = self.behaviour.clone();
            tokio::spawn(async move {
                late.notified().await;
                reply.accept().await;
                channel
                    .into_stream()
                    .read_to_end(&mut Vec::new())
                    .await
                    .ok();
                closed.notify_one();
            });
            return Ok(());
        }
        reply.accept().await;
        let floods = self.behaviour.floods && host == "flood";
        tokio::spawn(async move {
            let mut stream = channel.into_stream();
            if floods {
                while stream.write_all(&[b'x'; 32_768]).await.is_ok() {}
            }
            let (mut reader, mut writer) = tokio::io::split(stream);
            tokio::io::copy(&mut reader, &mut writer).await.ok();
        });
        Ok(())
    }
}

async fn open_everything(handle: Handle, opened: Arc<Mutex<Vec<bool>>>) {
    let attempts = [
        handle.channel_open_session().await.is_ok(),
        handle.channel_open_agent().await.is_ok(),
        handle
            .channel_open_direct_tcpip("h", 1, "h", 1)
            .await
            .is_ok(),
        handle.channel_open_direct_streamlocal("/s").await.is_ok(),
        handle
            .channel_open_forwarded_tcpip("h", 1, "h", 1)
            .await
            .is_ok(),
        handle
            .channel_open_forwarded_streamlocal("/s")
            .await
            .is_ok(),
        handle.channel_open_x11("h", 1).await.is_ok(),
    ];
    opened.lock().unwrap().extend(attempts);
}

fn wanting(wants: &[MethodKind]) -> Behaviour {
    Behaviour {
        wants: wants.to_vec(),
        ..Behaviour::default()
    }
}

#[tokio::test]
async fn channels_that_a_server_opens_are_rejected() {
    let behaviour = Behaviour {
        opens_channels: true,
        ..wanting(&[MethodKind::Password])
    };
    let server = start(behaviour, |_| {}).await;
    let client = server.client(Person::absent());
    let mut stream = client.open().await.unwrap();
    while server.opened.lock().unwrap().is_empty() {
        stream.write_all(b".").await.unwrap();
        stream.read_exact(&mut [0]).await.unwrap();
    }
    assert_eq!(*server.opened.lock().unwrap(), [false; 7]);
}

#[tokio::test]
async fn several_methods_in_sequence_log_in() {
    let wants = [
        MethodKind::PublicKey,
        MethodKind::KeyboardInteractive,
        MethodKind::Password,
    ];
    let behaviour = Behaviour {
        rounds: vec![vec![], vec![("User token: ", true), ("PIN: ", false)]],
        ..wanting(&wants)
    };
    let server = start(behaviour, |_| {}).await;
    let person = Person::knowing(&["abc", "1234"]);
    let client = server.client(person.clone());
    let key = keys::generate(KeyType::Ed25519);
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let client = client.identity(path);
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(method.starts_with("publickey ED25519 SHA256:"), "{method}");
    assert!(
        method.ends_with(", then keyboard-interactive, then password"),
        "{method}"
    );
    let prompt = |prompt: &str, echo| SecretQuestion::SshPrompt {
        login: "msingh@popserver".to_owned(),
        prompt: prompt.to_owned(),
        echo,
    };
    let asked = person.asked.lock().unwrap();
    assert_eq!(*asked, [prompt("User token:", true), prompt("PIN:", false)]);
}

#[tokio::test]
async fn a_password_that_was_accepted_does_not_answer_what_comes_after_it() {
    let wants = [MethodKind::Password, MethodKind::KeyboardInteractive];
    let behaviour = Behaviour {
        rounds: vec![vec![("Code: ", false)]],
        ..wanting(&wants)
    };
    let server = start(behaviour, |_| {}).await;
    let person = Person::knowing(&["1234"]);
    let client = server.client(person.clone());
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password, then keyboard-interactive");
    let question = SecretQuestion::SshPrompt {
        login: "msingh@popserver".to_owned(),
        prompt: "Code:".to_owned(),
        echo: false,
    };
    assert_eq!(*person.asked.lock().unwrap(), [question]);
}

#[tokio::test]
async fn a_key_is_not_offered_twice_in_a_sequence() {
    let server = start(
        wanting(&[MethodKind::PublicKey, MethodKind::PublicKey]),
        |_| {},
    )
    .await;
    let client = server.client(Person::absent());
    let key = keys::generate(KeyType::Ed25519);
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let mut client = client.identity(path);
    let error = client.error().await;
    assert!(
        matches!(error, TunnelError::AuthenticationFailed(_)),
        "{error}"
    );

    let second = keys::generate(KeyType::Ed25519);
    let path = keys::write(client.path("id2"), &second, KeyFormat::OpenSsh, None);
    client = client.identity(path);
    client.open().await.unwrap();
}

#[tokio::test]
async fn endless_prompts_come_to_an_end() {
    let behaviour = Behaviour {
        rounds: vec![vec![]; 100],
        ..wanting(&[MethodKind::KeyboardInteractive])
    };
    let server = start(behaviour, |_| {}).await;
    let error = server.client(Person::absent()).error().await;
    assert!(
        error.to_string().contains("does not stop asking"),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_lost_during_the_login_is_not_a_refusal() {
    let behaviour = Behaviour {
        on_login: Some(OnLogin::Drop),
        ..wanting(&[MethodKind::Password])
    };
    let server = start(behaviour, |_| {}).await;
    let error = server.client(Person::absent()).error().await;
    let TunnelError::ConnectionLost { during, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*during, Phase::Authentication);
    assert!(error.is_temporary());
}

#[tokio::test]
async fn the_parting_words_of_a_server_are_passed_on_cleaned() {
    let behaviour = Behaviour {
        on_login: Some(OnLogin::Disconnect("go\x1b[1m away")),
        ..wanting(&[MethodKind::Password])
    };
    let server = start(behaviour, |_| {}).await;
    let error = server.client(Person::absent()).error().await.to_string();
    assert!(
        error.contains("the server disconnected: go?[1m away"),
        "{error}"
    );
}

#[tokio::test]
async fn chacha_without_strict_key_exchange_is_given_up_for_counter_mode() {
    // As Dropbear 2022: no strict key exchange, no GCM.
    let server = start(wanting(&[MethodKind::Password]), |config| {
        config.preferred = Preferred {
            kex: Cow::Borrowed(&[kex::CURVE25519]),
            cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]),
            ..Preferred::DEFAULT
        };
    });
    server.await.client(Person::absent()).open().await.unwrap();

    let server = start(wanting(&[MethodKind::Password]), |config| {
        config.preferred = Preferred {
            kex: Cow::Borrowed(&[kex::CURVE25519]),
            cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305]),
            ..Preferred::DEFAULT
        };
    });
    let error = server.await.client(Person::absent()).error().await;
    let text = error.to_string();
    assert!(
        text.contains("no cipher in common; the server offers chacha20"),
        "{text}"
    );
}

#[tokio::test]
async fn configured_ciphers_are_given_up_like_ours_without_strict_key_exchange() {
    let server = start(wanting(&[MethodKind::Password]), |config| {
        config.preferred = Preferred {
            kex: Cow::Borrowed(&[kex::CURVE25519]),
            cipher: Cow::Borrowed(&[cipher::CHACHA20_POLY1305, cipher::AES_256_CTR]),
            ..Preferred::DEFAULT
        };
    })
    .await;
    let mut client = server.client(Person::absent());
    let chacha = "chacha20-poly1305@openssh.com".to_owned();
    client.hop.algorithms.ciphers = Some(vec![chacha.clone(), "aes256-ctr".to_owned()]);
    client.open().await.unwrap();

    client.hop.algorithms.ciphers = Some(vec![chacha]);
    let error = client.error().await;
    assert_eq!(
        error.to_string(),
        "cannot talk SSH with popserver: no cipher is safe without strict key exchange"
    );
}

#[tokio::test]
async fn a_list_without_anything_built_in_is_explained_before_a_connection_is_made() {
    let mut client = Client::at(([127, 0, 0, 1], 1).into(), "", Person::absent());
    let names = ["sntrup761x25519-sha512", "kex-of-tomorrow"];
    client.hop.algorithms.key_exchanges = Some(names.map(str::to_owned).to_vec());
    let error = client.error().await;
    assert_eq!(
        error.to_string(),
        "cannot talk SSH with popserver: no key exchange method allowed is built in: \
         sntrup761x25519-sha512, kex-of-tomorrow"
    );
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("backend = \"openssh\" in [ssh.popserver]"),
        "{hint}"
    );
}

#[tokio::test]
async fn chacha_with_strict_key_exchange_is_fine() {
    let server = start(wanting(&[MethodKind::Password]), |config| {
        config.preferred.cipher = Cow::Borrowed(&[cipher::CHACHA20_POLY1305]);
    });
    server.await.client(Person::absent()).open().await.unwrap();
}

#[tokio::test]
async fn the_reason_of_a_refused_channel_is_shown_cleaned() {
    let server = start(wanting(&[MethodKind::Password]), |_| {}).await;
    let mut client = server.client(Person::absent());
    client.target.host = "nowhere".to_owned();
    let error = client.error().await.to_string();
    assert_eq!(
        error,
        "popserver could not open a channel to nowhere:110: reason 77: no such ?[2Jplace"
    );
}

/// Pitfall of russh: all channels of a connection pass through one task, which waits for a reader.
#[tokio::test]
async fn dropping_an_unread_channel_lets_the_others_go_on() {
    let behaviour = Behaviour {
        floods: true,
        ..wanting(&[MethodKind::Password])
    };
    let server = start(behaviour, |_| {}).await;
    let client = server.client(Person::absent());
    let hops = std::slice::from_ref(&client.hop);
    let flood = HostPort {
        host: "flood".to_owned(),
        port: 110,
    };
    let mut unread = client.tunnels.open("work", hops, &flood).await.unwrap();
    unread.read_exact(&mut [0; 1]).await.unwrap();
    let other = client.open();
    tokio::pin!(other);
    tokio::select! {
        _ = &mut other => panic!("the flood did not stop anything"),
        () = tokio::time::sleep(Duration::from_millis(300)) => {}
    }
    drop(unread);
    let mut stream = other.await.unwrap();
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
}

#[tokio::test]
async fn a_channel_that_opens_when_nobody_waits_any_more_is_closed() {
    let behaviour = wanting(&[MethodKind::Password]);
    let server = start(behaviour.clone(), |_| {}).await;
    let mut client = server.client(Person::absent());
    client.open().await.unwrap();
    client.hop.connect_timeout = Duration::from_millis(300);
    client.hop.compression = true;
    client.target.host = "late".to_owned();
    let error = client.error().await;
    assert!(matches!(error, TunnelError::Timeout { .. }), "{error}");
    behaviour.late.notify_one();
    behaviour.closed.notified().await;
}

#[tokio::test]
async fn the_words_of_a_refusal_that_came_too_late_are_not_taken_for_another_ones() {
    let behaviour = wanting(&[MethodKind::Password]);
    let server = start(behaviour.clone(), |_| {}).await;
    let mut client = server.client(Person::absent());
    client.hop.connect_timeout = Duration::from_millis(500);
    // So that the connection stays.
    let mut other = client.open().await.unwrap();
    client.target.host = "late refusal".to_owned();
    let error = client.error().await;
    assert!(matches!(error, TunnelError::Timeout { .. }), "{error}");
    behaviour.late.notify_one();
    behaviour.closed.notified().await;
    // The refusal has arrived when this has.
    other.write_all(b"x").await.unwrap();
    other.read_exact(&mut [0]).await.unwrap();
    client.target.host = "nowhere".to_owned();
    let error = client.error().await.to_string();
    assert!(error.ends_with("reason 77: no such ?[2Jplace"), "{error}");
}
