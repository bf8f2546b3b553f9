#![allow(
    dead_code,
    reason = "two test binaries share this, and neither uses all of it"
)]
//! What the tests have around them: a server, a client's home, a person, and somebody who notes.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use posthole_core::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use posthole_core::forward::ClientEvent;
use posthole_core::plan::{Hop, HostPort, PasswordSource};
use posthole_core::progress::{Event, Observer, Step};
use posthole_core::transport::BoxStream;
use posthole_core::tunnel::{TunnelError, Tunnels};
use posthole_testkit::ssh::SshServer;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A person who answers what was agreed on, and is at no terminal after that.
#[derive(Default)]
pub(crate) struct Person {
    secrets: Mutex<VecDeque<String>>,
    trusts: Mutex<Option<bool>>,
    gives_up: bool,
    pub(crate) asked: Mutex<Vec<SecretQuestion>>,
    pub(crate) asked_to_trust: Mutex<Vec<HostKeyQuestion>>,
}

impl Person {
    pub(crate) fn absent() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn knowing(secrets: &[&str]) -> Arc<Self> {
        let secrets = secrets.iter().map(|&secret| secret.to_owned()).collect();
        Arc::new(Self {
            secrets: Mutex::new(secrets),
            ..Self::default()
        })
    }

    pub(crate) fn saying(trusts: bool) -> Arc<Self> {
        Arc::new(Self {
            trusts: Mutex::new(Some(trusts)),
            ..Self::default()
        })
    }

    pub(crate) fn giving_up() -> Arc<Self> {
        Arc::new(Self {
            gives_up: true,
            ..Self::default()
        })
    }

    fn shrug(&self) -> Unanswered {
        if self.gives_up {
            Unanswered::Cancelled
        } else {
            Unanswered::NoTerminal
        }
    }
}

impl Ask for Person {
    fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered> {
        self.asked.lock().unwrap().push(question.clone());
        let secret = self.secrets.lock().unwrap().pop_front();
        secret.map(SecretString::from).ok_or_else(|| self.shrug())
    }

    fn trust_host_key(&self, question: &HostKeyQuestion) -> Result<bool, Unanswered> {
        self.asked_to_trust.lock().unwrap().push(question.clone());
        self.trusts.lock().unwrap().ok_or_else(|| self.shrug())
    }

    fn is_anybody_there(&self) -> bool {
        self.gives_up || !self.secrets.lock().unwrap().is_empty()
    }
}

/// Somebody who notes every event.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<(String, Event)>>);

impl Observer for Notes {
    fn event(&self, account: &str, event: &Event) {
        let note = (account.to_owned(), event.clone());
        self.0.lock().unwrap().push(note);
    }
}

impl Notes {
    pub(crate) fn steps(&self) -> Vec<Step> {
        let notes = self.0.lock().unwrap();
        let steps = notes.iter().filter_map(|(_, event)| match event {
            Event::Step { step, .. } => Some(step.clone()),
            _ => None,
        });
        steps.collect()
    }

    /// What a person should know.
    pub(crate) fn notices(&self) -> Vec<String> {
        let notes = self.0.lock().unwrap();
        let notices = notes.iter().filter_map(|(_, event)| match event {
            Event::Notice(text) => Some(text.clone()),
            _ => None,
        });
        notices.collect()
    }

    /// What became of the clients of a forward.
    pub(crate) fn clients(&self) -> Vec<ClientEvent> {
        let notes = self.0.lock().unwrap();
        let events = notes.iter().filter_map(|(_, event)| match event {
            Event::Client(event) => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    /// How the last login was done.
    pub(crate) fn method(&self) -> String {
        let steps = self.steps();
        let method = steps.iter().rev().find_map(|step| match step {
            Step::Authenticated { method, .. } => Some(method.clone()),
            _ => None,
        });
        method.expect("a login was told of")
    }
}

/// A client that knows the host, and tunnels with a person behind them.
pub(crate) struct Client {
    pub(crate) home: tempfile::TempDir,
    pub(crate) hop: Hop,
    pub(crate) tunnels: Tunnels,
    pub(crate) notes: Arc<Notes>,
    pub(crate) target: HostPort,
}

impl Client {
    pub(crate) fn of(server: &SshServer, person: Arc<Person>) -> Self {
        let known = server.known_hosts_line(&server.addr().ip().to_string());
        Self::at(server.addr(), &known, person)
    }

    /// A client of the server at an address, with these lines in its known_hosts.
    pub(crate) fn at(server: SocketAddr, known: &str, person: Arc<Person>) -> Self {
        let home = tempfile::tempdir().unwrap();
        let known_hosts = home.path().join("known_hosts");
        std::fs::write(&known_hosts, known).unwrap();
        let hop = Hop {
            address: HostPort {
                host: server.ip().to_string(),
                port: server.port(),
            },
            known_hosts: vec![known_hosts],
            connect_timeout: Duration::from_secs(20),
            ..Hop::new("popserver", "msingh")
        };
        let notes = Arc::<Notes>::default();
        let observer: Arc<dyn Observer> = Arc::clone(&notes) as Arc<dyn Observer>;
        Self {
            home,
            hop,
            tunnels: Tunnels::new(person, observer),
            notes,
            target: target(),
        }
    }

    pub(crate) fn identity(mut self, path: PathBuf) -> Self {
        self.hop.identities.push(path);
        self.hop.identities_named = true;
        self
    }

    pub(crate) fn given_password(mut self, password: &str) -> Self {
        self.hop.password = PasswordSource::Given {
            origin: "the test".to_owned(),
            secret: SecretString::from(password),
        };
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn known_hosts(&self) -> &Path {
        &self.hop.known_hosts[0]
    }

    pub(crate) async fn open(&self) -> Result<BoxStream, TunnelError> {
        let hops = std::slice::from_ref(&self.hop);
        self.tunnels.open("work", hops, &self.target).await
    }

    pub(crate) async fn error(&self) -> TunnelError {
        match self.open().await {
            Ok(_) => panic!("a channel was opened"),
            Err(error) => error,
        }
    }
}

/// What the servers forward to something.
pub(crate) fn target() -> HostPort {
    HostPort {
        host: "localhost".to_owned(),
        port: 110,
    }
}

/// Starts a server that sends back what it gets, and closes when the client does.
pub(crate) async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.ok();
                writer.shutdown().await.ok();
            });
        }
    });
    address
}

/// Whether a stream carries bytes both ways.
pub(crate) async fn carries(stream: &mut BoxStream) -> bool {
    stream.write_all(b"CAPA\r\n").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    &answer == b"CAPA\r\n"
}
