//! The control socket: how other processes of the same user talk to the daemon.
//!
//! A Unix socket among the records, mode 0600. Who connects must be the daemon's own user, or root,
//! by what the kernel says of the peer (SO_PEERCRED). A request is one line of JSON, and so is its
//! reply; a connection may carry many, one after another. The line of an answer to a question holds
//! a secret, so the line and the answer are wiped; what the reader of JSON and the buffer of the
//! socket keep for a moment is not.

use std::fs::{File, Permissions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::Handle;
use super::status::Status;
use crate::ask::SecretQuestion;

/// What the daemon can be asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Request {
    /// Takes an answer to a question.
    Answer {
        /// The question.
        question: SecretQuestion,
        /// Its answer.
        #[serde(with = "secret")]
        answer: SecretString,
    },
    /// Polls nobody from now on.
    Pause {
        /// Whether `wake` ends it.
        until_wake: bool,
    },
    /// Says what is to be asked.
    Questions {
        /// Whether to wait until there is a question, or nobody left who may have one.
        wait: bool,
    },
    /// Reads the configuration again.
    Reload {
        /// The agent's socket, as the one who asks knows it.
        agent: Option<PathBuf>,
    },
    /// Polls again.
    Resume,
    /// Says how everything is.
    Status,
    /// Ends the daemon.
    Stop,
    /// Polls all accounts now, or one.
    Wake {
        /// Which one; none is all.
        account: Option<String>,
    },
}

/// What the daemon answers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// It is done.
    Done {
        /// What there is to say about it.
        text: String,
    },
    /// It cannot be done.
    Failed {
        /// Why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
        /// All that there is to say about it, on many lines.
        details: Option<String>,
    },
    /// What is to be asked.
    Questions {
        /// The questions.
        questions: Vec<SecretQuestion>,
    },
    /// How everything is.
    Status {
        /// That.
        status: Box<Status>,
    },
}

impl Reply {
    pub(super) fn done(text: impl Into<String>) -> Self {
        Self::Done { text: text.into() }
    }

    pub(super) fn failed(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Failed {
            message: message.into(),
            hint: hint.map(str::to_owned),
            details: None,
        }
    }
}

/// A secret on its way through the socket.
mod secret {
    use secrecy::{ExposeSecret, SecretString};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        secret: &SecretString,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(secret.expose_secret())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<SecretString, D::Error> {
        String::deserialize(deserializer).map(SecretString::from)
    }
}

/// Listens for requests. Dropping it removes the socket.
#[derive(Debug)]
pub(super) struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Listens. Whoever calls this holds the daemon's lock, so a socket that is there is a dead
    /// one's.
    pub(super) fn bind(state_dir: &Path) -> io::Result<Self> {
        let path = socket(state_dir);
        let fresh = state_dir.join("control.new");
        for old in [&path, &fresh] {
            match std::fs::symlink_metadata(old) {
                Ok(metadata) if metadata.file_type().is_socket() => std::fs::remove_file(old)?,
                Ok(_) => {
                    let text = format!("{} is there and is no socket", old.display());
                    return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
                }
                Err(_) => {}
            }
        }
        let listener = reachable(&fresh, |path| UnixListener::bind(path))?;
        // It gets its name only once nobody else can open it.
        std::fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
        std::fs::rename(&fresh, &path)?;
        Ok(Self { listener, path })
    }

    /// Serves whoever connects, until this is dropped.
    pub(super) async fn serve(self, handle: Handle) {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("cannot accept a connection to the control socket: {error}");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else {
                // Whoever it is sees the connection end, and can come again.
                continue;
            };
            let handle = handle.clone();
            tokio::task::spawn_local(async move {
                if let Err(error) = converse(stream, &handle).await {
                    tracing::debug!("control socket: {error}");
                }
                drop(place);
            });
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // If it cannot be removed, the next daemon does.
        std::fs::remove_file(&self.path).ok();
    }
}

async fn converse(stream: UnixStream, handle: &Handle) -> io::Result<()> {
    let peer = stream.peer_cred()?;
    let us = rustix::process::geteuid().as_raw();
    let mut stream = tokio::io::BufReader::new(stream);
    if peer.uid() != us && peer.uid() != 0 {
        tracing::warn!(
            "user {} was turned away from the control socket",
            peer.uid()
        );
        let refusal = Reply::failed("this daemon belongs to another user", None);
        return say(&mut stream, &refusal).await;
    }
    loop {
        let mut line = Zeroizing::new(Vec::with_capacity(LINE));
        let mut limited = (&mut stream).take(LINE as u64);
        let reading = limited.read_until(b'\n', &mut line);
        let Ok(count) = tokio::time::timeout(IDLE, reading).await else {
            return Ok(());
        };
        if count? == 0 {
            return Ok(());
        }
        let request = serde_json::from_slice::<Request>(&line);
        drop(line);
        match request {
            Ok(request) => say(&mut stream, &handle.ask(request).await).await?,
            // What follows may be the rest of it. The words of the error could quote a secret.
            Err(error) => {
                let message = format!("this request is not understood (column {})", error.column());
                let hint = "the program and the daemon may be of different versions: restart the \
                            daemon";
                return say(&mut stream, &Reply::failed(message, Some(hint))).await;
            }
        }
    }
}

async fn say(stream: &mut tokio::io::BufReader<UnixStream>, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    tokio::time::timeout(SLOWEST, stream.write_all(&line))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A connection to the daemon, from another process. Its methods block.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<StdStream>,
}

impl Client {
    /// Connects to the daemon that has these records.
    ///
    /// # Errors
    /// [`NotRunning`](ClientError::NotRunning) when there is none.
    pub fn connect(state_dir: &Path) -> Result<Self, ClientError> {
        let path = socket(state_dir);
        let connected = reachable(&path, |path| StdStream::connect(path));
        match connected {
            Ok(stream) => Ok(Self {
                stream: BufReader::new(stream),
            }),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Err(ClientError::NotRunning { path })
            }
            Err(source) => Err(ClientError::Connect { path, source }),
        }
    }

    /// Asks, and waits for the reply.
    ///
    /// # Errors
    /// When the connection is lost, or the daemon says something that is not understood.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        // Large enough, so that no copy of a secret is left behind when it grows.
        let mut line = Zeroizing::new(Vec::with_capacity(LINE));
        serde_json::to_writer(&mut *line, request).map_err(|_| ClientError::Garbled)?;
        line.push(b'\n');
        self.stream
            .get_mut()
            .write_all(&line)
            .map_err(ClientError::Lost)?;
        let mut line = Vec::new();
        self.stream
            .read_until(b'\n', &mut line)
            .map_err(ClientError::Lost)?;
        if line.is_empty() {
            return Err(ClientError::Lost(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&line).map_err(|_| ClientError::Garbled)
    }
}

impl Client {
    /// Tells the daemon to stop, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be told.
    pub fn stop(mut self) -> Result<(), ClientError> {
        let request = serde_json::to_vec(&Request::Stop).map_err(|_| ClientError::Garbled)?;
        let stream = self.stream.get_mut();
        let told = stream.write_all(&[&request[..], b"\n"].concat());
        told.map_err(ClientError::Lost)?;
        // Its reply, and then the end of the connection; or the end at once, if it was quick.
        let read = io::copy(&mut self.stream, &mut io::sink());
        match read {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => {
                Err(ClientError::Lost(error))
            }
            _ => Ok(()),
        }
    }
}

/// Why the daemon could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The socket cannot be used.
    #[error("cannot talk to the daemon at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The daemon says something that is not understood.
    #[error("the daemon's answer is not understood")]
    Garbled,
    /// The connection was lost.
    #[error("lost the connection to the daemon")]
    Lost(#[source] io::Error),
    /// There is no daemon.
    #[error("no daemon is running (nothing listens at {})", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
}

impl ClientError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("only the user whose daemon it is can talk to it, and root")
            }
            Self::Connect { .. } | Self::Lost(_) => None,
            Self::Garbled => Some("the daemon may be of another version: restart it"),
            Self::NotRunning { .. } => Some(
                "start it with `posthole daemon`, or name the directory of its records with \
                 --state-dir",
            ),
        }
    }
}

/// Where the socket is.
fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control")
}

/// Runs something with a socket's path, which may be longer than the kernel takes (unix(7)).
fn reachable<T>(path: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return open(path);
    };
    if path.as_os_str().len() <= LONGEST_PATH || !cfg!(target_os = "linux") {
        return open(path);
    }
    let directory = File::open(parent)?;
    let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
    open(&Path::new(&short).join(name))
}

/// `sun_path` is the shortest on the BSDs.
const LONGEST_PATH: usize = 100;
/// Two lines of this size at a time for each connection; the longest password makes one of a third.
pub(crate) const LINE: usize = 64 * 1024;
pub(crate) const CONNECTIONS: usize = 32;
/// Who watches asks every second, and a person at a question has to type.
const IDLE: Duration = Duration::from_secs(3600);
/// Who does not read is no reason to keep a reply.
const SLOWEST: Duration = Duration::from_secs(10);
