//! What a run that died has left in a file.
//!
//! Where each message should begin is on record, and the message can be made again from its text
//! in the staging folder. So it is compared: either all of it is there, or the file ends in the
//! middle of it, and that tail is cut off; or it is not there. A mail program may have rewritten
//! the file since. Then the message is searched for, by its `From_` line and its body, since the
//! header may have got a `Status` field meanwhile. One that is nowhere is fetched again: nobody
//! can tell whether it was read and deleted, and rather twice than never.

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
        for intent in intents {
            if self.is_there(&intent, &mut locked, staging)? {
                recovered
                    .receipts
                    .push(Receipt::of_earlier_run(intent.identity));
            } else {
                recovered.lost.push(intent.identity);
            }
        }
        // It may not have got as far as this.
        locked.sync()?;
        Ok(recovered)
    }

    fn is_there(
        &self,
        intent: &StoredIntent,
        locked: &mut Locked,
        staging: &Staging,
    ) -> Result<bool, DeliverError> {
        // Without the text nothing can be compared, and nothing is cut off.
        if !staging.holds(&intent.name)? {
            return Ok(false);
        }
        let path = staging.path().join(&intent.name);
        let sender = envelope::sender(staging.read(&intent.name)?)
            .at("read", &path)?
            .unwrap_or_default();
        let text = || staging.read(&intent.name);
        let start = intent.offset.unwrap_or(0);
        if locked.inode == intent.place && start < locked.length {
            let lead = self.lead(&locked.file, start, &locked.path)?;
            let mut form: Box<dyn Read> = match &self.form {
                Form::Bsmtp { recipients } => {
                    let (file, end) = (&locked.file, locked.length);
                    let head = bsmtp::head_at(file, start, end, &sender, recipients);
                    let head = head.at("read", &locked.path)?;
                    Box::new(Batch::with_head(text()?, head))
                }
                Form::Mbox => self.render(text()?, &sender, &[], intent.at, lead),
            };
            let compared = compare(&locked.file, start, locked.length, &mut form);
            match compared.at("read", &locked.path)? {
                Compared::Whole => return Ok(true),
                Compared::Cut => {
                    tracing::info!(
                        "a message is there in part; {} is cut",
                        locked.path.display()
                    );
                    locked.cut_back(start)?;
                    return Ok(false);
                }
                Compared::Other => {}
            }
        }
        match self.form {
            Form::Bsmtp { .. } => Ok(false),
            Form::Mbox => {
                let form = || Ok(mbox::Quoted::new(text()?, &sender, intent.at, b""));
                find(locked, &sender, intent.at, form)
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

/// Whether a message is anywhere in an mbox, with whatever header it has by now.
fn find<R: Read>(
    locked: &Locked,
    sender: &str,
    at: SystemTime,
    form: impl Fn() -> Result<R, DeliverError>,
) -> Result<bool, DeliverError> {
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
            if is_line_start(&locked.file, begin).at("read", &locked.path)?
                && has_body(locked, after_line, form()?).at("read", &locked.path)?
            {
                return Ok(true);
            }
        }
        if length < chunk.len() {
            break;
        }
        // A line across the border is found in the next chunk.
        start += (chunk.len() - line.len()) as u64;
    }
    Ok(false)
}

fn is_line_start(file: &File, at: u64) -> io::Result<bool> {
    let mut before = [0];
    Ok(at == 0 || (file.read_at(&mut before, at - 1)? == 1 && before[0] == b'\n'))
}

/// Whether the header that begins here is followed by the body of the message.
fn has_body(locked: &Locked, header: u64, form: impl Read) -> io::Result<bool> {
    let there = At64 {
        file: &locked.file,
        at: header,
    };
    let Some(header_length) = skip_header(&mut BufReader::new(there))? else {
        return Ok(false);
    };
    let mut ours = BufReader::new(form);
    if skip_header(&mut ours)?.is_none() {
        return Ok(false);
    }
    let body = header + header_length;
    let compared = compare(&locked.file, body, locked.length, &mut ours)?;
    Ok(compared == Compared::Whole)
}

/// Reads up to the first empty line and returns how much that was; none if there is none soon.
fn skip_header(reader: &mut impl BufRead) -> io::Result<Option<u64>> {
    let mut length = 0;
    let mut line = Vec::new();
    while length < HEADER_LIMIT {
        line.clear();
        let left = HEADER_LIMIT - length;
        length += reader.by_ref().take(left).read_until(b'\n', &mut line)? as u64;
        match line[..] {
            [b'\n'] => return Ok(Some(length)),
            [] => break,
            _ => {}
        }
    }
    Ok(None)
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
