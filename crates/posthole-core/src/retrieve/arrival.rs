//! What gives away that what arrived is not the message that was asked for.

use memchr::memmem;

use crate::session::{Listing, MessageRef};

/// Whether a text looks as if the reply to another command had got into it.
///
/// A server that forgets the line end before the last dot leaves a message without an end. With
/// more commands in flight, the next message and its end would be taken for the rest of this one.
/// Mail may hold such lines by right, so all they are is a reason to ask for the message alone.
#[derive(Debug, Default)]
pub(super) struct Likeness {
    found: bool,
    /// How the text begins.
    start: Vec<u8>,
    /// The last octets of what was looked at.
    tail: Vec<u8>,
}

impl Likeness {
    /// The beginning of a text that begins with a status line itself, as far as it is here.
    ///
    /// No mail does by right: a trace field or its like is in front of whatever a sender writes.
    pub(super) fn reply_at_start(&mut self, text: &[u8]) -> Option<&[u8]> {
        if self.start.len() >= LONGEST {
            return None;
        }
        self.start
            .extend_from_slice(&text[..text.len().min(WORTH_SHOWING)]);
        let is_reply = STATUS_LINES
            .iter()
            .any(|line| self.start.starts_with(&line[1..]));
        let first = self
            .start
            .split(|octet| matches!(octet, b'\r' | b'\n'))
            .next();
        first.filter(|_| is_reply)
    }

    /// Looks at a piece of the text.
    pub(super) fn look(&mut self, text: &[u8]) {
        if self.found {
            return;
        }
        let has = |text: &[u8]| {
            STATUS_LINES
                .iter()
                .any(|line| memmem::find(text, line).is_some())
        };
        self.tail
            .extend_from_slice(&text[..text.len().min(LONGEST - 1)]);
        self.found = has(&self.tail) || has(text);
        let seam = if text.len() < LONGEST {
            &self.tail
        } else {
            text
        };
        self.tail = seam[seam.len().saturating_sub(LONGEST - 1)..].to_vec();
    }

    pub(super) const fn is_there(&self) -> bool {
        self.found
    }
}

const STATUS_LINES: [&[u8]; 2] = [b"\n+OK", b"\n-ERR"];
const LONGEST: usize = 5;

/// How much of a line a person will look at.
const WORTH_SHOWING: usize = 80;

/// What the sizes in a listing have been worth in this session.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    /// Whether they were right, in this session or the last one in which they could be compared.
    right: bool,
    /// Whether that is known from this session.
    compared: bool,
    /// Whether one was not, so that sizes are only advice, as they are with most servers.
    wrong: bool,
}

impl Sizes {
    /// What is known from earlier sessions.
    pub(super) fn remembered(right: bool) -> Self {
        Self {
            right,
            ..Self::default()
        }
    }

    /// Whether they were right in this session, if any could be compared.
    pub(super) fn verdict(&self) -> Option<bool> {
        self.compared.then_some(!self.wrong)
    }

    /// Says why what arrived cannot be this message, if it cannot.
    ///
    /// That is nothing in place of something; or, from a server whose sizes were right so far,
    /// exactly as much as it lists for another message and not for this one.
    pub(super) fn belie(
        &mut self,
        arrived: u64,
        message: MessageRef,
        listing: &Listing,
    ) -> Option<String> {
        let listed = listing.size(message.idx);
        if arrived == listed {
            self.right = true;
            self.compared = true;
            return None;
        }
        if arrived == 0 {
            return Some(format!(
                "the server sent nothing where it lists {listed} octets"
            ));
        }
        // What servers add or leave out, a field or the last line end, is no other message.
        let differs = arrived.abs_diff(listed) > arrived.max(listed) / 10;
        let was_exact = self.right && !self.wrong && differs;
        let other = (0..listing.len_u32()).find(|&idx| was_exact && listing.size(idx) == arrived);
        let Some(other) = other else {
            self.wrong = true;
            self.compared = true;
            return None;
        };
        let (asked, other) = (message.number, listing.message(other).number);
        Some(format!(
            "the server sent {arrived} octets, which is message {other}, where it lists {listed} \
             for message {asked}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_at_the_start_is_found_however_it_arrives() {
        let found = |text: &[u8], size: usize| {
            let mut likeness = Likeness::default();
            text.chunks(size)
                .any(|piece| likeness.reply_at_start(piece).is_some())
        };
        for size in 1..8 {
            assert!(
                found(b"+OK\r\n", size) && found(b"-ERR no\r\n", size),
                "{size}"
            );
            assert!(!found(b"Subject: x\r\n\r\n+OK\r\n", size), "{size}");
            assert!(
                !found(b"-ERX\r\n", size) && !found(b" +OK\r\n", size),
                "{size}"
            );
        }
    }

    #[test]
    fn a_reply_is_found_across_pieces_and_nowhere_else() {
        let found = |text: &[u8], size: usize| {
            let mut likeness = Likeness::default();
            text.chunks(size).for_each(|piece| likeness.look(piece));
            likeness.is_there()
        };
        for size in 1..20 {
            assert!(found(b"text.\r\n+OK 5 octets\r\n", size), "{size}");
            assert!(found(b"a long line of text\n-ERR\r\n", size), "{size}");
            assert!(
                !found(b"+OK\r\n +OK\r\n-ER\r\nx-ERR +OK\r\n\r\n", size),
                "{size}"
            );
        }
    }
}
