//! What was written in an rc file.

use std::ops::Range;

use bstr::BString;

use super::keyword::Keyword;
use super::options::{GlobalOptions, ServerOptions, UserOptions};
use super::secrets;
use crate::config::Spanned;

/// An rc file as it was written: nothing is merged, and nothing has a default yet.
#[derive(Clone, Debug, Default)]
pub struct Rcfile {
    /// What `set` says.
    pub globals: GlobalOptions,
    /// The `set` statements in the order of the file.
    pub set: Vec<Written>,
    /// The entries in the order of the file.
    pub entries: Vec<Entry>,
    /// Where passwords stand, or may stand where the text is not understood.
    pub(super) secrets: Vec<Range<usize>>,
}

impl Rcfile {
    /// The text this was read from, with an asterisk for every octet of a password and `?` for
    /// every octet that is not UTF-8.
    ///
    /// Every span of a diagnostic fits it as it fits the text itself.
    #[must_use]
    pub fn redact(&self, text: &[u8]) -> String {
        secrets::redact(text, &self.secrets)
    }
}

/// One entry: a server and its users.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The word it begins with.
    pub verb: Verb,
    /// The server's name, or a label where `via` has the name; `defaults` where there is none.
    pub name: Spanned<BString>,
    /// What is said of the server.
    pub options: ServerOptions,
    /// The server's options in the order of the file.
    pub written: Vec<Written>,
    /// The users; none if no option of a user was written.
    pub users: Vec<User>,
}

/// The word that an entry begins with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// `defaults`.
    Defaults,
    /// `poll` or `server`.
    Poll,
    /// `skip`.
    Skip,
}

/// One user of a server.
#[derive(Clone, Debug, Default)]
pub struct User {
    /// What is said of the user.
    pub options: UserOptions,
    /// The user's options in the order of the file, `user` itself among them.
    pub written: Vec<Written>,
}

/// That an option was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Written {
    /// Which one.
    pub keyword: Keyword,
    /// Whether `no` stands before it.
    pub denied: bool,
    /// The octets from its first word to the last of its arguments.
    pub span: Range<usize>,
}
