//! One account on trial: mail on a server, a place where it is to go, and what must be so
//! afterwards, whatever went wrong in between.
//!
//! A test harms a run of the program in some way, asks [`Scene::nothing_is_lost`], lets further
//! runs go undisturbed, and asks [`Scene::is_settled`]. The answers are `Result`s, so that whoever
//! tries a thousand faults can go on after the first finding.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::Home;
use crate::home::maildir_messages;
use crate::mail;
use crate::pop3::{Maildrop, Pop3Server};
use crate::smtp::SmtpServer;

/// Where mail goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// A server of LMTP in this process.
    Lmtp,
    /// `~/Mail`.
    Maildir,
    /// `~/mbox`, or another file.
    Mbox,
    /// A command that keeps what it is given in `~/kept`.
    Mda,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Maildir, Self::Mbox, Self::Lmtp, Self::Mda];

    /// Whether a message gets there exactly once, and not only at least once.
    #[must_use]
    pub fn is_exact(self) -> bool {
        matches!(self, Self::Maildir | Self::Mbox)
    }

    fn configuration(self, sink: &SmtpServer, home: &Home, mbox: &str) -> String {
        match self {
            Self::Lmtp => format!(
                "deliver = \"lmtp:{}\"\nrecipients = \"msingh\"",
                sink.addr()
            ),
            Self::Maildir => "deliver = \"maildir:~/Mail\"".to_owned(),
            Self::Mbox => format!("deliver = \"mbox:~/{mbox}\""),
            Self::Mda => format!(
                "deliver = {{ mda = [\"{}\"] }}",
                home.path().join("keeper").display()
            ),
        }
    }
}

/// An account with everything around it; it goes when this is dropped.
#[derive(Debug)]
pub struct Scene {
    home: Home,
    maildrop: Maildrop,
    server: Pop3Server,
    sink: SmtpServer,
    target: Target,
    mbox: String,
    keep: bool,
    messages: Vec<Vec<u8>>,
    /// Where the file systems are to be seen that the program sees.
    root: Option<PathBuf>,
}

impl Scene {
    /// A mailbox with these messages, none of which was fetched yet.
    #[must_use]
    pub fn new(target: Target, keep: bool, messages: &[Vec<u8>]) -> Self {
        Self::with(target, "mbox", keep, messages)
    }

    /// The same with an mbox of another name in the home directory.
    #[must_use]
    pub fn with_mbox(name: &str, keep: bool, messages: &[Vec<u8>]) -> Self {
        Self::with(Target::Mbox, name, keep, messages)
    }

    fn with(target: Target, mbox: &str, keep: bool, messages: &[Vec<u8>]) -> Self {
        let home = Home::new();
        let maildrop = Maildrop::of(messages.to_vec());
        let server = Pop3Server::start(&maildrop);
        let sink = match target {
            Target::Lmtp => SmtpServer::builder().lmtp().start(),
            _ => SmtpServer::start(),
        };
        home.write_password("secret");
        home.write_config(&format!(
            "[account.work]\nserver = \"pop3://msingh@{}\"\npassword = {{ file = \
             \"~/mail-password\" }}\nkeep = {keep}\n{}\n",
            server.addr(),
            target.configuration(&sink, &home, mbox)
        ));
        fs::create_dir(home.path().join("kept")).expect("the home is ours to write to");
        let keeper = home.path().join("keeper");
        fs::write(&keeper, KEEPER).expect("the home is ours to write to");
        fs::set_permissions(&keeper, fs::Permissions::from_mode(0o700))
            .expect("the file is ours to change");
        Self {
            home,
            maildrop,
            server,
            sink,
            target,
            mbox: mbox.to_owned(),
            keep,
            messages: messages.to_vec(),
            root: None,
        }
    }

    /// Looks at the files by way of this directory, `/proc/PID/root` of a process that sees other
    /// file systems than we do.
    #[must_use]
    pub fn seen_from(mut self, root: PathBuf) -> Self {
        self.root = Some(root);
        self
    }

    /// Where mail goes.
    #[must_use]
    pub fn target(&self) -> Target {
        self.target
    }

    /// The home directory.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// The messages that it began with.
    #[must_use]
    pub fn messages(&self) -> &[Vec<u8>] {
        &self.messages
    }

    /// The mailbox on the server.
    #[must_use]
    pub fn maildrop(&self) -> &Maildrop {
        &self.maildrop
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Pop3Server {
        &self.server
    }

    /// A file of the home directory, as the program sees it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        match &self.root {
            None => path,
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(&path)),
        }
    }

    /// The program with these arguments, behind the words of another one that runs it.
    #[must_use]
    pub fn command(&self, before: &[&str], bin: &Path, args: &[&str]) -> Command {
        let mut command = match before {
            [] => self.home.posthole(bin),
            [program, rest @ ..] => {
                let mut command = self.home.posthole(Path::new(program));
                command.args(rest).arg(bin);
                command
            }
        };
        command.args(args);
        command
    }

    /// Runs a command to its end, with nobody to ask.
    ///
    /// # Errors
    /// When it cannot be started, or does not end in time.
    pub fn run(&self, mut command: Command, patience: Duration) -> Result<Ended, String> {
        let failed = |error: std::io::Error| format!("cannot run {command:?}: {error}");
        let directory = self.home.path();
        let directory = directory.parent().unwrap_or(&directory).to_owned();
        let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
        let into = |path: &Path| File::create(path).map_err(failed);
        let (out, err) = (into(&stdout)?, into(&stderr)?);
        command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot run {command:?}: {error}"))?;
        let pid = Pid::from_child(&child);
        let in_time = ends_within(pid, patience);
        if !in_time {
            // Whoever runs the program may not pass a signal on.
            kill_process_group(pid, Signal::KILL).ok();
        }
        let status = child
            .wait()
            .map_err(|error| format!("cannot wait for {command:?}: {error}"))?;
        let text = |path: &Path| {
            let text = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&text).into_owned()
        };
        let ended = Ended {
            status,
            stdout: text(&stdout),
            stderr: text(&stderr),
        };
        // What the server still hears of this run is not to be taken for the next one's.
        if !self.server.wait_until_idle(PATIENCE_OF_SERVER) {
            return Err("the connection to the server did not end".to_owned());
        }
        if in_time {
            Ok(ended)
        } else {
            Err(format!("no end after {patience:?}\n{ended}"))
        }
    }

    /// The messages in the place where they go, with lines that end in LF.
    #[must_use]
    pub fn found(&self) -> Vec<Vec<u8>> {
        let mut found = match self.target {
            Target::Lmtp => self.sink.texts().iter().map(|t| mail::to_lf(t)).collect(),
            Target::Maildir => maildir_messages(&self.file("Mail")),
            Target::Mbox => read_mbox(&self.file(&self.mbox)),
            Target::Mda => entries(&self.file("kept"))
                .iter()
                .filter(|path| path.extension().is_some_and(|end| end == "mail"))
                .filter_map(|path| fs::read(path).ok())
                .collect(),
        };
        found.sort();
        found
    }

    /// Whether each message is whole in its place or still on the server, and none is doubled or
    /// cut short where anybody sees it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn nothing_is_lost(&self) -> Result<(), String> {
        let found = self.found();
        let left = self.maildrop.messages();
        for (number, message) in self.messages.iter().enumerate() {
            let text = mail::delivered(message);
            let copies = found.iter().filter(|one| **one == text).count();
            if copies == 0 && !left.contains(message) {
                return Err(format!(
                    "message {number} is LOST: deleted, and not delivered"
                ));
            }
            if copies > 1 && self.target.is_exact() {
                return Err(format!("message {number} is DOUBLED"));
            }
        }
        // Of an mbox the end may be cut; who comes next mends it.
        let expected = mail::delivered_sorted(&self.messages);
        let strange = found.iter().filter(|one| !expected.contains(one)).count();
        let allowed = usize::from(self.target == Target::Mbox);
        if strange > allowed {
            return Err(format!(
                "{strange} of the messages delivered are CUT or changed"
            ));
        }
        if self.keep && left.len() != self.messages.len() {
            return Err("a message was DELETED that is to be kept".to_owned());
        }
        Ok(())
    }

    /// Whether everything is delivered, which is what success means.
    ///
    /// # Errors
    /// What is wrong.
    pub fn all_is_delivered(&self) -> Result<(), String> {
        let found = self.found();
        let expected = mail::delivered_sorted(&self.messages);
        if self.target.is_exact() {
            if found != expected {
                return Err(format!(
                    "{} messages are delivered, not {}, or some are changed",
                    found.len(),
                    expected.len()
                ));
            }
            return Ok(());
        }
        let mut distinct = found.clone();
        distinct.dedup();
        if distinct != expected {
            return Err("messages are missing or changed".to_owned());
        }
        let doubled = found.len() - distinct.len();
        if doubled > 1 {
            return Err(format!("{doubled} messages came twice"));
        }
        Ok(())
    }

    /// Whether all is as it has to be once nothing is left to be done.
    ///
    /// # Errors
    /// What is wrong.
    pub fn is_settled(&self) -> Result<(), String> {
        self.all_is_delivered()?;
        let left = self.maildrop.len();
        let expected = if self.keep { self.messages.len() } else { 0 };
        if left != expected {
            return Err(format!("{left} messages are on the server, not {expected}"));
        }
        for folder in ["Mail/tmp", ".local/state/posthole/spool"] {
            let files = entries(&self.file(folder));
            if !files.is_empty() {
                return Err(format!("{} files are left in {folder}", files.len()));
            }
        }
        if self.file(&format!("{}.lock", self.mbox)).exists() {
            return Err("the lock of the mbox is left".to_owned());
        }
        Ok(())
    }

    /// Runs the program undisturbed until it succeeds, at most so many times, and then once more,
    /// when it must find nothing to do.
    ///
    /// # Errors
    /// What is wrong, at whatever moment.
    pub fn settle(&self, before: &[&str], bin: &Path, runs: usize) -> Result<(), String> {
        let fetch = || self.run(self.command(before, bin, &["fetch"]), PATIENCE);
        let mut last = None;
        for _ in 0..runs {
            let ended = fetch()?;
            self.nothing_is_lost()
                .map_err(|error| format!("{error}, after an undisturbed run\n{ended}"))?;
            let done = ended.status.success();
            last = Some(ended);
            if done {
                break;
            }
        }
        let Some(last) = last else {
            return Err("no run was asked for".to_owned());
        };
        if !last.status.success() {
            return Err(format!("undisturbed runs do not succeed\n{last}"));
        }
        self.is_settled()
            .map_err(|error| format!("{error}, after an undisturbed run\n{last}"))?;
        let again = fetch()?;
        if !again.status.success() || !again.stdout.contains("work: 0 new, 0 deleted, ") {
            return Err(format!("a further run has something to do\n{again}"));
        }
        self.is_settled()
            .map_err(|error| format!("{error}, after a further run"))
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ended {
    /// Whether it ended as a program may that met with trouble: with a code of sysexits(3) that
    /// says who must act, a reason, and no bug.
    ///
    /// # Errors
    /// What is wrong.
    pub fn is_decent(&self) -> Result<(), String> {
        let Some(code) = self.status.code() else {
            return Err(format!("it was ended by a signal\n{self}"));
        };
        for word in ["panicked", "is a bug", "RUST_BACKTRACE"] {
            if self.stderr.contains(word) {
                return Err(format!("it met with a bug\n{self}"));
            }
        }
        match code {
            0 => Ok(()),
            69 | 74..=78 if self.stderr.starts_with("posthole: ") => Ok(()),
            69 | 74..=78 => Err(format!("it does not say what is wrong\n{self}")),
            _ => Err(format!("its exit code is {code}\n{self}")),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = match self.status.signal() {
            Some(signal) => format!("signal {signal}"),
            None => format!("exit code {}", self.status.code().unwrap_or(-1)),
        };
        write!(f, "{how}\n{}{}", self.stdout, self.stderr)
    }
}

/// Waits for the end of a process without reaping it; false if there is none in time.
fn ends_within(pid: Pid, patience: Duration) -> bool {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        // It is there, for it was not reaped: the kernel is too old, and does not tell.
        return true;
    };
    let timeout = Timespec::try_from(patience).expect("the time is short");
    let mut fds = [PollFd::new(&process, PollFlags::IN)];
    loop {
        match poll(&mut fds, Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// The messages as a reader of mboxrd sees them.
fn read_mbox(path: &Path) -> Vec<Vec<u8>> {
    let content = fs::read(path).unwrap_or_default();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            let quotes = line.iter().take_while(|octet| **octet == b'>').count();
            let is_quoted = quotes > 0 && line[quotes..].starts_with(b"From ");
            message.extend_from_slice(if is_quoted { &line[1..] } else { line });
        }
    }
    for message in &mut messages {
        // The empty line that ends it.
        message.pop();
    }
    messages
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.flatten().map(|entry| entry.path()).collect()
}

/// A command that keeps everything it is given, or says that it could not.
const KEEPER: &str = "#!/bin/sh\n\
    cd ~/kept && cat >part.$$ && mv part.$$ $$.mail || exit 75\n";

/// How long a run may take that nothing disturbs.
pub const PATIENCE: Duration = Duration::from_secs(60);

const PATIENCE_OF_SERVER: Duration = Duration::from_secs(10);
