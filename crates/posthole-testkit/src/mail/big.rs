//! Messages too large to hold, made while they are read.

use std::io::{self, Read};
use std::sync::{Arc, LazyLock};

use crate::rng::Rng;

/// A message of an exact size that exists only while it is read.
///
/// It has a header, lines of 76 octets, and now and then a line that starts with a dot. Reading
/// costs a memory copy, so that a gigabyte takes well under a second.
///
/// ```
/// use std::io::Read;
/// use posthole_testkit::mail::{Big, to_lf};
///
/// let big = Big::new(1, 100_000);
/// let (mut crlf, mut lf) = (Vec::new(), Vec::new());
/// big.read_crlf().read_to_end(&mut crlf)?;
/// big.read_lf().read_to_end(&mut lf)?;
/// assert_eq!(crlf.len(), 100_000);
/// assert_eq!(to_lf(&crlf), lf);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Big {
    header: Arc<[u8]>,
    octets: u64,
}

impl Big {
    /// Describes a message of `octets` octets in its CRLF form, at least 200.
    ///
    /// Different ids make different messages.
    ///
    /// # Panics
    ///
    /// When `octets` is less than 200.
    #[must_use]
    pub fn new(id: u64, octets: u64) -> Self {
        assert!(octets >= 200, "a big message has at least 200 octets");
        let header = format!(
            "From: <archive@example.org>\r\nTo: <msingh@example.edu>\r\nSubject: backup {id}\r\n\
             Message-ID: <{id}.{octets}.big@example.org>\r\n\r\n"
        );
        assert!(header.len() < 196, "the header fits the smallest message");
        Self {
            header: header.into_bytes().into(),
            octets,
        }
    }

    /// The size in the CRLF form, without dot-stuffing: what LIST says.
    #[must_use]
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// Reads the message as the server keeps it.
    #[must_use]
    pub fn read_crlf(&self) -> impl Read + Send + use<> {
        Reader {
            chunks: self.chunks(),
            current: Vec::new(),
            at: 0,
            lf: false,
        }
    }

    /// Reads the message as a Maildir keeps it.
    #[must_use]
    pub fn read_lf(&self) -> impl Read + Send + use<> {
        Reader {
            chunks: self.chunks(),
            current: Vec::new(),
            at: 0,
            lf: true,
        }
    }

    /// The message in pieces, each of which ends with a line end.
    pub(crate) fn chunks(&self) -> Chunks {
        Chunks {
            header: Some(Arc::clone(&self.header)),
            left: self.octets,
        }
    }
}

/// Iterator over the pieces of a [`Big`] message.
#[derive(Debug)]
pub(crate) struct Chunks {
    header: Option<Arc<[u8]>>,
    left: u64,
}

impl Iterator for Chunks {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if let Some(header) = self.header.take() {
            self.left -= header.len() as u64;
            return Some(header.to_vec());
        }
        if self.left == 0 {
            return None;
        }
        let block = &*BLOCK;
        let mut n = self.left.min(block.len() as u64);
        // A rest of one or two octets would be no line, or an empty one; leave it a whole line.
        if (1..3).contains(&(self.left - n)) {
            n -= LINE as u64;
        }
        self.left -= n;
        let n = n as usize;
        let mut piece = block[..n].to_vec();
        // The last piece must end with a line end too, wherever the size made it stop, and must not
        // leave half of another one before it.
        if self.left == 0 {
            if piece[n - 3] == b'\r' {
                piece[n - 3] = b'~';
            }
            piece[n - 2..].copy_from_slice(b"\r\n");
        }
        Some(piece)
    }
}

struct Reader {
    chunks: Chunks,
    current: Vec<u8>,
    at: usize,
    lf: bool,
}

impl Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            let Some(chunk) = self.chunks.next() else {
                return Ok(0);
            };
            self.current = if self.lf { super::to_lf(&chunk) } else { chunk };
            self.at = 0;
        }
        let n = buf.len().min(self.current.len() - self.at);
        buf[..n].copy_from_slice(&self.current[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

const LINE: usize = 78;
/// A whole number of lines, near 64 KiB: large enough to be quick, small enough for the cache.
const LINES: usize = 840;

static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::new(0xb16);
    let mut block = Vec::with_capacity(LINE * LINES);
    for line in 0..LINES {
        if line % 97 == 0 {
            block.extend_from_slice(b"..");
        } else {
            block.extend_from_slice(b"| ");
        }
        block.extend((2..LINE - 2).map(|_| ALPHABET[rng.below(ALPHABET.len())]));
        block.extend_from_slice(b"\r\n");
    }
    block
});

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_big_message_has_exactly_the_promised_size_and_only_whole_lines() {
        for octets in (200..500).chain(65_500..65_900).chain([131_300, 1_000_000]) {
            let mut crlf = Vec::new();
            Big::new(9, octets)
                .read_crlf()
                .read_to_end(&mut crlf)
                .unwrap();
            assert_eq!(crlf.len() as u64, octets);
            assert!(crlf.ends_with(b"\r\n"), "{octets} octets");
            let bare = super::super::to_lf(&crlf);
            assert!(!bare.contains(&b'\r'), "a bare CR in {octets} octets");
        }
    }
}
