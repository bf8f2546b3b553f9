//! A terminal with somebody at it, for a program that asks.
//!
//! The program runs in a session of its own whose controlling terminal this is, as in a terminal
//! window: it may ask on `/dev/tty`, Ctrl-C is a signal, and what is typed is shown unless the
//! program turns that off. Nothing is typed before the program has shown what it is an answer to.

use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{self, Pty};

/// A program on a terminal; it is killed when this is dropped before its end.
///
/// ```
/// use std::process::Command;
/// use posthole_testkit::Terminal;
///
/// let mut ask = Command::new("sh");
/// ask.args(["-c", "printf 'Name: ' >/dev/tty; read name </dev/tty; echo Hello, $name"]);
/// let mut terminal = Terminal::start(ask);
/// terminal.expect("Name: ");
/// terminal.type_line("Maya");
/// let (status, screen) = terminal.end();
/// assert!(status.success());
/// assert_eq!(screen, "Name: Maya\nHello, Maya\n");
/// ```
pub struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    screen: Arc<Screen>,
    reader: Option<JoinHandle<()>>,
    /// How much of the screen was expected already.
    seen: usize,
}

#[derive(Default)]
struct Screen {
    shown: Mutex<Shown>,
    changed: Condvar,
}

#[derive(Default)]
struct Shown {
    bytes: Vec<u8>,
    is_over: bool,
}

impl Terminal {
    /// Starts a program on a terminal of 24 lines of 80 characters.
    ///
    /// # Panics
    ///
    /// When there is no terminal to be had or the program cannot be started.
    #[must_use]
    pub fn start(command: Command) -> Self {
        let (pty, pts) = blocking::open().expect("a pseudo-terminal can be opened");
        pty.resize(Size::new(24, 80))
            .expect("a pseudo-terminal can be resized");
        let child = blocking::Command::from(command)
            .spawn(pts)
            .expect("the program can be started");
        let pty = Arc::new(pty);
        let screen = Arc::new(Screen::default());
        let reader = std::thread::spawn({
            let (pty, screen) = (Arc::clone(&pty), Arc::clone(&screen));
            move || screen.fill(&pty)
        });
        Self {
            child,
            pty,
            screen,
            reader: Some(reader),
            seen: 0,
        }
    }

    /// Waits until the program shows this text after what was expected before; returns what it
    /// showed in between.
    ///
    /// # Panics
    ///
    /// When it does not, or ends.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.lock();
        loop {
            let rest = &shown.bytes[self.seen..];
            if let Some(at) = memchr::memmem::find(rest, text.as_bytes()) {
                let between = plain(&rest[..at]);
                self.seen += at + text.len();
                return between;
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            assert!(
                !shown.is_over && !patience.is_zero(),
                "{text:?} does not appear on the screen:\n{}",
                plain(&shown.bytes)
            );
            shown = self.screen.wait(shown, patience);
        }
    }

    /// Types a line and the return key.
    pub fn type_line(&self, line: &str) {
        self.press(&format!("{line}\r"));
    }

    /// Types these characters; `\x03` is Ctrl-C.
    pub fn press(&self, keys: &str) {
        (&*self.pty)
            .write_all(keys.as_bytes())
            .expect("a terminal takes what is typed");
    }

    /// Presses Ctrl-C until the program ends, as [`end`](Self::end) has it.
    ///
    /// A script goes on after a program that was about to end by itself when the key was pressed.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[must_use]
    pub fn interrupt(self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.lock();
        while !shown.is_over && Instant::now() < deadline {
            // Nothing is there to take it if the program has just ended.
            (&*self.pty).write_all(b"\x03").ok();
            let next = Instant::now() + Duration::from_secs(1);
            while !shown.is_over && Instant::now() < next {
                let patience = next.saturating_duration_since(Instant::now());
                shown = self.screen.wait(shown, patience);
            }
        }
        drop(shown);
        self.end()
    }

    /// Waits for the end of the program; returns everything that was on the screen.
    ///
    /// # Panics
    ///
    /// When it does not end.
    #[must_use]
    pub fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        let mut shown = self.screen.lock();
        while !shown.is_over {
            let patience = deadline.saturating_duration_since(Instant::now());
            assert!(
                !patience.is_zero(),
                "the program does not end:\n{}",
                plain(&shown.bytes)
            );
            shown = self.screen.wait(shown, patience);
        }
        let text = plain(&shown.bytes);
        drop(shown);
        let status = self.child.wait().expect("a child can be waited for");
        (status, text)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it is over already.
        self.child.kill().ok();
        self.child.wait().ok();
        if let Some(reader) = self.reader.take() {
            reader.join().ok();
        }
    }
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terminal")
            .field("child", &self.child)
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// Takes in what the program shows until nobody has the terminal open any more.
    fn fill(&self, mut pty: &Pty) {
        let mut chunk = [0; 4096];
        // Linux says EIO at the end (pty(7)).
        while let Ok(length @ 1..) = pty.read(&mut chunk) {
            self.lock().bytes.extend_from_slice(&chunk[..length]);
            self.changed.notify_all();
        }
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        // Whoever waits may panic, and has changed nothing.
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, shown: MutexGuard<'a, Shown>, at_most: Duration) -> MutexGuard<'a, Shown> {
        let waited = self.changed.wait_timeout(shown, at_most);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What was shown, with the line ends that the program wrote.
fn plain(shown: &[u8]) -> String {
    String::from_utf8_lossy(shown).replace("\r\n", "\n")
}

/// How long a program may take to show something, on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn shell(script: &str) -> Terminal {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Terminal::start(command)
    }

    #[test]
    fn control_c_interrupts_the_program() {
        let mut terminal = shell("echo ready; exec sleep 600");
        terminal.expect("ready");
        terminal.press("\x03");
        let (status, _) = terminal.end();
        assert_eq!(status.signal(), Some(2));
    }

    #[test]
    fn what_is_expected_comes_in_its_order() {
        let mut terminal = shell("printf 'one two one'; read line");
        assert_eq!(terminal.expect("two"), "one ");
        assert_eq!(terminal.expect("one"), " ");
        terminal.press("\x04");
        let (status, screen) = terminal.end();
        assert!(!status.success());
        assert_eq!(screen, "one two one");
    }

    #[test]
    fn what_never_appears_is_an_error_that_shows_the_screen() {
        let mut terminal = shell("echo one two");
        let waiting = std::panic::AssertUnwindSafe(|| terminal.expect("three"));
        let panic = std::panic::catch_unwind(waiting).unwrap_err();
        let message = panic.downcast_ref::<String>().unwrap();
        assert_eq!(
            message,
            "\"three\" does not appear on the screen:\none two\n"
        );
    }
}
