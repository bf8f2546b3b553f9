//! fetchmail's rc file: the whole language of 6.4, and the words that 6.5 and 7 add.
//!
//! Octets go in, an [`Rcfile`] and everything that is wrong with it come out; [`Rcfile::resolve`]
//! makes of it, and of the command line, what fetchmail would do. Both are pure. What counts as
//! right is fetchmail(1) and, wherever that is silent, what `fetchmail --configdump` prints: a
//! differential test compares the two. The language is one of words rather than of characters, and
//! what a word means depends on the word before ([`lexer`]), so that most mistakes are noticed
//! late; the hard part is to say what was really meant ([`explain`]).
//!
//! Where fetchmail has bugs that nobody can want, they are not followed: `no tracepolls` and
//! `set no showdots` do not switch these on.

mod ast;
mod check;
mod configuration;
mod doubt;
mod dump;
mod explain;
#[doc(hidden)]
pub mod fuzz;
mod keyword;
mod lexer;
mod options;
mod parser;
mod permissions;
mod resolve;
mod scene;
mod secrets;
pub mod ssh_command;

pub use ast::{Entry as WrittenEntry, Rcfile, User as WrittenUser, Verb, Written};
pub use configuration::{Configuration, Entry, Globals, User, service_port};
pub use dump::configdump;
pub use keyword::{Keyword, Scope};
pub use options::{
    Auth, BadHeader, Envelope, GlobalOptions, LocalName, Protocol, RetrieveError, ServerOptions,
    UserOptions,
};
pub use permissions::check_permissions;
pub use resolve::{Flags, Request};

use crate::config::Diagnostic;

/// Reads an rc file.
///
/// When any of the diagnostics is an error, the `Rcfile` lacks what was wrong and is good for
/// nothing but [`Rcfile::redact`].
#[must_use]
pub fn parse(text: &[u8]) -> (Rcfile, Vec<Diagnostic>) {
    parser::parse(text)
}

#[cfg(test)]
mod tests;
