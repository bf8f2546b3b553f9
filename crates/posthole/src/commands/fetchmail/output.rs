//! Where messages go: to whoever runs this, to the system's log, or to a file.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Zoned;

/// Whether messages go to the system's log at all.
pub(super) const LOG: &str = "/dev/log";

/// The system's log (syslog(3)), by the socket that all of its daemons have.
pub(super) struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    severity: u8,
    lines: Lines,
}

impl Syslog {
    /// Informative messages, or with `severe` errors.
    pub(super) fn open(path: &Path, severe: bool) -> io::Result<Self> {
        // Only to see whether anybody is there. Each message looks anew: a daemon that was started
        // anew is another one.
        UnixDatagram::unbound()?.connect(path)?;
        let socket = UnixDatagram::unbound()?;
        // A log that does not keep up must not hold up the mail.
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            path: path.to_owned(),
            severity: if severe { LOG_ERR } else { LOG_INFO },
            lines: Lines::default(),
        })
    }
}

impl Write for Syslog {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let priority = LOG_MAIL | self.severity;
        let time = Zoned::now().strftime("%b %e %H:%M:%S");
        let head = format!("<{priority}>{time} fetchmail[{}]: ", std::process::id());
        self.lines.take(text, |line| {
            let message = [head.as_bytes(), line].concat();
            // A log that is full or gone is no reason to fetch no mail.
            self.socket.send_to(&message, &self.path).ok();
        });
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file, which is opened for each message, so that it can be rotated; each line has its time.
pub(super) struct LogFile {
    path: PathBuf,
    lines: Lines,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = Self {
            path: path.to_owned(),
            lines: Lines::default(),
        };
        drop(file.reopen()?);
        Ok(file)
    }

    fn reopen(&self) -> io::Result<std::fs::File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600);
        options.open(&self.path)
    }
}

impl Write for LogFile {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let time = Zoned::now().strftime("%Y-%m-%d %H:%M:%S%:z").to_string();
        let mut whole = Vec::new();
        self.lines.take(text, |line| {
            whole.extend([time.as_bytes(), b" ", line, b"\n"].concat());
        });
        if !whole.is_empty() {
            self.reopen()?.write_all(&whole)?;
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes text apart into lines.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn take(&mut self, text: &[u8], mut each: impl FnMut(&[u8])) {
        self.0.extend_from_slice(text);
        while let Some(end) = self.0.iter().position(|octet| *octet == b'\n') {
            let line: Vec<_> = self.0.drain(..=end).collect();
            let line = &line[..end];
            if !line.trim_ascii().is_empty() {
                each(line);
            }
        }
    }
}

/// RFC 5424 §6.2.1: the facility `mail` and two severities.
const LOG_MAIL: u8 = 2 << 3;
const LOG_ERR: u8 = 3;
const LOG_INFO: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_log_gets_a_datagram_a_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let log = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::open(&path, true).unwrap();
        syslog.write_all(b"one\n\ntwo").unwrap();
        syslog.write_all(b" halves\n").unwrap();
        let received = || {
            let mut buffer = [0; 256];
            let length = log.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        let first = received();
        assert!(
            first.starts_with("<19>") && first.ends_with("]: one"),
            "{first}"
        );
        assert!(received().ends_with("]: two halves"));
        // It is started anew, at the same place.
        std::fs::remove_file(&path).unwrap();
        let again = UnixDatagram::bind(&path).unwrap();
        syslog.write_all(b"three\n").unwrap();
        let mut buffer = [0; 256];
        let length = again.recv(&mut buffer).unwrap();
        assert!(buffer[..length].ends_with(b"]: three"));
    }

    #[test]
    fn a_log_file_may_be_moved_away() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut file = LogFile::open(&path).unwrap();
        file.write_all(b"one\n").unwrap();
        std::fs::rename(&path, &old).unwrap();
        file.write_all(b"two\n").unwrap();
        assert!(std::fs::read_to_string(old).unwrap().ends_with(" one\n"));
        assert!(std::fs::read_to_string(path).unwrap().ends_with(" two\n"));
    }
}
