//! The screen: the only thing that writes to standard output and standard error.
//!
//! Summary lines, errors, the dialogue of `-vv`, progress bars and questions all want the same
//! terminal. The hard part is that a question waits for a person while the mail of other accounts
//! flows on: whoever prints meanwhile must neither wait nor write into the question, so what they
//! print is kept and appears when the question is answered.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anstream::{AutoStream, ColorChoice};
use indicatif::{MultiProgress, ProgressDrawTarget};

/// Standard output, standard error and the progress bars between them.
pub(crate) struct Console {
    stdout_colour: bool,
    stderr_colour: bool,
    bars: MultiProgress,
    has_bars: bool,
    state: Mutex<State>,
}

struct State {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// A question stands on the terminal.
    held: bool,
    /// What was printed meanwhile.
    pending: Vec<(Stream, String)>,
    /// How long all of that is, in octets.
    pending_octets: usize,
    /// How many lines for a person there was no room for.
    dropped: u64,
    /// The reader of standard output is gone, or the disk under it is full.
    stdout_error: Option<io::Error>,
}

#[derive(Clone, Copy)]
enum Stream {
    Stdout,
    Stderr,
}

impl Console {
    /// A console that colours as `choice` says and, if `bars` is true and standard error is a
    /// terminal, shows progress bars.
    pub(crate) fn new(choice: ColorChoice, bars: bool) -> Self {
        let has_bars = bars && console_is_capable();
        let colours = |automatic| match choice {
            ColorChoice::Auto => automatic != ColorChoice::Never,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
            ColorChoice::Never => false,
        };
        Self {
            stdout_colour: colours(AutoStream::choice(&io::stdout())),
            stderr_colour: colours(AutoStream::choice(&io::stderr())),
            bars: MultiProgress::with_draw_target(draw_target(has_bars)),
            has_bars,
            state: State::new(Box::new(io::stdout()), Box::new(io::stderr())).into(),
        }
    }

    /// A console without a terminal: data and what is for a person go to these.
    pub(crate) fn to(data: Box<dyn Write + Send>, person: Box<dyn Write + Send>) -> Self {
        Self {
            state: State::new(data, person).into(),
            ..Self::new(ColorChoice::Never, false)
        }
    }

    /// Whether text for standard output is coloured.
    pub(crate) fn stdout_colour(&self) -> bool {
        self.stdout_colour
    }

    /// Whether text for standard error is coloured.
    pub(crate) fn stderr_colour(&self) -> bool {
        self.stderr_colour
    }

    /// Whether standard output is a terminal.
    pub(crate) fn is_stdout_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&io::stdout())
    }

    /// Whether nobody reads standard output any more, or it is full.
    pub(crate) fn is_stdout_broken(&self) -> bool {
        self.state().stdout_error.is_some()
    }

    /// Where progress bars are added; none when they would not be seen.
    pub(crate) fn bars(&self) -> Option<&MultiProgress> {
        self.has_bars.then_some(&self.bars)
    }

    /// Prints whole lines of data; `text` ends without a newline.
    pub(crate) fn print(&self, text: impl Into<String>) {
        self.write(Stream::Stdout, text.into());
    }

    /// Prints whole lines for the person; `text` ends without a newline.
    pub(crate) fn eprint(&self, text: impl Into<String>) {
        self.write(Stream::Stderr, text.into());
    }

    /// Clears the terminal for a question until the result is dropped.
    ///
    /// Whoever asks makes sure that there is one question at a time.
    pub(crate) fn hold(&self) -> Held<'_> {
        let mut state = self.state();
        state.held = true;
        if self.has_bars {
            // `suspend` would make every bar that is updated wait for the answer.
            self.bars.clear().ok();
            self.bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Held(self)
    }

    /// The error that standard output met, if it met one that matters.
    ///
    /// A closed pipe does not: `posthole fetch | head -1` has all it wants.
    pub(crate) fn take_stdout_error(&self) -> Option<io::Error> {
        self.state()
            .stdout_error
            .take()
            .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn write(&self, stream: Stream, mut text: String) {
        text.push('\n');
        let mut state = self.state();
        if state.held {
            state.postpone(stream, text);
        } else if self.has_bars {
            self.bars.suspend(|| state.write(stream, &text));
        } else {
            state.write(stream, &text);
        }
    }

    /// A panic elsewhere leaves nothing half done here.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn new(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>) -> Self {
        Self {
            stdout,
            stderr,
            held: false,
            pending: Vec::new(),
            pending_octets: 0,
            dropped: 0,
            stdout_error: None,
        }
    }

    /// Keeps what is printed until nobody is being asked; only data is kept without a limit.
    fn postpone(&mut self, stream: Stream, text: String) {
        if matches!(stream, Stream::Stderr) {
            if self.pending_octets + text.len() > MOST_PENDING {
                self.dropped += text.lines().count() as u64;
                return;
            }
            self.pending_octets += text.len();
        }
        self.pending.push((stream, text));
    }

    fn write(&mut self, stream: Stream, text: &str) {
        match stream {
            Stream::Stdout if self.stdout_error.is_some() => {}
            Stream::Stdout => {
                let written = self.stdout.write_all(text.as_bytes());
                self.stdout_error = written.and_then(|()| self.stdout.flush()).err();
            }
            // There is nowhere left to say that standard error is broken.
            Stream::Stderr => {
                self.stderr.write_all(text.as_bytes()).ok();
            }
        }
    }
}

/// The terminal is a question's; see [`Console::hold`].
pub(crate) struct Held<'a>(&'a Console);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.held = false;
        state.pending_octets = 0;
        for (stream, text) in std::mem::take(&mut state.pending) {
            state.write(stream, &text);
        }
        match std::mem::take(&mut state.dropped) {
            0 => {}
            dropped => {
                let text = format!("({dropped} more lines were not kept during the question)\n");
                state.write(Stream::Stderr, &text);
            }
        }
        if self.0.has_bars {
            self.0.bars.set_draw_target(draw_target(true));
        }
    }
}

/// How much for a person is kept while a question stands.
const MOST_PENDING: usize = 1024 * 1024;

fn draw_target(visible: bool) -> ProgressDrawTarget {
    if visible {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

/// Whether standard error can move its cursor.
fn console_is_capable() -> bool {
    rustix::termios::isatty(io::stderr())
        && std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// What both streams were given, in order.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    fn console() -> (Console, Paper) {
        let paper = Paper::default();
        let console = Console {
            state: State::new(Box::new(paper.clone()), Box::new(paper.clone())).into(),
            ..Console::new(ColorChoice::Never, false)
        };
        (console, paper)
    }

    #[test]
    fn what_is_printed_during_a_question_comes_after_it_and_in_order() {
        let (console, paper) = console();
        console.print("before");
        let held = console.hold();
        console.print("work: 1 new");
        console.eprint("posthole: home: refused");
        console.print("club: 2 new");
        assert_eq!(paper.text(), "before\n");
        drop(held);
        let meanwhile = "work: 1 new\nposthole: home: refused\nclub: 2 new\n";
        assert_eq!(paper.text(), format!("before\n{meanwhile}"));
        console.print("after");
        assert_eq!(paper.text(), format!("before\n{meanwhile}after\n"));
    }

    #[test]
    fn a_question_that_stands_for_days_does_not_fill_the_memory() {
        let (console, paper) = console();
        let held = console.hold();
        let line = "x".repeat(1023);
        for _ in 0..2000 {
            console.eprint(line.clone());
        }
        console.print("data");
        drop(held);
        let text = paper.text();
        assert_eq!(text.matches(&line).count(), 1024);
        assert!(text.ends_with("data\n(976 more lines were not kept during the question)\n"));
    }
}
