//! Mail protocols as values: bytes in on the left, events out on the right, and no IO anywhere.
//!
//! ```text
//!               send(Command) ──►┌──────────────┐──► output()          to the server
//!                                │ pop3::Client │
//!  from the server   receive() ─►└──┬───────┬───┘──► Event
//!                                   │       │
//!                      status lines │       │ message bodies
//!                      and listings │       │ (borrowed from the input, never copied)
//!                          line::LineReader dot::Unstuffer
//! ```
//!
//! The crate is `no_std`, so that it has no way to open a file or a socket, to look at a clock or
//! at the environment, or to sleep: whoever drives it owns the stream, the time limits and the
//! policy. It cannot be hung, since it never waits, and it holds a few kibibytes however large a
//! message or a mailbox is.
//!
//! What a server says is not trusted here: every line and count has a limit ([`pop3::Limits`]),
//! text is cleaned before a person sees it ([`text`]), and whatever does not fit the question that
//! was asked ends the session ([`pop3::Violation`]).

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod conceal;
pub mod dot;
#[doc(hidden)]
pub mod fuzz;
pub mod line;
pub mod pop3;
pub mod sasl;
pub mod smtp;
pub mod text;
