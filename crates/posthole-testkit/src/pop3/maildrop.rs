//! What a POP3 server keeps: messages with unique-ids, and what became of them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mail::{self, Big};

/// A mailbox on the server; clones are handles to the same one.
///
/// ```
/// use posthole_testkit::pop3::Maildrop;
///
/// let maildrop = Maildrop::of([b"Subject: one\r\n\r\nhi\r\n".to_vec()]);
/// maildrop.add_with_uid(*b"odd \xff uid", "Subject: two\r\n\r\nho\r\n");
/// assert_eq!(maildrop.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Maildrop(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    next: u32,
    deleted: Vec<Vec<u8>>,
    retrieved: BTreeMap<Vec<u8>, u64>,
    locked: bool,
}

/// One message as a session sees it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The server's own number for the message, never reused, whatever its unique-id says.
    pub id: u32,
    /// Its unique-id.
    pub uid: Uid,
    /// Its text.
    pub body: Body,
}

/// A unique-id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Uid {
    /// These octets, whether RFC 1939 §7 allows them or not.
    Bytes(Arc<[u8]>),
    /// A well-formed one made of the message's own number.
    Numbered(u32),
}

impl Uid {
    /// The octets as UIDL shows them.
    #[must_use]
    pub fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes(bytes) => Cow::Borrowed(bytes),
            Self::Numbered(number) => Cow::Owned(format!("{number:08x}65e0c1d2").into_bytes()),
        }
    }
}

impl<B: AsRef<[u8]>> From<B> for Uid {
    fn from(bytes: B) -> Self {
        Self::Bytes(bytes.as_ref().into())
    }
}

/// The text of a message: in its CRLF form, not dot-stuffed.
#[derive(Clone, Debug)]
pub enum Body {
    /// Text made while it is sent.
    Big(Big),
    /// Text in memory; clones share it.
    Bytes(Arc<[u8]>),
    /// The text that [`mail::tiny`] makes of this number.
    Tiny(u32),
}

impl Body {
    /// The size in octets, which LIST shows.
    #[must_use]
    pub fn octets(&self) -> u64 {
        match self {
            Self::Big(big) => big.octets(),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Tiny(number) => mail::tiny(*number as usize).len() as u64,
        }
    }

    /// The whole text; do not ask a gigabyte for it.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.chunks().flatten().collect()
    }

    pub(super) fn chunks(&self) -> Box<dyn Iterator<Item = Vec<u8>> + Send> {
        match self {
            Self::Big(big) => Box::new(big.chunks()),
            Self::Bytes(bytes) => {
                let bytes = Arc::clone(bytes);
                let starts = (0..bytes.len()).step_by(CHUNK);
                Box::new(starts.map(move |at| bytes[at..bytes.len().min(at + CHUNK)].to_vec()))
            }
            Self::Tiny(number) => Box::new(std::iter::once(mail::tiny(*number as usize))),
        }
    }
}

impl From<Big> for Body {
    fn from(big: Big) -> Self {
        Self::Big(big)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Body {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self::Bytes(text.as_bytes().into())
    }
}

impl Maildrop {
    /// An empty mailbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A mailbox with these messages, with unique-ids of its own making.
    #[must_use]
    pub fn of(messages: impl IntoIterator<Item = impl Into<Body>>) -> Self {
        let maildrop = Self::new();
        for message in messages {
            maildrop.add(message);
        }
        maildrop
    }

    /// A mailbox with `n` messages of [`mail::tiny`]; a million take some 50 MB.
    #[must_use]
    pub fn of_tiny(n: u32) -> Self {
        let maildrop = Self::new();
        for i in 0..n {
            maildrop.add(Body::Tiny(i));
        }
        maildrop
    }

    /// Adds a message, as if it had just arrived, and returns its unique-id.
    ///
    /// A session that is already open does not see it (RFC 1939 §4).
    pub fn add(&self, body: impl Into<Body>) -> Vec<u8> {
        let mut inner = self.inner();
        let uid = Uid::Numbered(inner.next);
        let bytes = uid.bytes().into_owned();
        inner.push(uid, body.into());
        bytes
    }

    /// Adds a message with this unique-id, however odd.
    pub fn add_with_uid(&self, uid: impl Into<Uid>, body: impl Into<Body>) {
        self.inner().push(uid.into(), body.into());
    }

    /// Takes a message away, as another client would; says whether there was one.
    pub fn remove(&self, uid: &[u8]) -> bool {
        let mut inner = self.inner();
        let before = inner.entries.len();
        inner.entries.retain(|entry| *entry.uid.bytes() != *uid);
        inner.entries.len() < before
    }

    /// Gives every message a new unique-id, as a server does that was moved or repaired.
    pub fn renumber(&self) {
        let mut inner = self.inner();
        let first = inner.next;
        for (number, entry) in (first..).zip(&mut inner.entries) {
            entry.uid = Uid::Numbered(number);
        }
        inner.next = first + u32::try_from(inner.entries.len()).expect("fewer than 2^32 messages");
    }

    /// How many messages are left.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner().entries.len()
    }

    /// Whether no message is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The messages that are left, byte for byte, in the mailbox's order.
    #[must_use]
    pub fn messages(&self) -> Vec<Vec<u8>> {
        self.inner()
            .entries
            .iter()
            .map(|entry| entry.body.to_vec())
            .collect()
    }

    /// The unique-ids that are left, in the mailbox's order.
    #[must_use]
    pub fn uids(&self) -> Vec<Vec<u8>> {
        self.inner()
            .entries
            .iter()
            .map(|entry| entry.uid.bytes().into_owned())
            .collect()
    }

    /// The unique-ids that clients deleted for good, in the order of the commits.
    #[must_use]
    pub fn deleted(&self) -> Vec<Vec<u8>> {
        self.inner().deleted.clone()
    }

    /// How often each unique-id was sent whole in answer to RETR.
    #[must_use]
    pub fn retrieved(&self) -> BTreeMap<Vec<u8>, u64> {
        self.inner().retrieved.clone()
    }

    /// Forgets what [`deleted`](Self::deleted) and [`retrieved`](Self::retrieved) tell.
    pub fn forget_history(&self) {
        let mut inner = self.inner();
        inner.deleted.clear();
        inner.retrieved.clear();
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.inner().entries.clone()
    }

    pub(super) fn commit(&self, entries: &[Entry]) {
        let ids: std::collections::HashSet<_> = entries.iter().map(|entry| entry.id).collect();
        let mut inner = self.inner();
        inner.entries.retain(|entry| !ids.contains(&entry.id));
        let uids = entries.iter().map(|entry| entry.uid.bytes().into_owned());
        inner.deleted.extend(uids);
    }

    pub(super) fn note_retrieved(&self, uid: &Uid) {
        *self
            .inner()
            .retrieved
            .entry(uid.bytes().into_owned())
            .or_default() += 1;
    }

    /// Takes the exclusive lock of RFC 1939 §4, unless it is taken.
    pub(super) fn lock(&self) -> Option<MaildropLock> {
        let mut inner = self.inner();
        if inner.locked {
            return None;
        }
        inner.locked = true;
        Some(MaildropLock(self.clone()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Inner {
    fn push(&mut self, uid: Uid, body: Body) {
        let id = self.next;
        self.next += 1;
        self.entries.push(Entry { id, uid, body });
    }
}

/// The exclusive lock, held for as long as this lives.
#[derive(Debug)]
pub(super) struct MaildropLock(Maildrop);

impl Drop for MaildropLock {
    fn drop(&mut self) {
        self.0.inner().locked = false;
    }
}

const CHUNK: usize = 64 * 1024;
