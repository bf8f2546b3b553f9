//! What a run that died has left in a file.
//!
//! Where each message should begin is on record, and the message can be made again from its text
//! in the staging folder. So it is compared: either all of it is there, or the file ends in the
//! middle of it, and that tail is cut off; or it is not there. A mail program may have rewritten
//! the file since. Then the message is searched for, all of it but the fields in which mail programs
//! keep their notes (`Status`). What was found for one intent is not taken for another, since two
//! messages may be alike. One that is nowhere is fetched again: nobody can tell whether it was read
//! and deleted, and rather twice than never.
//!
//! What is in its place may be in the kernel's memory only, which a sync could not write; to sync it
//! once more would say nothing. So it is written anew, over itself.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

use memchr::memmem;

use super::super::staging::Staging;
use super::super::{DeliverError, Receipt, Recovered, envelope};
use super::place::{Locked, read_full};
use super::{AppendFile, Batch, Form, bsmtp, mbox};
use crate::durable::At;
use crate::record::StoredIntent;

impl AppendFile {
    /// Finds out what became of the intents of a run that died, and takes off a message that is
    /// there in part.
    ///
    /// The texts stay until that is on record: this may be cut short as well.
    pub(in crate::deliver) fn recover(
        &self,
        mut intents: Vec<StoredIntent>,
        staging: &Staging,
    ) -> Result<Recovered, DeliverError> {
        let mut recovered = Recovered::default();
        let Some(mut locked) = self.lock(false)? else {
            recovered.lost = intents.into_iter().map(|intent| intent.identity).collect();
            return Ok(recovered);
        };
        intents.sort_by_key(|intent| intent.offset);
        // What stands in its own place is known before the others are searched for.
        let mut claimed = HashSet::new();
        let mut elsewhere = Vec::new();
        for intent in intents {
            // Without the text nothing can be compared, and nothing is cut off.
            if !staging.holds(&intent.name)? {
                recovered.lost.push(intent.identity);
                continue;
            }
            let path = staging.path().join(&intent.name);
            let sender = envelope::sender(staging.read(&intent.name)?)
                .at("read", &path)?
                .unwrap_or_default();
            match self.compare_in_place(&intent, &sender, &mut locked, staging)? {
                Some(begin) => {
                    claimed.insert(begin);
                    recovered
                        .receipts
                        .push(Receipt::of_earlier_run(intent.identity));
                }
                None => elsewhere.push((intent, sender)),
            }
        }
        for (intent, sender) in elsewhere {
            if self.is_elsewhere(&intent, &sender, &locked, staging, &mut claimed)? {
                recovered
                    .receipts
                    .push(Receipt::of_earlier_run(intent.identity));
            } else {
                recovered.lost.push(intent.identity);
            }
        }
        // It may not have got as far as this, nor as far as to make known that there is a file.
        locked.sync_as_new()?;
        Ok(recovered)
    }

    /// Where a message begins that is whole where it should be. One that is there in part is cut
    /// off.
    fn compare_in_place(
        &self,
        intent: &StoredIntent,
        sender: &str,
        locked: &mut Locked,
        staging: &Staging,
    ) -> Result<Option<u64>, DeliverError> {
        let start = intent.offset.unwrap_or(0);
        if locked.place != intent.place || start >= locked.length {
            return Ok(None);
        }
        let lead = self.lead(&locked.file, start, &locked.path)?;
        let text = staging.read(&intent.name)?;
        let head = match &self.form {
            Form::Bsmtp { recipients } => {
                let (file, end) = (&locked.file, locked.length);
                let head = bsmtp::head_at(file, start, end, sender, recipients);
                Some(head.at("read", &locked.path)?)
            }
            Form::Mbox => None,
        };
        let mut form = self.form_of(text, head.clone(), sender, intent, lead);
        let compared = compare(&locked.file, start, locked.length, &mut form);
        match compared.at("read", &locked.path)? {
            Compared::Whole => {
                let text = staging.read(&intent.name)?;
                let mut form = self.form_of(text, head, sender, intent, lead);
                locked.write_anew(start, &mut form)?;
                Ok(Some(start + lead.len() as u64))
            }
            Compared::Cut => {
                tracing::info!(
                    "a message is there in part; {} is cut",
                    locked.path.display()
                );
                locked.cut_back(start)?;
                Ok(None)
            }
            Compared::Other => Ok(None),
        }
    }

    /// A message as it should stand in the file, after what in a batch stands before it.
    fn form_of(
        &self,
        text: File,
        head: Option<Vec<u8>>,
        sender: &str,
        intent: &StoredIntent,
        lead: &'static [u8],
    ) -> Box<dyn Read> {
        match head {
            Some(head) => Box::new(Batch::with_head(text, head)),
            None => self.render(text, sender, &[], intent.at, lead),
        }
    }

    /// Whether a message is in another place, which no other message is `claimed` to be in.
    fn is_elsewhere(
        &self,
        intent: &StoredIntent,
        sender: &str,
        locked: &Locked,
        staging: &Staging,
        claimed: &mut HashSet<u64>,
    ) -> Result<bool, DeliverError> {
        match self.form {
            Form::Bsmtp { .. } => Ok(false),
            Form::Mbox => {
                let text = || staging.read(&intent.name);
                let form = || Ok(mbox::Quoted::new(text()?, sender, intent.at, b""));
                let found = find(locked, sender, intent.at, form, claimed)?;
                Ok(found.is_some_and(|begin| claimed.insert(begin)))
            }
        }
    }
}

/// What stands where a message should begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Compared {
    /// The beginning of it, or a hole, and then the file ends.
    Cut,
    Other,
    Whole,
}

/// Compares what a file holds from `start` on with what it should hold.
fn compare(file: &File, start: u64, end: u64, form: &mut dyn Read) -> io::Result<Compared> {
    let (mut there, mut ours) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = start;
    loop {
        let length = read_full(&mut &mut *form, &mut ours)?;
        let found = read_full(&mut At64 { file, at }, &mut there[..length])?;
        let same = ours.iter().zip(&there[..found]).take_while(|(a, b)| a == b);
        let same = same.count();
        if same < length {
            // A loss of power may leave a file longer than what of it was written.
            let rest = At64 {
                file,
                at: at + same as u64,
            };
            return Ok(if is_hole(rest, end)? {
                Compared::Cut
            } else {
                Compared::Other
            });
        }
        if length < ours.len() {
            return Ok(Compared::Whole);
        }
        at += length as u64;
    }
}

/// Whether nothing but NULs follows, or nothing at all.
fn is_hole(mut rest: At64<'_>, end: u64) -> io::Result<bool> {
    let mut buffer = vec![0; CHUNK];
    while rest.at < end {
        let length = rest.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        if buffer[..length].iter().any(|octet| *octet != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Where in an mbox a message is, whatever mail programs have noted in its header by now; not in a
/// place that is another message's.
fn find<R: Read>(
    locked: &Locked,
    sender: &str,
    at: SystemTime,
    form: impl Fn() -> Result<R, DeliverError>,
    claimed: &HashSet<u64>,
) -> Result<Option<u64>, DeliverError> {
    let line = mbox::from_line(sender, at);
    let finder = memmem::Finder::new(line.as_bytes());
    let mut chunk = vec![0; CHUNK];
    let mut start = 0;
    while start < locked.length {
        let mut reader = At64 {
            file: &locked.file,
            at: start,
        };
        let length = read_full(&mut reader, &mut chunk).at("read", &locked.path)?;
        for found in finder.find_iter(&chunk[..length]) {
            let begin = start + found as u64;
            let after_line = begin + line.len() as u64;
            if !claimed.contains(&begin)
                && is_line_start(&locked.file, begin).at("read", &locked.path)?
                && has_text(locked, after_line, form()?).at("read", &locked.path)?
            {
                return Ok(Some(begin));
            }
        }
        if length < chunk.len() {
            break;
        }
        // A line across the border is found in the next chunk.
        start += (chunk.len() - line.len()) as u64;
    }
    Ok(None)
}

fn is_line_start(file: &File, at: u64) -> io::Result<bool> {
    let mut before = [0];
    Ok(at == 0 || (file.read_at(&mut before, at - 1)? == 1 && before[0] == b'\n'))
}

/// Whether the text that begins here, after the `From_` line, is that of the message.
fn has_text(locked: &Locked, begin: u64, form: impl Read) -> io::Result<bool> {
    let there = At64 {
        file: &locked.file,
        at: begin,
    };
    let mut there = Header::of(BufReader::new(there));
    let mut ours = Header::of(BufReader::new(form));
    // Its `From_` line is in front of both.
    ours.line()?;
    ours.length = 0;
    loop {
        if !there.line()? || !ours.line()? || there.line != ours.line {
            return Ok(false);
        }
        if there.line == b"\n" {
            break;
        }
    }
    let body = begin + there.length;
    let compared = compare(&locked.file, body, locked.length, &mut ours.reader)?;
    Ok(compared == Compared::Whole)
}

/// A header, read line by line without the fields that mail programs change.
struct Header<R> {
    reader: R,
    /// What was read.
    length: u64,
    /// The line read last.
    line: Vec<u8>,
    /// Whether a line that goes on belongs to a field that is left out.
    is_note: bool,
}

impl<R: BufRead> Header<R> {
    fn of(reader: R) -> Self {
        Self {
            reader,
            length: 0,
            line: Vec::new(),
            is_note: false,
        }
    }

    /// Reads the next line that counts, of which the last is empty; false if there is none soon.
    fn line(&mut self) -> io::Result<bool> {
        while self.length < HEADER_LIMIT {
            self.line.clear();
            let left = HEADER_LIMIT - self.length;
            let mut limited = self.reader.by_ref().take(left);
            self.length += limited.read_until(b'\n', &mut self.line)? as u64;
            if !self.line.ends_with(b"\n") {
                return Ok(false);
            }
            let goes_on = matches!(self.line[..], [b' ' | b'\t', ..]);
            self.is_note = if goes_on {
                self.is_note
            } else {
                is_note(&self.line)
            };
            if !self.is_note {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether a line begins a field in which mail programs note things of their own.
fn is_note(line: &[u8]) -> bool {
    let name = line.split(|octet| *octet == b':').next();
    let name = name.unwrap_or_default().trim_ascii_end();
    NOTES.iter().any(|note| name.eq_ignore_ascii_case(note))
        || name
            .get(..MOZILLA.len())
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case(MOZILLA))
}

/// A file, read from a place on.
struct At64<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At64<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

const CHUNK: usize = 64 << 10;

/// Longer headers than this are not told apart from bodies.
const HEADER_LIMIT: u64 = 4 << 20;

/// What mutt, Dovecot, UW IMAP, Evolution and others write into an mbox.
const NOTES: &[&[u8]] = &[
    b"Content-Length",
    b"Lines",
    b"Status",
    b"X-Evolution",
    b"X-IMAP",
    b"X-IMAPbase",
    b"X-Keywords",
    b"X-Label",
    b"X-Status",
    b"X-UID",
    b"X-UIDL",
];

/// `X-Mozilla-Status`, `X-Mozilla-Status2`, `X-Mozilla-Keys`.
const MOZILLA: &[u8] = b"X-Mozilla-";
