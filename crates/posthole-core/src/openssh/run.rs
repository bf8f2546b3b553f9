//! Running `ssh -G`.
//!
//! The hard part is to come back: a `Match exec` may hang, and what it leaves behind may hold the
//! pipes open. Time and output are limited, and the whole process group is killed when time runs
//! out. Nothing can be asked on a terminal from there, since a background group may not read it.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::exec;

use super::{Answer, Files, OpenSsh, OpenSshError, Query, evidence};

/// The `ssh` of `PATH`, asked no question twice.
///
/// It gets this process's environment as it is, and finds the person's configuration by itself.
#[derive(Debug)]
pub struct Ssh {
    program: PathBuf,
    limit: Duration,
    answers: Mutex<HashMap<Query, Asked>>,
}

type Asked = Result<Option<Arc<Answer>>, OpenSshError>;

impl Ssh {
    /// Asked nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of("ssh".into(), TIME_LIMIT)
    }

    /// Another program in the place of `ssh`.
    pub(super) fn of(program: PathBuf, limit: Duration) -> Self {
        Self {
            program,
            limit,
            answers: Mutex::default(),
        }
    }

    fn ask(&self, query: &Query) -> Asked {
        // Every host came through the rules for names, but here is where it would do harm.
        if query.host.starts_with('-') {
            return Err(OpenSshError::Host);
        }
        let started = Instant::now();
        let Some(printed) = self.run(query, probe(query.files).as_deref())? else {
            return Ok(None);
        };
        let mut answer = Answer::parse(&printed);
        if let Some(reason) = answer.get("refuseconnection").filter(|why| *why != "none") {
            return Err(OpenSshError::Forbidden {
                host: query.host.clone(),
                reason: one_line(reason.as_bytes()),
            });
        }
        for keyword in ["certificatefile", "identityfile"] {
            self.expand(query, keyword, &mut answer)?;
        }
        let took = started.elapsed();
        tracing::debug!(host = query.host, ?took, "asked ssh -G");
        Ok(Some(Arc::new(answer)))
    }

    /// Expands tokens and variables that `ssh -G` leaves as they are.
    ///
    /// It expands those of `ControlPath`, which knows the same ones (ssh_config(5), TOKENS), so it
    /// is asked again with each value in that place. Few configurations have any.
    fn expand(
        &self,
        query: &Query,
        keyword: &str,
        answer: &mut Answer,
    ) -> Result<(), OpenSshError> {
        let needs_it = |value: &String| {
            let is_somebodys = value.starts_with('~') && value != "~" && !value.starts_with("~/");
            is_somebodys || value.contains('%') || value.contains("${")
        };
        if !answer.all(keyword).iter().any(needs_it) {
            return Ok(());
        }
        let mut values = Vec::new();
        for value in answer.all(keyword) {
            // A quote in the value could not be told from those around it.
            if !needs_it(value) || value.contains(['"', '\\']) {
                values.push(value.clone());
                continue;
            }
            let printed = self.run(query, Some(value))?.unwrap_or_default();
            let expanded = Answer::parse(&printed);
            let expanded = expanded.get("controlpath").unwrap_or(value);
            values.push(expanded.to_owned());
        }
        answer.replace(keyword, values);
        Ok(())
    }

    /// What `ssh -G` prints; `None` if there is no such program, or none that works for this user.
    fn run(
        &self,
        query: &Query,
        control_path: Option<&str>,
    ) -> Result<Option<String>, OpenSshError> {
        let arguments = arguments(query, control_path);
        let host = || query.host.clone();
        let ended = match run(self.program.as_os_str(), &arguments, self.limit) {
            Ok(ended) => ended,
            Err(NotEnded::Spawn(error)) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            Err(NotEnded::Spawn(error)) => {
                let source = Arc::new(error);
                return Err(OpenSshError::NotRun { source });
            }
            Err(NotEnded::TooLong) => return Err(OpenSshError::TooLong { host: host() }),
            Err(NotEnded::TimedOut { stderr }) => {
                return Err(OpenSshError::TimedOut {
                    host: host(),
                    limit: self.limit,
                    stderr: one_line(&stderr),
                });
            }
        };
        if ended.status.success() {
            return Ok(Some(String::from_utf8_lossy(&ended.stdout).into_owned()));
        }
        let stderr = one_line(&ended.stderr);
        // In a container, say, whose user is but a number: there, ssh does not work at all.
        if stderr.contains(NO_USER) {
            return Ok(None);
        }
        Err(OpenSshError::Failed {
            host: host(),
            status: ended.status,
            stderr,
        })
    }
}

impl Default for Ssh {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenSsh for Ssh {
    fn answer(&self, query: &Query) -> Asked {
        let answers = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = answers().get(query) {
            return known.clone();
        }
        let defaults = Query::defaults();
        if query.files == Files::All && !answers().contains_key(&defaults) {
            // Whoever asks for the one needs the other; together they take no longer than one.
            let (asked, without) = thread::scope(|scope| {
                let without = scope.spawn(|| self.ask(&defaults));
                let asked = self.ask(query);
                // INVARIANT: asking does not panic.
                (asked, without.join().expect("the thread returns"))
            });
            answers().insert(defaults, without);
            answers().insert(query.clone(), asked.clone());
            return asked;
        }
        let asked = self.ask(query);
        answers().insert(query.clone(), asked.clone());
        asked
    }

    fn is_there(&self, path: &Path) -> bool {
        path.exists()
    }

    fn is_security_key(&self, identity: &Path) -> Option<bool> {
        evidence::is_security_key(identity)
    }

    fn has_kerberos_ticket(&self, cache: Option<&OsStr>) -> bool {
        evidence::has_kerberos_ticket(cache)
    }
}

/// Without any configuration, `ControlPath` is free to tell the home directory that `ssh` expands
/// `~` to: the user database's, whatever `HOME` says.
fn probe(files: Files) -> Option<String> {
    (files == Files::None).then(|| "%d".to_owned())
}

fn arguments(query: &Query, control_path: Option<&str>) -> Vec<String> {
    let Query {
        host,
        user,
        port,
        hostname,
        is_behind,
        files,
        arguments: others,
    } = query;
    // -T, since it would remark upon the terminal that it has not got.
    let mut arguments: Vec<String> = vec!["-G".into(), "-T".into()];
    let mut push = |option: &str, value: String| {
        arguments.push(option.to_owned());
        arguments.push(value);
    };
    match files {
        Files::All => {}
        Files::None => push("-F", "/dev/null".to_owned()),
        Files::System if Path::new(SYSTEM_FILE).exists() => push("-F", SYSTEM_FILE.to_owned()),
        Files::System => push("-F", "/dev/null".to_owned()),
    }
    if let Some(port) = port {
        push("-p", port.to_string());
    }
    if let Some(user) = user {
        push("-l", user.clone());
    }
    if let Some(hostname) = hostname {
        push("-o", format!("HostName={hostname}"));
    }
    if *is_behind {
        // The first value of a keyword counts, and this one shuts out a ProxyCommand as well.
        push("-o", "ProxyJump=none".to_owned());
    }
    arguments.extend_from_slice(others);
    if let Some(path) = control_path {
        arguments.push("-o".to_owned());
        arguments.push(format!("ControlPath=\"{path}\""));
    }
    arguments.push("--".to_owned());
    arguments.push(host.clone());
    arguments
}

pub(super) struct Ended {
    pub(super) status: ExitStatus,
    stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

pub(super) enum NotEnded {
    Spawn(io::Error),
    TooLong,
    TimedOut { stderr: Vec<u8> },
}

/// Runs a program without standard input to its end.
pub(super) fn run(
    program: &OsStr,
    arguments: &[String],
    limit: Duration,
) -> Result<Ended, NotEnded> {
    exec::find(program, None).map_err(NotEnded::Spawn)?;
    let deadline = Instant::now() + limit;
    let mut child = exec::program(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(NotEnded::Spawn)?;
    let stdout = Reading::start(child.stdout.take());
    let stderr = Reading::start(child.stderr.take());
    let status = wait(&mut child, deadline);
    let Some(status) = status.map_err(NotEnded::Spawn)? else {
        kill(&mut child);
        let stderr = stderr.finish();
        return Err(NotEnded::TimedOut { stderr });
    };
    let stdout = stdout.finish();
    if stdout.len() > OUTPUT_LIMIT {
        return Err(NotEnded::TooLong);
    }
    Ok(Ended {
        status,
        stdout,
        stderr: stderr.finish(),
    })
}

/// A pipe that is being read.
struct Reading {
    read: Arc<Mutex<Vec<u8>>>,
    end: Receiver<()>,
}

impl Reading {
    /// Reads to the end, or to a little more than the limit and closes the pipe.
    fn start(pipe: Option<impl Read + Send + 'static>) -> Self {
        let read = Arc::new(Mutex::new(Vec::new()));
        let (sender, end) = mpsc::channel();
        let kept = Arc::clone(&read);
        thread::spawn(move || {
            let Some(mut pipe) = pipe else { return };
            let mut chunk = [0; 4096];
            // A pipe that cannot be read is at its end for us: the exit status says the rest.
            while let Ok(length @ 1..) = pipe.read(&mut chunk) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(&chunk[..length]);
                if kept.len() > OUTPUT_LIMIT {
                    break;
                }
            }
            // Whoever waited too long has gone.
            sender.send(()).ok();
        });
        Self { read, end }
    }

    /// What was read. The process has ended and what it printed is in the pipe, so that this takes
    /// no time; only what it left in the background, and on purpose, keeps the pipe open.
    fn finish(self) -> Vec<u8> {
        self.end.recv_timeout(LAST_READ).ok();
        std::mem::take(&mut *self.read.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Waits for the end of a process; `None` when the time is up.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    // It takes a few milliseconds, as a rule, and there is no wait with a time limit.
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        thread::sleep(pause.min(left));
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// Kills a process and all that it started.
fn kill(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // An error says that nobody is left in it.
        kill_process_group(group, Signal::KILL).ok();
    }
    // It was killed, so this takes no time; it leaves no zombie.
    child.wait().ok();
}

/// What a program said, in one line for a message.
fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| line.replace(|c: char| c.is_control(), " "));
    let mut text = lines.collect::<Vec<_>>().join("; ");
    if text.len() > COMPLAINTS_LIMIT {
        text.truncate(text.floor_char_boundary(COMPLAINTS_LIMIT));
        text.push('…');
    }
    text
}

/// A name server may take its time.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(20);
/// How long a pipe is read after its process has ended, while something else still holds it open.
const LAST_READ: Duration = Duration::from_secs(1);
/// Some hundred lines are usual.
pub(crate) const OUTPUT_LIMIT: usize = 256 << 10;
/// A few lines: enough to see what is wrong.
const COMPLAINTS_LIMIT: usize = 1 << 10;
/// Where OpenSSH's system-wide configuration is as a rule (ssh_config(5), FILES).
const SYSTEM_FILE: &str = "/etc/ssh/ssh_config";
/// What ssh(1) says to a user who is not in the user database.
const NO_USER: &str = "No user exists for uid";
