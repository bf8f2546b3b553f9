//! What a row of the catalogue says.

use std::sync::Arc;
use std::time::Duration;

use posthole_core::error::Class;
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Uid};

/// A misbehaviour, and what must come of it.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) faults: Faults,
    /// What is on the server.
    pub(crate) mail: Vec<(Uid, Vec<u8>)>,
    /// How often the faulty server is polled before it is mended.
    pub(crate) polls: u32,
    /// What the first poll fails with, if it fails.
    pub(crate) ends: Option<Class>,
    /// What the user reads of the first poll: each is a part of it.
    pub(crate) says: Vec<&'static str>,
    /// The messages, counted from 1, that the faulty polls deliver.
    pub(crate) delivers: Vec<usize>,
    /// The messages that are left on the server then.
    pub(crate) leaves: Vec<usize>,
    /// The longest silence that is waited through.
    pub(crate) timeout: Duration,
    /// The largest message that is taken.
    pub(crate) max_size: Option<u64>,
    /// Why no client could avoid to fetch something twice.
    pub(crate) unavoidable: Option<&'static str>,
    /// What the last poll of the faulty server fails with, if more is to be said of it.
    pub(crate) ends_later: Option<Class>,
    /// Whether the server takes away by itself what was fetched.
    pub(crate) takes: bool,
    /// Whether the server is mended at last.
    pub(crate) mends: bool,
    changes: Vec<(When, Change)>,
}

type When = fn(Case) -> bool;
type Change = Arc<dyn Fn(Row) -> Row + Send + Sync>;

/// One of the four ways in which a row is met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) keep: bool,
    pub(crate) pipelined: bool,
}

/// A row about three messages, all of which arrive at once if nothing else is said.
pub(crate) fn row(name: &'static str, faults: Faults) -> Row {
    let row = Row {
        name,
        faults,
        mail: Vec::new(),
        polls: 2,
        ends: None,
        says: Vec::new(),
        delivers: Vec::new(),
        leaves: Vec::new(),
        timeout: Duration::from_secs(20),
        max_size: None,
        unavoidable: None,
        ends_later: None,
        takes: false,
        mends: true,
        changes: Vec::new(),
    };
    let mail = [first(), second(), third()];
    row.mail(UIDS.into_iter().zip(mail))
}

/// A row whose server falls silent.
pub(crate) fn slow(name: &'static str, faults: Faults) -> Row {
    let timeout = Duration::from_millis(300);
    let row = row(name, faults);
    Row { timeout, ..row }
}

/// The unique-ids of the three messages.
pub(crate) const UIDS: [&str; 3] = ["aaa", "bbb", "ccc"];

pub(crate) fn first() -> Vec<u8> {
    mail::tiny(1)
}

/// With lines that begin with dots, and without a line end at its end.
pub(crate) fn second() -> Vec<u8> {
    let mut message = mail::tiny(2);
    message.extend_from_slice(b".\r\n..\r\n.dots\r\n");
    message.extend_from_slice(&b"0123456789 and so on\r\n".repeat(120));
    message.extend_from_slice(b"no end");
    message
}

pub(crate) fn third() -> Vec<u8> {
    [mail::tiny(3), b"the last one\r\n".to_vec()].concat()
}

impl Row {
    /// Other mail on the server; all of it is delivered if nothing else is said.
    pub(crate) fn mail<U: AsRef<[u8]>>(
        mut self,
        mail: impl IntoIterator<Item = (U, Vec<u8>)>,
    ) -> Self {
        let uid = |uid: U| Uid::Bytes(uid.as_ref().into());
        self.mail = mail.into_iter().map(|(id, text)| (uid(id), text)).collect();
        self.delivers = (1..=self.mail.len()).collect();
        self.leaves = Vec::new();
        self
    }

    /// One message instead of the second.
    pub(crate) fn second(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.mail[1].1 = text.into();
        self
    }

    /// Three messages with these unique-ids.
    pub(crate) fn uids<U: AsRef<[u8]>>(self, uids: [U; 3]) -> Self {
        self.mail(uids.into_iter().zip([first(), second(), third()]))
    }

    /// How often the faulty server is polled.
    pub(crate) fn polls(self, polls: u32) -> Self {
        Self { polls, ..self }
    }

    /// The first poll ends with an error.
    pub(crate) fn fails(mut self, class: Class) -> Self {
        self.ends = Some(class);
        self
    }

    /// The last poll of the faulty server ends with an error.
    pub(crate) fn fails_later(mut self, class: Class) -> Self {
        self.ends_later = Some(class);
        self
    }

    /// The server takes away what was fetched, whether it is asked to or not.
    pub(crate) fn taking(mut self) -> Self {
        self.takes = true;
        self
    }

    /// The server is never mended.
    pub(crate) fn for_good(mut self) -> Self {
        self.mends = false;
        self
    }

    /// In every session message 2 stops all: the others are fetched, and nothing is deleted.
    pub(crate) fn poisoned(self, class: Class) -> Self {
        self.fails(class).delivers([1, 3]).leaves([1, 2, 3])
    }

    /// The first poll ends well.
    pub(crate) fn succeeds(mut self) -> Self {
        self.ends = None;
        self
    }

    /// The user reads this.
    pub(crate) fn says(mut self, words: &'static str) -> Self {
        self.says.push(words);
        self
    }

    /// Only these messages are delivered, and the others are left.
    pub(crate) fn delivers(mut self, messages: impl Into<Vec<usize>>) -> Self {
        self.delivers = messages.into();
        let all = 1..=self.mail.len();
        self.leaves = all.filter(|n| !self.delivers.contains(n)).collect();
        self
    }

    /// These messages are left on the server, by an account that deletes.
    pub(crate) fn leaves(mut self, messages: impl Into<Vec<usize>>) -> Self {
        self.leaves = messages.into();
        self
    }

    /// The user need not read anything.
    pub(crate) fn quietly(mut self) -> Self {
        self.says.clear();
        self
    }

    /// As long as the server is faulty, every poll ends like this, and nothing is fetched.
    pub(crate) fn fetches_nothing(self, class: Class) -> Self {
        self.fails(class).delivers([])
    }

    /// No client can avoid that something is fetched twice.
    pub(crate) fn unavoidable(mut self, reason: &'static str) -> Self {
        self.unavoidable = Some(reason);
        self
    }

    pub(crate) fn max_size(mut self, octets: u64) -> Self {
        self.max_size = Some(octets);
        self
    }

    /// What is otherwise where mail is kept.
    pub(crate) fn keeping(self, change: impl Fn(Self) -> Self + Send + Sync + 'static) -> Self {
        self.when(|case| case.keep, change)
    }

    /// What is otherwise where commands are sent ahead.
    pub(crate) fn pipelined(self, change: impl Fn(Self) -> Self + Send + Sync + 'static) -> Self {
        self.when(|case| case.pipelined, change)
    }

    /// What is otherwise where one command is sent at a time.
    pub(crate) fn in_lockstep(self, change: impl Fn(Self) -> Self + Send + Sync + 'static) -> Self {
        self.when(|case| !case.pipelined, change)
    }

    fn when(mut self, when: When, change: impl Fn(Self) -> Self + Send + Sync + 'static) -> Self {
        self.changes.push((when, Arc::new(change)));
        self
    }

    /// The row as it is in one of the four cases.
    pub(crate) fn in_case(&self, case: Case) -> Self {
        let mut row = self.clone();
        if !case.pipelined {
            row.faults = row.faults.without_pipelining();
        }
        for (when, change) in &self.changes {
            if when(case) {
                row = change(row);
            }
        }
        if case.keep && !row.takes {
            row.leaves = (1..=row.mail.len()).collect();
        }
        row
    }
}
