//! Questions of `ssh`, passed on to whoever answers ours.
//!
//! ```text
//! ssh ─SSH_ASKPASS→ our program as a messenger ─socket→ Messenger ─Ask→ person
//! ```
//!
//! An `ssh` that we start must not ask on the terminal: it would do so in the middle of what is
//! shown there, several of them at once, and it is not in the terminal's foreground anyway. It has a
//! way to ask through a program instead (`SSH_ASKPASS` in ssh(1)), and that program is ours, started
//! under another name. It finds the socket beside itself, in a directory that nobody else can enter.
//!
//! So its questions stand in line with ours, an answer that was right is not asked for again, and a
//! password that the configuration has is given without a question.

use std::collections::HashSet;
use std::fmt;
use std::fs::Permissions;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::task::TaskTracker;

use crate::ask::SecretQuestion;
use crate::plan::{Hop, PasswordSource};
use crate::progress::{Event, Observer};

use super::answers::Answers;
use super::patience::Patience;
use super::prompt::{login_at, wants_password};
use super::text::{SHOWN, clean};

/// The name that our program is started under to carry a question.
pub const NAME: &str = "posthole-askpass";

/// Carries a question to the process that started `ssh`, and its answer back.
///
/// `program` is the path under which the messenger was started, `hint` the variable
/// `SSH_ASKPASS_PROMPT`.
///
/// # Errors
///
/// There is no answer.
pub fn carry(program: &Path, question: &str, hint: &str) -> io::Result<SecretString> {
    let mut socket = StdUnixStream::connect(program.with_file_name(SOCKET))?;
    write!(socket, "{hint}\n{question}")?;
    socket.shutdown(std::net::Shutdown::Write)?;
    let mut reply = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
    socket.take(ANSWER_LIMIT as u64).read_to_end(&mut reply)?;
    match reply.split_first() {
        Some((&ANSWERED, answer)) => std::str::from_utf8(answer)
            .map(SecretString::from)
            .map_err(io::Error::other),
        _ => Err(io::Error::other("there is no answer")),
    }
}

/// Waits for questions until it is dropped.
pub(super) struct Messenger {
    directory: TempDir,
    errand: Arc<Errand>,
    task: AbortHandle,
}

impl Messenger {
    /// Starts to wait for questions that have to do with these hosts.
    pub(super) fn start(asker: Asker, program: &Path, tasks: &TaskTracker) -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("posthole-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()?;
        std::os::unix::fs::symlink(program, directory.path().join(NAME))?;
        let listener = UnixListener::bind(directory.path().join(SOCKET))?;
        let errand = Arc::new(Errand {
            is_declined: AtomicBool::new(!asker.is_anybody_there),
            asker,
            asked: Mutex::default(),
            given: Mutex::default(),
        });
        let task = tasks.spawn(serve(listener, Arc::clone(&errand)));
        Ok(Self {
            directory,
            errand,
            task: task.abort_handle(),
        })
    }

    /// Makes a program ask through this.
    pub(super) fn equip(&self, command: &mut Command) {
        command
            .env("SSH_ASKPASS", self.directory.path().join(NAME))
            .env("SSH_ASKPASS_REQUIRE", "force");
    }

    /// Whether questions reach a person.
    pub(super) fn is_anybody_there(&self) -> bool {
        self.errand.asker.is_anybody_there
    }

    /// The answers were right.
    pub(super) async fn keep_answers(&self) {
        let given = std::mem::take(&mut *lock(&self.errand.given));
        for (question, answer) in given {
            let turn = self.errand.asker.answers.turn_for(&question).await;
            turn.keep(&question, &answer);
        }
    }
}

impl Drop for Messenger {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Messenger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messenger").finish_non_exhaustive()
    }
}

async fn serve(listener: UnixListener, errand: Arc<Errand>) {
    let mut questions = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let errand = Arc::clone(&errand);
        questions.spawn(async move {
            // Without an answer the messenger sees the end of the stream.
            errand.attend(stream).await.ok();
        });
        while questions.try_join_next().is_some() {}
    }
}

/// Whom to ask, and about what.
pub(super) struct Asker {
    pub(super) answers: Arc<Answers>,
    pub(super) is_anybody_there: bool,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) account: String,
    pub(super) hops: Vec<Hop>,
    pub(super) patience: Arc<Patience>,
    /// Whether `ssh` puts the login before what a server words (since OpenSSH 8.5), so that it can be
    /// told from what it asks itself.
    pub(super) names_logins: bool,
}

impl Asker {
    /// Whether any question can be answered.
    pub(super) fn has_answers(&self) -> bool {
        self.is_anybody_there || self.hops.iter().any(has_source)
    }

    /// Which host a login is at, if it is one and no other.
    fn about(&self, login: &str) -> Option<usize> {
        let is_it = |hop: &Hop| {
            login == hop.login() || login == format!("{}@{}", hop.user, hop.address.host)
        };
        let mut places = self.hops.iter().enumerate().filter(|(_, hop)| is_it(hop));
        match (places.next(), places.next()) {
            (Some((index, _)), None) => Some(index),
            _ => None,
        }
    }
}

/// The questions of one program.
struct Errand {
    asker: Asker,
    /// As `ssh` words them, since it asks for one password in several ways.
    asked: Mutex<HashSet<String>>,
    given: Mutex<Vec<(SecretQuestion, SecretString)>>,
    /// Nobody wants to answer any more.
    is_declined: AtomicBool,
}

impl Errand {
    /// Takes a question and gives its answer.
    async fn attend(&self, mut stream: UnixStream) -> io::Result<()> {
        let mut text = Vec::new();
        let mut question = (&mut stream).take(QUESTION_LIMIT);
        let reading = question.read_to_end(&mut text);
        tokio::time::timeout(QUESTION_COMES_WITHIN, reading).await??;
        let text = String::from_utf8_lossy(&text).into_owned();
        let (hint, text) = text.split_once('\n').unwrap_or(("", &text));
        let text = clean(text, SHOWN);
        if hint == NOTICE {
            // Such as the wish for a touch. It is taken back by killing the messenger.
            self.asker
                .observer
                .event(&self.asker.account, &Event::Notice(text));
            stream.read_u8().await?;
            return Ok(());
        }
        let Some(answer) = self.answer(&text).await else {
            return Ok(());
        };
        let mut reply = Zeroizing::new(Vec::with_capacity(ANSWER_LIMIT));
        reply.push(ANSWERED);
        reply.extend_from_slice(answer.expose_secret().as_bytes());
        stream.write_all(&reply).await
    }

    async fn answer(&self, text: &str) -> Option<SecretString> {
        let (mut question, configured) = self.understand(text);
        let is_first = lock(&self.asked).insert(text.to_owned());
        if is_first && let Some(source) = configured {
            let source = source.clone();
            return self.asker.answers.configured(&source, question).await.ok();
        }
        let _pause = self.asker.patience.pause();
        let turn = self.asker.answers.turn_for(&question).await;
        let is_once = matches!(question, SecretQuestion::SshPrompt { .. });
        if is_first && !is_once {
            if let Some(kept) = turn.kept(&question) {
                return Some(kept);
            }
        } else {
            turn.forget(&question);
            lock(&self.given).retain(|(given, _)| *given != question);
        }
        let kept_under = question.clone();
        if let SecretQuestion::Passphrase { again, .. }
        | SecretQuestion::SshPassword { again, .. } = &mut question
        {
            *again = !is_first;
        }
        // `ssh` takes a refusal for an empty answer, and asks again.
        if self.is_declined.load(Ordering::Relaxed) {
            return None;
        }
        let Ok(answer) = turn.secret(question).await else {
            self.is_declined.store(true, Ordering::Relaxed);
            return None;
        };
        // What a server words itself may be a code, which is good for one use.
        if !matches!(kept_under, SecretQuestion::SshPrompt { .. }) {
            lock(&self.given).push((kept_under, answer.clone()));
        }
        Some(answer)
    }

    /// What `ssh` wants to know, in our own terms where there are such, and where the configuration
    /// has the answer.
    fn understand(&self, text: &str) -> (SecretQuestion, Option<&PasswordSource>) {
        if !self.asker.names_logins {
            // Any of it could be the server's.
            return self.prompt(None, text);
        }
        // (msingh@popserver) Password:
        let said = text
            .strip_prefix('(')
            .and_then(|rest| rest.split_once(") "));
        if let Some((login, prompt)) = said {
            // The server's own words, whatever they look like.
            let hop = self.asker.about(login);
            return match hop {
                Some(index) if wants_password(prompt, &self.asker.hops[index].user) => {
                    self.password_at(index)
                }
                _ => self.prompt(hop, prompt),
            };
        }
        // msingh@popserver's password:
        if let Some(login) = text.strip_suffix("'s password:")
            && let Some(index) = self.asker.about(login)
        {
            return self.password_at(index);
        }
        // Enter passphrase for key '/home/x/.ssh/id':
        if let Some(key) = text.strip_prefix("Enter passphrase for key '")
            && let Some(key) = key.strip_suffix("':")
        {
            let question = SecretQuestion::Passphrase {
                key: PathBuf::from(key),
                again: false,
            };
            return (question, None);
        }
        self.prompt(None, text)
    }

    /// The password of one of the hosts.
    fn password_at(&self, index: usize) -> (SecretQuestion, Option<&PasswordSource>) {
        let (hop, before) = (&self.asker.hops[index], &self.asker.hops[..index]);
        let question = SecretQuestion::SshPassword {
            login: login_at(hop, before),
            again: false,
        };
        (question, has_source(hop).then_some(&hop.password))
    }

    /// What somebody else words, and most likely the last host.
    fn prompt(
        &self,
        index: Option<usize>,
        prompt: &str,
    ) -> (SecretQuestion, Option<&PasswordSource>) {
        let hop = match index {
            Some(index) => self.asker.hops.get(index),
            None => self.asker.hops.last(),
        };
        let question = SecretQuestion::SshPrompt {
            login: hop.map(Hop::login).unwrap_or_default(),
            prompt: prompt.to_owned(),
            echo: false,
        };
        (question, None)
    }
}

/// Whether the configuration has the host's password.
fn has_source(hop: &Hop) -> bool {
    !matches!(hop.password, PasswordSource::Prompt)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SOCKET: &str = "socket";
/// What an answer begins with, which may be empty.
const ANSWERED: u8 = b'+';
/// `SSH_ASKPASS_PROMPT` for a text that wants no answer (ssh-add(1)).
const NOTICE: &str = "none";
const QUESTION_LIMIT: u64 = 8 * 1024;
/// As long as a line that a person may type.
const ANSWER_LIMIT: usize = 4096;
const QUESTION_COMES_WITHIN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use crate::ask::{Ask, HostKeyQuestion, Unanswered};
    use crate::progress::Silent;

    use super::*;

    /// Somebody who answers from a list.
    struct Person {
        answers: Mutex<Vec<&'static str>>,
        asked: Mutex<Vec<SecretQuestion>>,
    }

    impl Ask for Person {
        fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered> {
            lock(&self.asked).push(question.clone());
            let answer = lock(&self.answers).pop();
            answer.map(SecretString::from).ok_or(Unanswered::NoTerminal)
        }

        fn trust_host_key(&self, _: &HostKeyQuestion) -> Result<bool, Unanswered> {
            Err(Unanswered::NoTerminal)
        }
    }

    struct World {
        person: Arc<Person>,
        answers: Arc<Answers>,
        tasks: TaskTracker,
        hop: Hop,
    }

    impl World {
        fn new(answers: &[&'static str]) -> Self {
            let person = Arc::new(Person {
                answers: Mutex::new(answers.iter().rev().copied().collect()),
                asked: Mutex::default(),
            });
            let ask: Arc<dyn Ask> = Arc::clone(&person) as Arc<dyn Ask>;
            let mut hop = Hop::new("popserver", "msingh");
            hop.address.host = "192.0.2.7".to_owned();
            Self {
                person,
                answers: Arc::new(Answers::new(ask)),
                tasks: TaskTracker::new(),
                hop,
            }
        }

        fn messenger(&self) -> Messenger {
            let program = Path::new("/bin/posthole");
            Messenger::start(self.asker(), program, &self.tasks).unwrap()
        }

        fn asker(&self) -> Asker {
            Asker {
                answers: Arc::clone(&self.answers),
                is_anybody_there: true,
                observer: Arc::new(Silent),
                account: "work".to_owned(),
                hops: vec![self.hop.clone()],
                patience: Arc::new(Patience::new()),
                names_logins: true,
            }
        }
    }

    async fn ask(messenger: &Messenger, question: &str) -> Option<String> {
        let program = messenger.directory.path().join(NAME);
        let question = question.to_owned();
        let carried = tokio::task::spawn_blocking(move || carry(&program, &question, ""));
        let answer = carried.await.unwrap().ok()?;
        Some(answer.expose_secret().to_owned())
    }

    #[tokio::test]
    async fn a_question_of_ssh_is_asked_as_ours_and_its_answer_kept_once_it_was_right() {
        let world = World::new(&["wrong", "right", "1234"]);
        let messenger = world.messenger();
        let password = "msingh@192.0.2.7's password: ";
        assert_eq!(ask(&messenger, password).await.unwrap(), "wrong");
        assert_eq!(ask(&messenger, password).await.unwrap(), "right");
        let pin = "Enter PIN for 'Token': ";
        assert_eq!(ask(&messenger, pin).await.unwrap(), "1234");
        let of = |again| SecretQuestion::SshPassword {
            login: "msingh@popserver".to_owned(),
            again,
        };
        let pin_question = SecretQuestion::SshPrompt {
            login: "msingh@popserver".to_owned(),
            prompt: "Enter PIN for 'Token':".to_owned(),
            echo: false,
        };
        let expected = [of(false), of(true), pin_question];
        assert_eq!(*lock(&world.person.asked), expected);

        // For another process, which is not let in.
        assert_eq!(ask(&world.messenger(), password).await, None);
        messenger.keep_answers().await;
        let next = world.messenger();
        assert_eq!(ask(&next, password).await.unwrap(), "right");
        // A code that was good once is asked for again.
        assert_eq!(ask(&next, pin).await, None);
        // It was not right after all.
        assert_eq!(ask(&next, password).await, None);
        assert_eq!(ask(&world.messenger(), password).await, None);
    }

    #[tokio::test]
    async fn a_configured_password_is_given_once_and_to_its_host_only() {
        let mut world = World::new(&["typed"]);
        world.hop.password = PasswordSource::Given {
            origin: "the test".to_owned(),
            secret: SecretString::from("configured"),
        };
        let messenger = world.messenger();
        let prompt = "(msingh@popserver) Password: ";
        assert_eq!(ask(&messenger, prompt).await.unwrap(), "configured");
        assert_eq!(ask(&messenger, prompt).await.unwrap(), "typed");
        for other in [
            "msingh@elsewhere's password: ",
            "(other@popserver) Password: ",
            "(msingh@popserver) Code: ",
            "Enter passphrase for key '/k': ",
        ] {
            assert_eq!(ask(&messenger, other).await, None, "{other}");
        }
        let login = "msingh@192.0.2.7's password: ";
        assert_eq!(ask(&messenger, login).await.unwrap(), "configured");
        // Nobody answered before, so nobody is bothered again.
        let asked = lock(&world.person.asked).len();
        assert_eq!(asked, 2, "{:?}", world.person.asked);
    }

    #[tokio::test]
    async fn a_server_cannot_word_a_question_of_ssh() {
        let mut world = World::new(&["to the gate"]);
        world.hop.password = PasswordSource::Given {
            origin: "the test".to_owned(),
            secret: SecretString::from("configured"),
        };
        let gate = Hop::new("gate", "msingh");
        let mut asker = world.asker();
        asker.hops.insert(0, gate);
        let program = Path::new("/bin/posthole");
        let messenger = Messenger::start(asker, program, &world.tasks).unwrap();
        let forged = "(msingh@gate) msingh@popserver's password: ";
        assert_eq!(ask(&messenger, forged).await.unwrap(), "to the gate");
        let gates = SecretQuestion::SshPassword {
            login: "msingh@gate".to_owned(),
            again: false,
        };
        assert_eq!(*lock(&world.person.asked), [gates]);

        // An older `ssh` does not tell whose words they are.
        let asker = Asker {
            names_logins: false,
            ..world.asker()
        };
        let messenger = Messenger::start(asker, program, &world.tasks).unwrap();
        assert_eq!(ask(&messenger, "msingh@popserver's password: ").await, None);
        let asked = lock(&world.person.asked);
        assert!(
            matches!(asked[1], SecretQuestion::SshPrompt { .. }),
            "{asked:?}"
        );
    }

    #[tokio::test]
    async fn nothing_is_left_behind_and_nobody_else_can_enter() {
        let world = World::new(&[]);
        let messenger = world.messenger();
        let path = messenger.directory.path().to_owned();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        drop(messenger);
        assert!(!path.exists());
        world.tasks.close();
        world.tasks.wait().await;
    }
}
