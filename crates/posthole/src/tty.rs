//! The terminal the program was started from, whatever its standard streams are.
//!
//! A question must never outlive the wish for an answer: a termination signal ends it, and the
//! terminal is as it was before. That is why this waits with poll(2) and a look at the token
//! instead of sitting in read(2), and leaves line editing, interrupt and suspend to the kernel.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use posthole_core::ask::Unanswered;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tokio_util::sync::CancellationToken;

/// A terminal somebody sits at.
pub(crate) struct Tty {
    file: File,
}

impl Tty {
    /// Opens the controlling terminal, if there is one and this process is in its foreground.
    ///
    /// A job in the background would be stopped by the first read (termios(3), SIGTTIN), and
    /// nobody would know why it hangs; it has no terminal to ask on.
    pub(crate) fn open() -> Option<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        let foreground = rustix::termios::tcgetpgrp(&file).ok()?;
        (foreground == rustix::process::getpgrp()).then_some(Self { file })
    }

    /// Whether there is a controlling terminal, in whose foreground somebody else may be.
    pub(crate) fn is_there() -> bool {
        File::open("/dev/tty").is_ok()
    }

    /// Shows a text.
    fn show(&self, text: &str) -> Result<(), Unanswered> {
        (&self.file)
            .write_all(text.as_bytes())
            .map_err(|_| Unanswered::NoTerminal)
    }

    /// Shows a question and reads the line that answers it, without its end.
    ///
    /// What was typed before the question stands there is thrown away: it cannot be an answer to
    /// it, and it was shown.
    pub(crate) fn ask(
        &self,
        question: &str,
        echo: Echo,
        stop: &CancellationToken,
    ) -> Result<SecretString, Unanswered> {
        // The modes first: who sees the question may answer in the same moment.
        let _modes = Modes::set(self.file.as_fd(), echo).map_err(|_| Unanswered::NoTerminal)?;
        self.show(question)?;
        // Never grows, so no copy of a password is left behind.
        let mut line = Zeroizing::new(Vec::with_capacity(LINE_LIMIT));
        let mut chunk = Zeroizing::new([0; 256]);
        loop {
            self.wait(stop)?;
            let length = match rustix::io::read(&self.file, &mut chunk[..]) {
                Ok(0) => return self.give_up(),
                Ok(length) => length,
                Err(Errno::INTR | Errno::AGAIN) => continue,
                Err(_) => return Err(Unanswered::NoTerminal),
            };
            if line.len() + length > LINE_LIMIT {
                return self.give_up();
            }
            line.extend_from_slice(&chunk[..length]);
            if let Some(text) = line.strip_suffix(b"\n") {
                return match str::from_utf8(text) {
                    Ok(text) => Ok(SecretString::from(text)),
                    Err(_) => {
                        self.show(
                            "That is not UTF-8 text; is the terminal set to another encoding?\n",
                        )?;
                        Err(Unanswered::Cancelled)
                    }
                };
            }
        }
    }

    fn wait(&self, stop: &CancellationToken) -> Result<(), Unanswered> {
        loop {
            if stop.is_cancelled() {
                return self.give_up();
            }
            let mut fds = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut fds, Some(&LOOK)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(_) => return Err(Unanswered::NoTerminal),
            }
        }
    }

    /// Leaves the question's line, since no typed newline did.
    fn give_up<T>(&self) -> Result<T, Unanswered> {
        self.show("\n")?;
        Err(Unanswered::Cancelled)
    }
}

/// Whether what is typed is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Echo {
    /// Nothing but the end of the line.
    Hidden,
    /// Everything.
    Shown,
}

/// The terminal's modes while a line is read; dropping it restores what they were.
struct Modes<'a> {
    fd: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Modes<'a> {
    fn set(fd: BorrowedFd<'a>, echo: Echo) -> io::Result<Self> {
        let before = tcgetattr(fd)?;
        let mut modes = before.clone();
        modes.local_modes |= LocalModes::ICANON | LocalModes::ISIG;
        match echo {
            Echo::Hidden => {
                modes.local_modes -= LocalModes::ECHO;
                modes.local_modes |= LocalModes::ECHONL;
            }
            Echo::Shown => modes.local_modes |= LocalModes::ECHO,
        }
        tcsetattr(fd, OptionalActions::Flush, &modes)?;
        Ok(Self { fd, before })
    }
}

impl Drop for Modes<'_> {
    fn drop(&mut self) {
        tcsetattr(self.fd, OptionalActions::Now, &self.before).ok();
    }
}

/// What the kernel holds of a line at most (termios(3), MAX_CANON) on Linux.
pub(crate) const LINE_LIMIT: usize = 4096;

/// How long an unwanted question may stay on the terminal.
pub(crate) const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 50_000_000,
};

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use secrecy::ExposeSecret;

    use super::*;

    /// A terminal and the person's side of it.
    fn terminal() -> (Tty, File) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let person = openpt(flags).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let terminal = ioctl_tiocgptpeer(&person, flags).unwrap();
        (
            Tty {
                file: File::from(terminal),
            },
            File::from(person),
        )
    }

    /// Reads from the person's side up to a text.
    fn read_until(person: &mut File, text: &str) -> String {
        let mut screen = Vec::new();
        while !screen.ends_with(text.as_bytes()) {
            let mut octet = [0];
            person.read_exact(&mut octet).unwrap();
            screen.extend(octet);
        }
        String::from_utf8(screen).unwrap()
    }

    /// Types `keys` when the question is there; gives the answer and what was on the screen.
    fn answer(echo: Echo, keys: &'static [u8]) -> (Result<String, Unanswered>, String) {
        let (tty, mut person) = terminal();
        let before = tcgetattr(&tty.file).unwrap().local_modes;
        let typing = {
            let mut person = person.try_clone().unwrap();
            std::thread::spawn(move || {
                read_until(&mut person, "? ");
                person.write_all(keys).unwrap();
            })
        };
        let result = tty.ask("? ", echo, &CancellationToken::new());
        typing.join().unwrap();
        assert_eq!(tcgetattr(&tty.file).unwrap().local_modes, before);
        tty.show("|").unwrap();
        let screen = read_until(&mut person, "|");
        (result.map(|line| line.expose_secret().to_owned()), screen)
    }

    #[test]
    fn a_secret_is_read_without_being_shown() {
        let (result, screen) = answer(Echo::Hidden, b"s3cret # \xc3\xa9\n");
        assert_eq!(result, Ok("s3cret # é".to_owned()));
        assert_eq!(screen, "\r\n|");
    }

    #[test]
    fn an_answer_that_is_no_secret_is_shown() {
        let (result, screen) = answer(Echo::Shown, b"yes\n");
        assert_eq!(result, Ok("yes".to_owned()));
        assert_eq!(screen, "yes\r\n|");
    }

    #[test]
    fn what_was_typed_before_the_question_is_no_answer() {
        let (tty, mut person) = terminal();
        person.write_all(b"typed ahead\n").unwrap();
        read_until(&mut person, "ahead\r\n");
        let stop = CancellationToken::new();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| tty.ask("? ", Echo::Hidden, &stop).map(|_| ()));
            read_until(&mut person, "? ");
            stop.cancel();
            assert_eq!(asking.join().unwrap(), Err(Unanswered::Cancelled));
        });
    }

    #[test]
    fn the_kernel_edits_the_line() {
        let (result, _) = answer(Echo::Hidden, b"wrong\x15right!\x7f\n");
        assert_eq!(result, Ok("right".to_owned()));
    }

    #[test]
    fn the_end_of_input_gives_up() {
        let (result, screen) = answer(Echo::Hidden, b"\x04");
        assert_eq!(result, Err(Unanswered::Cancelled));
        assert_eq!(screen, "\r\n|");
    }

    #[test]
    fn a_request_to_stop_ends_the_question() {
        let (tty, mut person) = terminal();
        let before = tcgetattr(&tty.file).unwrap().local_modes;
        let stop = CancellationToken::new();
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| tty.ask("? ", Echo::Hidden, &stop).map(|_| ()));
            read_until(&mut person, "? ");
            assert_ne!(tcgetattr(&tty.file).unwrap().local_modes, before);
            stop.cancel();
            assert_eq!(asking.join().unwrap(), Err(Unanswered::Cancelled));
        });
        assert_eq!(tcgetattr(&tty.file).unwrap().local_modes, before);
    }
}
