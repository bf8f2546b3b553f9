//! Where the daemon's lines go: standard error, a file, syslog, or the journal.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Zoned;
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};
use tracing::Level;

use crate::console::Console;

/// A line to be logged.
pub(crate) struct Entry<'a> {
    pub(crate) level: Level,
    pub(crate) account: Option<&'a str>,
    pub(crate) text: &'a str,
}

/// Where lines go.
pub(crate) enum Sink {
    /// To standard error, with the time.
    Console(Arc<Console>),
    /// To a file, with the time.
    File(LogFile),
    /// To systemd's journal, with fields (systemd.journal-fields(7)).
    Journal(UnixDatagram, Arc<Console>),
    /// To standard error, which a service manager reads: it knows the time, and wants the priority
    /// (sd-daemon(3)).
    Prefixed(Arc<Console>),
    /// To syslog, and to standard error when that is not there.
    Syslog(Syslog, Arc<Console>),
}

impl Sink {
    /// What standard error is connected to decides.
    pub(crate) fn usual(console: Arc<Console>) -> Self {
        if !is_journal() {
            return Self::Console(console);
        }
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(JOURNAL)?;
            Ok(socket)
        });
        match socket {
            Ok(socket) => Self::Journal(socket, console),
            Err(_) => Self::Prefixed(console),
        }
    }

    /// Syslog at its usual place, or at this one.
    pub(crate) fn syslog(socket: &Path, console: Arc<Console>) -> Result<Self, String> {
        Ok(Self::Syslog(Syslog::open(socket)?, console))
    }

    /// Logs a line, whose texts are clean.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        let line = line(entry);
        match self {
            Self::Console(console) => console.eprint(format!("{} {line}", time())),
            Self::Prefixed(console) => console.eprint(format!("<{}>{line}", priority(entry.level))),
            Self::File(file) => file.write(&format!("{} {line}\n", time())),
            Self::Journal(socket, console) => {
                if socket.send(&datagram(entry)).is_err() {
                    console.eprint(format!("<{}>{line}", priority(entry.level)));
                }
            }
            Self::Syslog(syslog, console) => {
                if !syslog.send(entry) {
                    console.eprint(format!("{} {line}", time()));
                }
            }
        }
    }

    /// Opens the file again, if it is one.
    pub(crate) fn reopen(&self) {
        if let Self::File(file) = self {
            file.reopen();
        }
    }
}

/// Syslog, also after it was started anew.
pub(crate) struct Syslog {
    /// Empty for the usual place.
    path: PathBuf,
    logger: Mutex<SyslogLogger>,
}

type SyslogLogger = Logger<LoggerBackend, Formatter3164>;

impl Syslog {
    fn open(path: &Path) -> Result<Self, String> {
        Ok(Self {
            path: path.to_owned(),
            logger: Mutex::new(Self::connect(path)?),
        })
    }

    fn connect(path: &Path) -> Result<SyslogLogger, String> {
        let formatter = Formatter3164 {
            facility: Facility::LOG_MAIL,
            hostname: None,
            process: "posthole".to_owned(),
            pid: std::process::id(),
        };
        let logger = if path.as_os_str().is_empty() {
            syslog::unix(formatter)
        } else {
            syslog::unix_custom(formatter, path)
        };
        let logger = logger.map_err(|error| match error {
            syslog::Error::Initialization(inner) => inner.to_string(),
            other => other.to_string(),
        })?;
        if let LoggerBackend::Unix(socket) = &logger.backend {
            // A log that does not keep up must not hold up the mail.
            socket.set_nonblocking(true).map_err(|e| e.to_string())?;
        }
        Ok(logger)
    }

    /// Whether the line was taken.
    fn send(&self, entry: &Entry<'_>) -> bool {
        let mut logger = self.logger.lock().unwrap_or_else(PoisonError::into_inner);
        let text = with_account(entry);
        let send = |logger: &mut SyslogLogger| match entry.level {
            Level::ERROR => logger.err(&text),
            Level::WARN => logger.warning(&text),
            Level::INFO => logger.info(&text),
            _ => logger.debug(&text),
        };
        if send(&mut logger).is_ok() {
            return true;
        }
        match Self::connect(&self.path) {
            Ok(fresh) => {
                *logger = fresh;
                send(&mut logger).is_ok()
            }
            Err(_) => false,
        }
    }
}

/// A file that may be moved away by whoever rotates logs.
pub(crate) struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
    /// Where to say that it cannot be written.
    console: Arc<Console>,
}

impl LogFile {
    pub(crate) fn open(path: PathBuf, console: Arc<Console>) -> io::Result<Self> {
        Ok(Self {
            file: Mutex::new(append_to(&path)?),
            path,
            console,
        })
    }

    fn write(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let has_moved = match (std::fs::metadata(&self.path), file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
            (Err(_), _) => true,
            (Ok(_), Err(_)) => false,
        };
        if has_moved && let Ok(fresh) = append_to(&self.path) {
            *file = fresh;
        }
        if let Err(error) = file.write_all(line.as_bytes()) {
            let path = self.path.display();
            self.console
                .eprint(format!("posthole: cannot write to {path}: {error}"));
            self.console.eprint(line.trim_end());
        }
    }

    fn reopen(&self) {
        match append_to(&self.path) {
            Ok(fresh) => *self.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh,
            Err(error) => tracing::error!(
                "cannot open {} again, and go on with the old one: {error}",
                self.path.display()
            ),
        }
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600).open(path)
}

/// Whether standard error is the journal's, as far as whoever connected it says.
fn is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else {
        return false;
    };
    // It may be inherited by what writes elsewhere.
    let Ok(status) = rustix::fs::fstat(rustix::stdio::stderr()) else {
        return false;
    };
    stream == format!("{}:{}", status.st_dev, status.st_ino)
}

/// `info work: 3 new`
fn line(entry: &Entry<'_>) -> String {
    let level = match entry.level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    };
    format!("{level} {}", with_account(entry))
}

fn with_account(entry: &Entry<'_>) -> String {
    match entry.account {
        Some(account) => format!("{account}: {}", entry.text),
        None => entry.text.to_owned(),
    }
}

/// The local time, as RFC 3339 has it.
fn time() -> String {
    Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// A message of the journal's native protocol. The texts hold no line breaks.
fn datagram(entry: &Entry<'_>) -> Vec<u8> {
    let mut fields = format!(
        "MESSAGE={}\nPRIORITY={}\nSYSLOG_IDENTIFIER=posthole\n",
        with_account(entry),
        priority(entry.level)
    );
    if let Some(account) = entry.account {
        // Writing to a String cannot fail.
        writeln!(fields, "POSTHOLE_ACCOUNT={account}").ok();
    }
    fields.into_bytes()
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

const JOURNAL: &str = "/run/systemd/journal/socket";

#[cfg(test)]
mod tests {
    use anstream::ColorChoice;

    use super::*;

    fn entry(text: &str) -> Entry<'_> {
        Entry {
            level: Level::WARN,
            account: Some("work"),
            text,
        }
    }

    #[test]
    fn a_file_that_was_moved_away_is_opened_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let console = Arc::new(Console::new(ColorChoice::Never, false));
        let sink = Sink::File(LogFile::open(path.clone(), console).unwrap());
        sink.write(&entry("one"));
        let rotated = directory.path().join("log.1");
        std::fs::rename(&path, &rotated).unwrap();
        sink.write(&entry("two"));
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(read(&rotated).ends_with(" warning work: one\n"));
        assert!(
            read(&path).ends_with(" warning work: two\n"),
            "{}",
            read(&path)
        );
        // Date, time and offset: 2026-11-24T12:00:00+01:00
        let line = read(&path);
        let time = line.split(' ').next().unwrap();
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        let mode = std::fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_journal_gets_fields() {
        let text = String::from_utf8(datagram(&entry("it is down"))).unwrap();
        assert_eq!(
            text,
            "MESSAGE=work: it is down\nPRIORITY=4\nSYSLOG_IDENTIFIER=posthole\n\
             POSTHOLE_ACCOUNT=work\n"
        );
    }

    #[test]
    fn syslog_gets_the_account_and_the_level() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let console = Arc::new(Console::new(ColorChoice::Never, false));
        let sink = Sink::syslog(&path, console).unwrap();
        sink.write(&entry("it is down"));
        let mut buffer = [0; 1024];
        let length = server.recv(&mut buffer).unwrap();
        let line = String::from_utf8_lossy(&buffer[..length]).into_owned();
        // Facility mail (2) and severity warning (4), RFC 3164 §4.1.1.
        assert!(line.starts_with("<20>"), "{line}");
        assert!(line.ends_with("work: it is down"), "{line}");
        // It is started anew, at the same place.
        std::fs::remove_file(&path).unwrap();
        drop(server);
        let again = UnixDatagram::bind(&path).unwrap();
        sink.write(&entry("it is up"));
        let length = again.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"work: it is up"));
    }
}
