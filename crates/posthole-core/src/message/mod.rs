//! Changes to a message on its way from the server to the disk, as fetchmail(1) makes them.
//!
//! ```text
//! text with LF line ends ─push→ Header (held until its end) ─edit→ out
//!                               Body   (line by line)       ─────→ out
//! ```
//!
//! The header is held until it is whole, since what one field says decides about others; its size
//! is bounded, and a message whose header is longer passes unchanged but for our own field in front.
//! The body streams. Without [`Edits`] nothing here is used at all, and every octet stays as it
//! came.
//!
//! [`Multidrop`] finds out whom a message is for. What is not here is what a destination does to
//! line ends.

mod address;
mod fingerprint;
mod header;
mod mime;
mod multidrop;
mod qualify;
mod received;

pub(crate) use fingerprint::{Fingerprint, Fingerprinter};
pub use multidrop::{Envelope, Multidrop};
pub(crate) use received::time as date;
pub use received::{Received, Recipient};

use std::sync::Arc;
use std::time::SystemTime;

use crate::deliver;

/// What is changed in each message.
#[derive(Clone, Debug, Default)]
pub struct Edits {
    /// The trace field to put in front (RFC 5321 §4.4).
    pub received: Option<Received>,
    /// Whether a `Return-Path` is put in front where there is none.
    pub return_path: bool,
    /// The host that is appended to addresses without one (`rewrite`).
    pub qualify: Option<String>,
    /// Which marks of other mail programs are taken out.
    pub status: StatusFields,
    /// Whether `Delivered-To` is taken out (`dropdelivered`).
    pub drop_delivered: bool,
    /// Whether quoted-printable text becomes eight-bit text (`mimedecode`).
    pub decode_mime: bool,
    /// Whether carriage returns are taken out wherever they stand (`stripcr`).
    pub strip_cr: bool,
}

/// What happens to `Status` and `X-Mozilla-Status`, which say what was read on the server.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StatusFields {
    /// They stay.
    #[default]
    Keep,
    /// Those that say nothing go; some POP3 servers put them in.
    DropEmpty,
    /// They go (`dropstatus`).
    Drop,
}

/// Finds out from a header whom a message is for; nobody in particular where that is all the same.
pub type Find<'a> = dyn FnMut(&[u8]) -> Option<Recipient> + 'a;

/// Edits one message.
///
/// [`Editor::push`] takes its text in parts of any size, and [`Editor::finish`] must follow.
#[derive(Debug)]
pub struct Editor {
    edits: Arc<Edits>,
    arrived: SystemTime,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What has come of the header.
    Header(Vec<u8>),
    Body(Option<mime::Decoder>),
}

impl Editor {
    /// Starts a message that arrived at a certain time.
    #[must_use]
    pub fn new(edits: Arc<Edits>, arrived: SystemTime) -> Self {
        Self {
            edits,
            arrived,
            state: State::Header(Vec::new()),
        }
    }

    /// Takes text with LF line ends, and appends to `out` what can be said of it so far.
    ///
    /// Once the header is there, or as much of it as is held, `find` is asked whom the message is
    /// for, so that our field in front can say so.
    pub fn push(&mut self, text: &[u8], out: &mut Vec<u8>, find: &mut Find<'_>) {
        match &mut self.state {
            State::Header(held) => {
                let before = held.len();
                held.extend_from_slice(text);
                if let Some(end) = header::end(held, before) {
                    let held = std::mem::take(held);
                    let (header, body) = held.split_at(end);
                    self.leave_header(header, out, find);
                    self.push(body, out, find);
                } else if held.len() > HEADER_LIMIT {
                    let held = std::mem::take(held);
                    let recipient = find(&held);
                    self.trace(recipient, out);
                    self.state = State::Body(None);
                    self.push(&held, out, find);
                }
            }
            State::Body(decoder) => {
                let start = out.len();
                match decoder {
                    Some(decoder) => decoder.push(text, out),
                    None => out.extend_from_slice(text),
                }
                if self.edits.strip_cr {
                    strip_cr(out, start);
                }
            }
        }
    }

    /// Ends the message, appending what was held back.
    pub fn finish(mut self, out: &mut Vec<u8>, find: &mut Find<'_>) {
        if let State::Header(held) = &mut self.state {
            // It had no body, and no empty line either.
            let held = std::mem::take(held);
            self.leave_header(&held, out, find);
        }
        let start = out.len();
        if let State::Body(Some(decoder)) = self.state {
            decoder.finish(out);
        }
        if self.edits.strip_cr {
            strip_cr(out, start);
        }
    }

    fn leave_header(&mut self, header: &[u8], out: &mut Vec<u8>, find: &mut Find<'_>) {
        let start = out.len();
        let recipient = find(header);
        let mut fields = header::fields(header).peekable();
        // What was written when the message was last delivered stays above our own mark.
        let is_return_path =
            |field: &header::Field<'_>| field.is("Return-Path") && !field.is_blank();
        let is_above = |field: &header::Field<'_>| field.is_from_line() || is_return_path(field);
        while let Some(field) = fields.next_if(is_above) {
            self.field(&field, out);
        }
        if self.edits.return_path && !header::fields(header).any(|field| is_return_path(&field)) {
            let sender = deliver::sender_of(header);
            out.extend_from_slice(format!("Return-Path: <{sender}>\n").as_bytes());
        }
        self.trace(recipient, out);
        let mut decoder = self.edits.decode_mime.then(mime::Decoder::default);
        for field in fields {
            if let Some(decoder) = &mut decoder {
                decoder.field(&field);
            }
            self.field(&field, out);
        }
        if self.edits.strip_cr {
            strip_cr(out, start);
        }
        if let Some(decoder) = &mut decoder {
            decoder.enter_body();
        }
        self.state = State::Body(decoder);
    }

    fn field(&self, field: &header::Field<'_>, out: &mut Vec<u8>) {
        let edits = &*self.edits;
        let is_status = field.is("Status") || field.is("X-Mozilla-Status");
        let is_dropped = match edits.status {
            StatusFields::Keep => false,
            StatusFields::DropEmpty => is_status && field.is_blank(),
            StatusFields::Drop => is_status,
        } || edits.drop_delivered && field.is("Delivered-To");
        if is_dropped {
            return;
        }
        let start = out.len();
        match &edits.qualify {
            Some(host) if qualify::applies_to(field) => qualify::qualify(field, host, out),
            _ => out.extend_from_slice(field.octets),
        }
        if edits.decode_mime {
            mime::decode_field(field, start, out);
        }
    }

    fn trace(&self, recipient: Option<Recipient>, out: &mut Vec<u8>) {
        if let Some(received) = &self.edits.received {
            let field = received.field(self.arrived, recipient.as_ref());
            out.extend_from_slice(field.as_bytes());
        }
    }
}

/// Takes carriage returns out of what was appended from `start` on.
fn strip_cr(out: &mut Vec<u8>, start: usize) {
    if memchr::memchr(b'\r', &out[start..]).is_some() {
        let mut at = start;
        for idx in start..out.len() {
            if out[idx] != b'\r' {
                out[at] = out[idx];
                at += 1;
            }
        }
        out.truncate(at);
    }
}

/// How much header is held. Whatever is longer is no header that anybody wrote.
pub(crate) const HEADER_LIMIT: usize = 1 << 20;

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::HEADER_LIMIT;
}

#[cfg(test)]
mod tests;
