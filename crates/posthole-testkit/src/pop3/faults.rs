//! What a POP3 server does wrong, as data.
//!
//! A [`Faults`] is a table of rules, each of which replaces the answer to some command, plus a few
//! switches for the connection as a whole. The default is a conforming server. An answer is a
//! [`Reply`]: a sequence of steps, among them "what a conforming server would do here", so that
//! most misbehaviour is one line.

use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use super::maildrop::Entry;
use crate::net::{Ending, Limits};

/// Everything that is wrong with a server; by default, nothing.
///
/// ```
/// use posthole_testkit::pop3::{Faults, Reply};
///
/// let faults = Faults::new()
///     .on("RETR 2", Reply::send("-ERR message is corrupt\r\n"))
///     .on("QUIT", Reply::apply().close())
///     .on("STAT", Reply::edit(|_| b"+OK 99999999999999999999 1\r\n".to_vec()))
///     .without_pipelining();
/// ```
#[derive(Clone, Default)]
pub struct Faults {
    pub(super) rules: Vec<Rule>,
    pub(super) limits: Limits,
    pub(super) capabilities: Option<Vec<String>>,
    pub(super) first_of_segment_only: bool,
    pub(super) bare_lf: bool,
    pub(super) write_size: Option<usize>,
    pub(super) without_tls_goodbye: bool,
    pub(super) commit: Commit,
    pub(super) view: Option<View>,
}

/// When a server takes messages away.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Commit {
    /// At DELE already, QUIT or not.
    AtDele,
    /// At DELE already, and what came after in the mailbox has another number from then on.
    AtDeleRenumbering,
    /// At QUIT, as RFC 1939 §6 says.
    #[default]
    AtQuit,
    /// Never, though DELE and QUIT are answered with `+OK`.
    Never,
    /// At QUIT, and what was only RETRieved too.
    RetrievedAtQuit,
    /// When the connection ends, however it ends.
    WhenConnectionEnds,
}

type View = Arc<dyn Fn(u64, Vec<Entry>) -> Vec<Entry> + Send + Sync>;
type Decide = Arc<dyn Fn(&Request<'_>) -> Option<Reply> + Send + Sync>;

#[derive(Clone)]
pub(super) struct Rule(pub(super) Decide);

/// A command as it arrived, with what a rule may want to know about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Which connection to this server it is, from 1.
    pub connection: u64,
    /// Which command of the connection it is, from 1; the greeting is 0.
    pub index: u64,
    /// How often this verb came in this connection, this time included.
    pub nth: u64,
    /// The verb in upper case; [`GREETING`] for the greeting.
    pub verb: &'a str,
    /// What follows the verb, without the blank.
    pub argument: &'a str,
    /// The unique-id of the message that the first argument stands for, if it stands for one.
    pub uid: Option<&'a [u8]>,
}

impl Request<'_> {
    /// The first argument as a number, such as the message number of RETR.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.argument.split(' ').next()?.parse().ok()
    }
}

/// The verb that stands for the greeting in rules and in the log.
pub const GREETING: &str = "GREETING";

/// The verb that stands for a response in a SASL exchange, whose argument is the line.
pub const RESPONSE: &str = "RESPONSE";

impl Faults {
    /// A conforming server.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Answers matching commands with `reply`.
    ///
    /// The pattern is a verb (`RETR`), or a verb and its whole argument (`RETR 2`), or
    /// [`GREETING`]. Of several rules that match, the first counts.
    #[must_use]
    pub fn on(self, pattern: &str, reply: Reply) -> Self {
        let (verb, argument) = split(pattern);
        self.rule(move |request| {
            let matches = request.verb == verb
                && argument
                    .as_ref()
                    .is_none_or(|argument| *argument == request.argument);
            matches.then(|| reply.clone())
        })
    }

    /// Answers the `nth` matching command of a connection, counted from 1 per verb.
    #[must_use]
    pub fn on_nth(self, nth: u64, verb: &str, reply: Reply) -> Self {
        let verb = verb.to_uppercase();
        self.rule(move |request| {
            (request.verb == verb && request.nth == nth).then(|| reply.clone())
        })
    }

    /// Answers commands about the message with this unique-id, whatever its number.
    #[must_use]
    pub fn on_message(self, verb: &str, uid: impl AsRef<[u8]>, reply: Reply) -> Self {
        let (verb, uid) = (verb.to_uppercase(), uid.as_ref().to_vec());
        self.rule(move |request| {
            (request.verb == verb && request.uid == Some(&uid)).then(|| reply.clone())
        })
    }

    /// Answers command number `index` of each connection, whatever it is; the greeting is 0.
    #[must_use]
    pub fn on_command(self, index: u64, reply: Reply) -> Self {
        self.rule(move |request| (request.index == index).then(|| reply.clone()))
    }

    /// Adds a rule of any kind: what it returns is the answer, `None` leaves it to the next rule.
    #[must_use]
    pub fn rule(
        mut self,
        decide: impl Fn(&Request<'_>) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Rule(Arc::new(decide)));
        self
    }

    /// Lets the rules so far hold only for these connections, counted from 1.
    #[must_use]
    pub fn for_connections(
        mut self,
        range: impl RangeBounds<u64> + Send + Sync + Clone + 'static,
    ) -> Self {
        for rule in &mut self.rules {
            let (decide, range) = (Arc::clone(&rule.0), range.clone());
            rule.0 = Arc::new(move |request| {
                if range.contains(&request.connection) {
                    decide(request)
                } else {
                    None
                }
            });
        }
        self
    }

    /// Ends each connection after `n` bytes from the server.
    #[must_use]
    pub fn cut_after_sent(mut self, n: u64) -> Self {
        self.limits.sent = Some(n);
        self
    }

    /// Ends each connection after `n` bytes from the client; whole commands in them are answered.
    #[must_use]
    pub fn cut_after_received(mut self, n: u64) -> Self {
        self.limits.received = Some(n);
        self
    }

    /// Says how the cuts end the connection; with a FIN, unless this says otherwise.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.limits.ending = ending;
        self
    }

    /// Refuses CAPA, as servers older than RFC 2449 do.
    #[must_use]
    pub fn without_capa(self) -> Self {
        self.on("CAPA", Reply::send("-ERR unknown command\r\n"))
    }

    /// Shows these capability lines instead of the usual ones.
    #[must_use]
    pub fn capabilities<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.capabilities = Some(lines.into_iter().map(Into::into).collect());
        self
    }

    /// Does not advertise PIPELINING and cannot do it: what comes with a command is thrown away.
    #[must_use]
    pub fn without_pipelining(self) -> Self {
        let lines = super::CAPABILITIES
            .iter()
            .filter(|line| **line != "PIPELINING");
        self.capabilities(lines.copied()).pipelining_is_a_lie()
    }

    /// Reads only the first command of what arrives at a time and throws the rest away, whether it
    /// advertises PIPELINING or not.
    #[must_use]
    pub fn pipelining_is_a_lie(mut self) -> Self {
        self.first_of_segment_only = true;
        self
    }

    /// Ends its lines with a bare LF, in status lines and messages alike.
    #[must_use]
    pub fn bare_lf(mut self) -> Self {
        self.bare_lf = true;
        self
    }

    /// Ends TLS connections without TLS's own goodbye (close_notify, RFC 8446 §6.1), as many servers
    /// do and as anybody in between can.
    #[must_use]
    pub fn without_tls_goodbye(mut self) -> Self {
        self.without_tls_goodbye = true;
        self
    }

    /// Sends at most `n` bytes at a time, each lot on its way before the next.
    #[must_use]
    pub fn write_size(mut self, n: usize) -> Self {
        self.write_size = Some(n);
        self
    }

    /// Takes messages away at another time than at QUIT.
    #[must_use]
    pub fn commit(mut self, commit: Commit) -> Self {
        self.commit = commit;
        self
    }

    /// Shows each session something else than the maildrop: the function gets the number of the
    /// connection, from 1, and what is there, and returns what the session sees.
    #[must_use]
    pub fn view(
        mut self,
        view: impl Fn(u64, Vec<Entry>) -> Vec<Entry> + Send + Sync + 'static,
    ) -> Self {
        self.view = Some(Arc::new(view));
        self
    }

    pub(super) fn reply_to(&self, request: &Request<'_>) -> Reply {
        self.rules
            .iter()
            .find_map(|rule| (rule.0)(request))
            .unwrap_or_else(Reply::normal)
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults")
            .field("rules", &self.rules.len())
            .field("limits", &self.limits)
            .field("capabilities", &self.capabilities)
            .field("first_of_segment_only", &self.first_of_segment_only)
            .field("bare_lf", &self.bare_lf)
            .field("write_size", &self.write_size)
            .field("without_tls_goodbye", &self.without_tls_goodbye)
            .field("commit", &self.commit)
            .field("view", &self.view.is_some())
            .finish()
    }
}

/// An answer: steps, one after the other.
///
/// The constructors make the first step and the methods add more:
/// `Reply::send("+OK\r\n").pause(SECOND).then_normal()`.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) steps: Vec<Step>,
}

#[derive(Clone)]
pub(super) enum Step {
    Apply,
    Edit(Edit),
    End(Ending),
    Normal,
    Pause(Duration),
    Prefix(u64),
    Send(Vec<u8>),
}

type Edit = Arc<dyn Fn(Vec<u8>) -> Vec<u8> + Send + Sync>;

impl Reply {
    /// Does and says what a conforming server would.
    #[must_use]
    pub fn normal() -> Self {
        Self::of(Step::Normal)
    }

    /// Does what a conforming server would, and says nothing.
    #[must_use]
    pub fn apply() -> Self {
        Self::of(Step::Apply)
    }

    /// Sends exactly these bytes; the command has no effect.
    #[must_use]
    pub fn send(bytes: impl AsRef<[u8]>) -> Self {
        Self::of(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Does what a conforming server would, and sends what the function makes of its answer.
    ///
    /// The answer is the whole of it: status line, dot-stuffed lines and the final dot.
    #[must_use]
    pub fn edit(edit: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::of(Step::Edit(Arc::new(edit)))
    }

    /// Does what a conforming server would, and sends only the first `n` bytes of its answer.
    #[must_use]
    pub fn prefix(n: u64) -> Self {
        Self::of(Step::Prefix(n))
    }

    /// Closes the connection without a word.
    #[must_use]
    pub fn hang_up() -> Self {
        Self::of(Step::End(Ending::Close))
    }

    /// Never answers; the connection stays open.
    #[must_use]
    pub fn silence() -> Self {
        Self::of(Step::End(Ending::Stall))
    }

    /// Waits before what comes next.
    #[must_use]
    pub fn after(pause: Duration) -> Self {
        Self::of(Step::Pause(pause))
    }

    /// Then does and says what a conforming server would.
    #[must_use]
    pub fn then_normal(self) -> Self {
        self.then(Step::Normal)
    }

    /// Then sends exactly these bytes.
    #[must_use]
    pub fn then_send(self, bytes: impl AsRef<[u8]>) -> Self {
        self.then(Step::Send(bytes.as_ref().to_vec()))
    }

    /// Then waits; what was said so far is on its way.
    #[must_use]
    pub fn pause(self, pause: Duration) -> Self {
        self.then(Step::Pause(pause))
    }

    /// Then closes the connection.
    #[must_use]
    pub fn close(self) -> Self {
        self.then(Step::End(Ending::Close))
    }

    /// Then resets the connection.
    #[must_use]
    pub fn reset(self) -> Self {
        self.then(Step::End(Ending::Reset))
    }

    /// Then says nothing more, with the connection open.
    #[must_use]
    pub fn stall(self) -> Self {
        self.then(Step::End(Ending::Stall))
    }

    fn of(step: Step) -> Self {
        Self { steps: vec![step] }
    }

    fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply => f.write_str("Apply"),
            Self::Edit(_) => f.write_str("Edit"),
            Self::End(ending) => write!(f, "End({ending:?})"),
            Self::Normal => f.write_str("Normal"),
            Self::Pause(pause) => write!(f, "Pause({pause:?})"),
            Self::Prefix(n) => write!(f, "Prefix({n})"),
            Self::Send(bytes) => write!(f, "Send({})", bytes.escape_ascii()),
        }
    }
}

/// Splits a pattern or a command line into its verb, in upper case, and its argument.
pub(super) fn split(line: &str) -> (String, Option<String>) {
    match line.split_once(' ') {
        Some((verb, argument)) => (verb.to_uppercase(), Some(argument.to_owned())),
        None => (line.to_uppercase(), None),
    }
}
