//! One conversation with a client: RFC 1939's three states, and whatever the faults make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::answer::{self, Answer};
use super::faults::{Commit, Faults, GREETING, RESPONSE, Request, Step, split};
use super::line::Line;
use super::maildrop::{Entry, Maildrop, MaildropLock};
use super::{CAPABILITIES, Known, Received, Shared};
use crate::net::{Connection, Ending, Metered};
use crate::sasl::{self, Exchange, Next};

/// Serves one connection to its end.
pub(super) async fn serve<S: Connection>(shared: Arc<Shared>, stream: S) {
    let (connection, faults) = shared.begin_connection();
    let limits = faults.limits;
    let mut session = Session {
        stream: Line::Clear(Metered::new(stream, limits, shared.traffic.clone())),
        starting_tls: false,
        shared: Arc::clone(&shared),
        faults,
        connection,
        state: State::Authorization { user: None },
        exchange: None,
        input: Vec::new(),
        output: Vec::new(),
        unflushed: Vec::new(),
        index: 0,
        counts: BTreeMap::new(),
    };
    let ending = match session.talk().await {
        Ok(ending) => ending,
        // The peer left, or a limit was reached.
        Err(_) => limits.ending,
    };
    if session.faults.commit == Commit::WhenConnectionEnds {
        session.commit();
    }
    let Session {
        stream,
        state,
        faults,
        ..
    } = session;
    let says_goodbye = ending == Ending::Close && !faults.without_tls_goodbye;
    let Some(mut stream) = stream.into_bare(says_goodbye).await else {
        return shared.end_connection();
    };
    let ending = if stream.is_spent() {
        stream.ending()
    } else {
        ending
    };
    if ending == Ending::Stall {
        // A hanging server keeps the maildrop locked.
        stream.gone().await;
    }
    // Releases the maildrop before anyone is told that the connection is over.
    drop(state);
    shared.end_connection();
    stream.end(ending).await;
}

struct Session<S> {
    stream: Line<S>,
    /// Whether STLS was accepted.
    starting_tls: bool,
    shared: Arc<Shared>,
    faults: Arc<Faults>,
    connection: u64,
    state: State,
    /// The SASL exchange that goes on.
    exchange: Option<Exchange>,
    /// Octets that arrived and are not yet a command.
    input: Vec<u8>,
    /// Octets of answers that are not yet on their way.
    output: Vec<u8>,
    /// Messages whose last octets are in `output`.
    unflushed: Vec<usize>,
    index: u64,
    counts: BTreeMap<String, u64>,
}

/// RFC 1939 §3: the states of a session.
enum State {
    Authorization { user: Option<String> },
    Transaction(Transaction),
    Update,
}

struct Transaction {
    maildrop: Maildrop,
    entries: Vec<Entry>,
    deleted: BTreeSet<usize>,
    retrieved: BTreeSet<usize>,
    _lock: Option<MaildropLock>,
}

/// What a command came to.
struct Outcome {
    answer: Answer,
    /// The index of the message that is sent whole with this answer.
    sends: Option<usize>,
}

impl<S: Connection> Session<S> {
    /// Talks until the connection is to end, and says how.
    async fn talk(&mut self) -> io::Result<Ending> {
        if let Some(config) = self.shared.tls.clone()
            && self.shared.tls_at_once
        {
            self.stream.start_tls(config).await?;
        }
        if let Some(ending) = self.answer(GREETING, "").await? {
            return Ok(ending);
        }
        self.index = 1;
        let mut flight = 0;
        loop {
            self.flush().await?;
            if !self.fill().await? {
                return Ok(Ending::Close);
            }
            flight += 1;
            let mut pipelined = false;
            while let Some(line) = self.take_line() {
                if self.faults.first_of_segment_only {
                    self.input.clear();
                }
                let text = String::from_utf8_lossy(&line).into_owned();
                let (verb, argument) = match self.exchange {
                    Some(_) => (RESPONSE.to_owned(), Some(text.clone())),
                    None => split(&text),
                };
                let connection = self.connection;
                self.shared.note(Received {
                    connection,
                    flight,
                    pipelined,
                    line: text,
                });
                let argument = argument.unwrap_or_default();
                if let Some(ending) = self.answer(&verb, &argument).await? {
                    return Ok(ending);
                }
                self.index += 1;
                if std::mem::take(&mut self.starting_tls)
                    && let Some(config) = self.shared.tls.clone()
                {
                    self.flush().await?;
                    // RFC 2595 §4: what was said before TLS does not count.
                    self.input.clear();
                    self.stream.start_tls(config).await?;
                }
                if matches!(self.state, State::Update) {
                    self.flush().await?;
                    return Ok(Ending::Close);
                }
                pipelined = true;
            }
        }
    }

    /// Reads until there is a whole line; false at the end of input.
    async fn fill(&mut self) -> io::Result<bool> {
        while !self.input.contains(&b'\n') {
            if self.input.len() > MAX_LINE {
                self.input.clear();
                self.send(b"-ERR line too long\r\n").await?;
            }
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Ok(false);
            }
        }
        if let Some(quiet) = self.shared.gather {
            let more = |n: &io::Result<usize>| matches!(n, Ok(1..));
            while let Ok(n) =
                tokio::time::timeout(quiet, self.stream.read_buf(&mut self.input)).await
            {
                if !more(&n) {
                    break;
                }
            }
        }
        Ok(true)
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let end = memchr::memchr(b'\n', &self.input)?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Some(line)
    }

    /// Answers one command; what it returns ends the connection.
    async fn answer(&mut self, verb: &str, argument: &str) -> io::Result<Option<Ending>> {
        let nth = self.counts.entry(verb.to_owned()).or_default();
        *nth += 1;
        let (connection, index, nth) = (self.connection, self.index, *nth);
        let uid = match &self.state {
            State::Transaction(transaction) => transaction.uid(argument),
            _ => None,
        };
        let reply = self.faults.reply_to(&Request {
            connection,
            index,
            nth,
            verb,
            argument,
            uid: uid.as_deref(),
        });
        if verb == "QUIT" {
            // While the state still knows what the answers on their way are about.
            self.flush().await?;
        }
        for step in reply.steps {
            match step {
                Step::Apply => drop(self.apply(verb, argument)),
                Step::Edit(edit) => {
                    let outcome = self.apply(verb, argument);
                    let bytes = edit(outcome.answer.flatten().collect());
                    self.send(&bytes).await?;
                    self.sent(outcome.sends).await?;
                }
                Step::End(ending) => {
                    self.flush().await?;
                    return Ok(Some(ending));
                }
                Step::Normal => {
                    let outcome = self.apply(verb, argument);
                    self.send_answer(outcome.answer).await?;
                    self.sent(outcome.sends).await?;
                }
                Step::Pause(pause) => {
                    self.flush().await?;
                    tokio::time::sleep(pause).await;
                }
                Step::Prefix(n) => {
                    let mut left = usize::try_from(n).unwrap_or(usize::MAX);
                    for mut piece in self.apply(verb, argument).answer {
                        piece.truncate(left);
                        left -= piece.len();
                        self.send(&piece).await?;
                        if left == 0 {
                            break;
                        }
                    }
                }
                Step::Send(bytes) => self.send(&bytes).await?,
            }
        }
        Ok(None)
    }

    async fn send_answer(&mut self, answer: Answer) -> io::Result<()> {
        if !self.faults.bare_lf {
            for piece in answer {
                self.send(&piece).await?;
            }
            return Ok(());
        }
        // A CR at the end of a piece waits for what follows it.
        let mut held = Vec::new();
        for piece in answer {
            held.extend_from_slice(&piece);
            let tail = if held.last() == Some(&b'\r') {
                held.pop()
            } else {
                None
            };
            let lf = crate::mail::to_lf(&held);
            self.send(&lf).await?;
            held.clear();
            held.extend(tail);
        }
        self.send(&held).await
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(size) = self.faults.write_size {
            for part in bytes.chunks(size.max(1)) {
                self.stream.write_all(part).await?;
                self.stream.flush().await?;
                // Lets a peer on the same runtime see the parts one by one.
                tokio::task::yield_now().await;
            }
            return Ok(());
        }
        self.output.extend_from_slice(bytes);
        if self.output.len() >= FLUSH_AT {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        if !self.output.is_empty() {
            let output = std::mem::take(&mut self.output);
            self.stream.write_all(&output).await?;
            self.output = output;
            self.output.clear();
        }
        self.stream.flush().await?;
        let indices = self.unflushed.drain(..);
        if let State::Transaction(transaction) = &self.state {
            for index in indices {
                transaction
                    .maildrop
                    .note_retrieved(&transaction.entries[index].uid);
            }
        }
        Ok(())
    }

    async fn sent(&mut self, index: Option<usize>) -> io::Result<()> {
        let Some(index) = index else { return Ok(()) };
        self.unflushed.push(index);
        if let State::Transaction(transaction) = &mut self.state {
            transaction.retrieved.insert(index);
        }
        if self.output.is_empty() {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Does what a conforming server does.
    fn apply(&mut self, verb: &str, argument: &str) -> Outcome {
        let line = |text: &str| Outcome {
            answer: answer::line(text),
            sends: None,
        };
        let offers_stls = self.offers_stls();
        match (verb, &mut self.state) {
            (GREETING, _) if self.shared.apop => line(&format!(
                "+OK posthole test server ready {}",
                sasl::CHALLENGE
            )),
            (GREETING, _) => line("+OK posthole test server ready"),
            (RESPONSE, _) => {
                let Some(mut exchange) = self.exchange.take() else {
                    return line("-ERR no exchange");
                };
                let next = exchange.receive(argument, &self.known());
                self.go_on(exchange, next)
            }
            ("APOP", State::Authorization { .. }) if self.shared.apop => {
                match sasl::apop(argument, &self.known()) {
                    Some(user) => line(self.enter(&user)),
                    None => line("-ERR [AUTH] authentication failed"),
                }
            }
            ("AUTH", State::Authorization { .. }) if !self.shared.sasl.is_empty() => {
                let (exchange, next) = Exchange::begin(argument, &self.known());
                self.go_on(exchange, next)
            }
            ("CAPA", _) => {
                let sasl = &self.shared.sasl;
                let lines = match &self.faults.capabilities {
                    Some(lines) => lines.clone(),
                    None => {
                        let stls = offers_stls.then_some("STLS");
                        let lines = CAPABILITIES.iter().copied().chain(stls);
                        let sasl = (!sasl.is_empty()).then(|| format!("SASL {}", sasl.join(" ")));
                        lines.map(str::to_owned).chain(sasl).collect::<Vec<_>>()
                    }
                };
                let lines = lines.into_iter().map(String::into_bytes);
                Outcome {
                    answer: answer::lines("+OK", lines),
                    sends: None,
                }
            }
            ("STLS", State::Authorization { .. }) if offers_stls => {
                self.starting_tls = true;
                line("+OK begin TLS")
            }
            ("USER", State::Authorization { user }) => {
                *user = Some(argument.to_owned());
                line("+OK")
            }
            ("PASS", State::Authorization { user }) => {
                let Some(user) = user.take() else {
                    return line("-ERR USER first");
                };
                match self.shared.log_in(&user, argument) {
                    Some(maildrop) => line(self.open(maildrop)),
                    None => line("-ERR [AUTH] authentication failed"),
                }
            }
            ("QUIT", State::Authorization { .. }) => {
                self.state = State::Update;
                line("+OK bye")
            }
            ("QUIT", State::Transaction(_)) => {
                let at_quit = [
                    Commit::AtQuit,
                    Commit::RetrievedAtQuit,
                    Commit::WhenConnectionEnds,
                ];
                if at_quit.contains(&self.faults.commit) {
                    self.commit();
                }
                self.state = State::Update;
                line("+OK bye")
            }
            (_, State::Transaction(transaction)) => {
                let commit = self.faults.commit;
                let at_once = matches!(commit, Commit::AtDele | Commit::AtDeleRenumbering);
                let outcome = transaction.command(verb, argument, at_once);
                if commit == Commit::AtDeleRenumbering {
                    transaction.renumber();
                }
                outcome
            }
            _ => line("-ERR unknown command in this state"),
        }
    }

    fn known(&self) -> Known<'_> {
        Known {
            shared: &self.shared,
            exporter: self.stream.exporter(),
        }
    }

    /// Answers a step of a SASL exchange.
    fn go_on(&mut self, exchange: Exchange, next: Next) -> Outcome {
        let text = match next {
            Next::Accept(user) => self.enter(&user).to_owned(),
            Next::Challenge(challenge) => {
                self.exchange = Some(exchange);
                format!("+ {}", data_encoding::BASE64.encode(&challenge))
            }
            Next::Refuse(words) => format!("-ERR {words}"),
        };
        Outcome {
            answer: answer::line(text),
            sends: None,
        }
    }

    /// Opens the maildrop of a user who has shown who he is.
    fn enter(&mut self, user: &str) -> &'static str {
        let maildrop = self.shared.accounts.get(user);
        match maildrop.map(|(_, maildrop)| maildrop.clone()) {
            Some(maildrop) => self.open(maildrop),
            None => "-ERR no such user",
        }
    }

    fn offers_stls(&self) -> bool {
        self.shared.tls.is_some() && !self.stream.is_tls()
    }

    fn open(&mut self, maildrop: Maildrop) -> &'static str {
        let lock = if self.shared.exclusive {
            match maildrop.lock() {
                Some(lock) => Some(lock),
                None => return "-ERR [IN-USE] maildrop is in use by another session",
            }
        } else {
            None
        };
        let mut entries = maildrop.entries();
        if let Some(view) = &self.faults.view {
            entries = view(self.connection, entries);
        }
        self.state = State::Transaction(Transaction {
            maildrop,
            entries,
            deleted: BTreeSet::new(),
            retrieved: BTreeSet::new(),
            _lock: lock,
        });
        "+OK logged in"
    }

    fn commit(&self) {
        let State::Transaction(transaction) = &self.state else {
            return;
        };
        let mut gone = transaction.deleted.clone();
        if self.faults.commit == Commit::RetrievedAtQuit {
            gone.extend(&transaction.retrieved);
        }
        let entries: Vec<_> = gone
            .iter()
            .map(|&i| transaction.entries[i].clone())
            .collect();
        transaction.maildrop.commit(&entries);
    }
}

impl Transaction {
    fn command(&mut self, verb: &str, argument: &str, dele_at_once: bool) -> Outcome {
        let line = |text: &str| Outcome {
            answer: answer::line(text),
            sends: None,
        };
        let mut arguments = argument.split(' ').filter(|word| !word.is_empty());
        let first = arguments.next();
        match (verb, first) {
            ("STAT", None) => {
                let (n, octets) = self.total();
                line(&format!("+OK {n} {octets}"))
            }
            ("LIST", None) => {
                let (n, octets) = self.total();
                let lines = self
                    .left()
                    .map(|(i, entry)| format!("{} {}", i + 1, entry.body.octets()).into_bytes());
                let status = format!("+OK {n} messages ({octets} octets)");
                Outcome {
                    answer: answer::lines(status, lines),
                    sends: None,
                }
            }
            ("UIDL", None) => {
                let lines = self.left().map(|(i, entry)| uidl_line(i, &entry));
                Outcome {
                    answer: answer::lines("+OK", lines),
                    sends: None,
                }
            }
            ("NOOP", None) => line("+OK"),
            ("RSET", None) => {
                self.deleted.clear();
                line("+OK")
            }
            ("DELE" | "LIST" | "RETR" | "TOP" | "UIDL", Some(number)) => {
                let Some(index) = self.index(number) else {
                    return line("-ERR no such message");
                };
                let entry = &self.entries[index];
                match verb {
                    "LIST" => line(&format!("+OK {} {}", index + 1, entry.body.octets())),
                    "UIDL" => {
                        let text = [b"+OK ".as_slice(), &uidl_line(index, entry)].concat();
                        Outcome {
                            answer: answer::line(text),
                            sends: None,
                        }
                    }
                    "RETR" => Outcome {
                        answer: answer::message(&entry.body),
                        sends: Some(index),
                    },
                    "TOP" => match arguments.next().and_then(|n| n.parse().ok()) {
                        Some(n) => Outcome {
                            answer: answer::top(&entry.body, n),
                            sends: None,
                        },
                        None => line("-ERR TOP wants a message number and a number of lines"),
                    },
                    _ => {
                        self.deleted.insert(index);
                        if dele_at_once {
                            self.maildrop
                                .commit(std::slice::from_ref(&self.entries[index]));
                        }
                        line("+OK marked for deletion")
                    }
                }
            }
            _ => line("-ERR unknown command"),
        }
    }

    /// Forgets what is deleted, so that the messages behind it move up.
    fn renumber(&mut self) {
        for index in std::mem::take(&mut self.deleted).into_iter().rev() {
            self.entries.remove(index);
        }
    }

    /// The unique-id of the message that an argument begins with, if there is one.
    fn uid(&self, argument: &str) -> Option<Vec<u8>> {
        let index = self.index(argument.split(' ').next()?)?;
        Some(self.entries[index].uid.bytes().into_owned())
    }

    /// The index that a message number stands for, if the message exists and is not deleted.
    fn index(&self, number: &str) -> Option<usize> {
        let index = number.parse::<usize>().ok()?.checked_sub(1)?;
        (index < self.entries.len() && !self.deleted.contains(&index)).then_some(index)
    }

    fn left(&self) -> impl Iterator<Item = (usize, Entry)> + Send + use<> {
        let deleted = self.deleted.clone();
        let entries = self.entries.clone().into_iter().enumerate();
        entries.filter(move |(i, _)| !deleted.contains(i))
    }

    fn total(&self) -> (usize, u64) {
        let octets = self.entries.iter().enumerate();
        let octets = octets.filter(|(i, _)| !self.deleted.contains(i));
        let octets = octets.map(|(_, entry)| entry.body.octets()).sum();
        (self.entries.len() - self.deleted.len(), octets)
    }
}

fn uidl_line(index: usize, entry: &Entry) -> Vec<u8> {
    [format!("{} ", index + 1).as_bytes(), &entry.uid.bytes()].concat()
}

/// No command of RFC 1939 or RFC 2449 is longer; SASL of RFC 5034 may be.
const MAX_LINE: usize = 16 * 1024;
const FLUSH_AT: usize = 64 * 1024;
