//! The mboxrd form of a message: a `From_` line, the text with its own such lines quoted, and an
//! empty line (mbox(5), RFC 4155).
//!
//! mboxrd puts a `>` before every line that begins with any number of `>` and `From `, and so it
//! can be undone. The form depends on text, sender and time alone, so that recovery can make it
//! again and compare.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::time::SystemTime;

/// A message in its quoted form, to be read.
pub(super) struct Quoted<R> {
    text: R,
    input: Box<[u8]>,
    unread: std::ops::Range<usize>,
    output: Vec<u8>,
    given: usize,
    state: State,
    ended: bool,
}

/// Where in a line of the text we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// At its beginning, after any number of `>`, and after so many octets of `From `.
    Start(usize),
    /// Where it does not matter any more.
    Inside,
}

impl<R: Read> Quoted<R> {
    /// Prepares a text whose lines end in LF; `lead` comes before it.
    pub(super) fn new(text: R, sender: &str, at: SystemTime, lead: &[u8]) -> Self {
        let mut output = lead.to_vec();
        output.extend_from_slice(from_line(sender, at).as_bytes());
        Self {
            text,
            input: vec![0; 32 << 10].into_boxed_slice(),
            unread: 0..0,
            output,
            given: 0,
            state: State::Start(0),
            ended: false,
        }
    }

    fn quote(&mut self) {
        let input = &self.input[self.unread.clone()];
        let output = &mut self.output;
        let mut at = 0;
        while let Some(&octet) = input.get(at) {
            match self.state {
                State::Inside => {
                    let end = memchr::memchr(b'\n', &input[at..]).map(|found| at + found + 1);
                    output.extend_from_slice(&input[at..end.unwrap_or(input.len())]);
                    if end.is_some() {
                        self.state = State::Start(0);
                    }
                    at = end.unwrap_or(input.len());
                }
                // The quote may stand anywhere among those that are there already.
                State::Start(0) if octet == b'>' => {
                    output.push(octet);
                    at += 1;
                }
                State::Start(seen) if octet == FROM[seen] => {
                    at += 1;
                    self.state = if seen + 1 == FROM.len() {
                        output.push(b'>');
                        output.extend_from_slice(FROM);
                        State::Inside
                    } else {
                        State::Start(seen + 1)
                    };
                }
                State::Start(seen) => {
                    output.extend_from_slice(&FROM[..seen]);
                    self.state = State::Inside;
                }
            }
        }
        self.unread = 0..0;
    }

    fn end(&mut self) {
        if let State::Start(seen) = self.state {
            self.output.extend_from_slice(&FROM[..seen]);
        }
        let at_line_start = self.state == State::Start(0) && self.output.last() != Some(&b'>');
        if !at_line_start {
            self.output.push(b'\n');
        }
        self.output.push(b'\n');
        self.ended = true;
    }
}

impl<R: Read> Read for Quoted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() && !self.ended {
            // What was given last tells whether the text has ended in the middle of a line.
            let last = self.output.last().copied();
            self.output.clear();
            self.given = 0;
            let length = self.text.read(&mut self.input)?;
            if length == 0 {
                self.output.extend(last);
                self.given = self.output.len();
                self.end();
            } else {
                self.unread = 0..length;
                self.quote();
                if self.output.is_empty() {
                    // All of it is held back; the octet before it still counts.
                    self.output.extend(last);
                    self.given = self.output.len();
                }
            }
        }
        let rest = &self.output[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

/// The line that begins a message, with the time as asctime(3) has it, in UTC (RFC 4155).
pub(super) fn from_line(sender: &str, at: SystemTime) -> String {
    let sender = if sender.is_empty() {
        "MAILER-DAEMON"
    } else {
        sender
    };
    format!("From {sender} {}\n", asctime(at))
}

fn asctime(at: SystemTime) -> String {
    let days = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() / (24 * 60 * 60));
    // The epoch began on a Thursday.
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap_or(0)];
    // `2026-11-24T08:05:09Z`
    let stamp = humantime::format_rfc3339_seconds(at).to_string();
    let (date, time) = stamp
        .trim_end_matches('Z')
        .split_once('T')
        .unwrap_or_default();
    let mut parts = date.rsplitn(3, '-');
    let (day, month, year) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?));
    let day = day.unwrap_or_default().trim_start_matches('0');
    format!(
        "{weekday} {} {day:>2} {time} {}",
        month.unwrap_or(&MONTHS[0]),
        year.unwrap_or_default()
    )
}

/// What must stand between the end of the file and a message, so that it is preceded by an empty
/// line.
pub(super) fn lead(file: &File, end: u64) -> io::Result<&'static [u8]> {
    let mut last = [0; 2];
    let known = end.min(2);
    // INVARIANT: at most 2.
    let known_len = usize::try_from(known).unwrap_or(2);
    file.read_exact_at(&mut last[..known_len], end - known)?;
    Ok(match &last[..known_len] {
        [] | [b'\n', b'\n'] => b"",
        [.., b'\n'] => b"\n",
        _ => b"\n\n",
    })
}

/// What every mbox that is not empty begins with.
pub(super) const FROM: &[u8] = b"From ";

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;

    /// Gives its pieces one at a time.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn quoted<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty());
        let pieces = Pieces(pieces.collect());
        let mut form = String::new();
        Quoted::new(pieces, "", UNIX_EPOCH, b"")
            .read_to_string(&mut form)
            .unwrap();
        form.split_once('\n').unwrap().1.to_owned()
    }

    #[test]
    fn only_lines_that_could_begin_a_message_are_quoted() {
        let table = [
            ("a\n", "a\n\n"),
            ("a", "a\n\n"),
            ("", "\n"),
            ("\n", "\n\n"),
            ("From a\n", ">From a\n\n"),
            (">From a\n", ">>From a\n\n"),
            (">>>From a", ">>>>From a\n\n"),
            ("x\nFrom \nFrom\n", "x\n>From \nFrom\n\n"),
            (" From a\nfrom a\nFromage\n", " From a\nfrom a\nFromage\n\n"),
            ("Fro", "Fro\n\n"),
            ("From", "From\n\n"),
            (">", ">\n\n"),
            (">\n>>", ">\n>>\n\n"),
            ("FFrom a\nFrFrom b\n", "FFrom a\nFrFrom b\n\n"),
            ("> From a\n", "> From a\n\n"),
        ];
        for (text, expected) in table {
            for cut in 0..=text.len() {
                let (left, right) = text.as_bytes().split_at(cut);
                assert_eq!(quoted([left, right]), expected, "{text:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_time_is_that_of_asctime() {
        let table = [
            (0, "Thu Jan  1 00:00:00 1970"),
            (951_782_399, "Mon Feb 28 23:59:59 2000"),
            (951_782_400, "Tue Feb 29 00:00:00 2000"),
            (1_795_507_509, "Tue Nov 24 08:05:09 2026"),
            (4_102_444_799, "Thu Dec 31 23:59:59 2099"),
        ];
        for (seconds, expected) in table {
            assert_eq!(asctime(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(
            from_line("", UNIX_EPOCH),
            "From MAILER-DAEMON Thu Jan  1 00:00:00 1970\n"
        );
    }

    /// As a reader of mboxrd undoes it.
    fn unquoted(form: &str) -> String {
        let lines = form.split_inclusive('\n').map(|line| {
            let bare = line.trim_start_matches('>');
            let is_quoted = bare.starts_with("From ") && line.starts_with('>');
            if is_quoted { &line[1..] } else { line }
        });
        lines.collect()
    }

    proptest! {
        #[test]
        fn what_was_quoted_can_be_undone(text in "(>|F|From |a|\n){0,30}", cuts in any::<[usize; 4]>()) {
            let form = quoted([text.as_bytes()]);
            let mut cuts = cuts.map(|cut| cut % (text.len() + 1));
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for cut in cuts {
                pieces.push(&text.as_bytes()[start..cut]);
                start = cut;
            }
            pieces.push(&text.as_bytes()[start..]);
            prop_assert_eq!(&quoted(pieces), &form);
            for line in form.lines() {
                prop_assert!(!line.starts_with("From "), "{form}");
            }
            let end = if text.is_empty() || text.ends_with('\n') { "\n" } else { "\n\n" };
            prop_assert_eq!(unquoted(&form), text + end);
        }
    }
}
