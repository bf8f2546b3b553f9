//! A password in a .netrc file, as ftp(1) defined it, and fetchmail(1) and curl(1) read it.
//!
//! The format is words between blanks. A word may stand in double quotes, with `\` before a quote
//! or another `\` in it, so that it can hold blanks; `#` where an entry could go on starts a
//! comment; a macro (`macdef`) goes on to the next empty line. What is not known is skipped, since
//! the file belongs to other programs as well.
//!
//! The file is read into one buffer, which is wiped, and no word is copied that is not in quotes.

use std::borrow::Cow;
use std::io::{self, Read};

use secrecy::SecretString;
use secrecy::zeroize::{Zeroize, Zeroizing};

use crate::plan::NetrcEntry;

use super::{LENGTH_LIMIT, SecretError, file, first_line};

/// Finds the password in the file; blocks.
pub(super) fn read(wanted: &NetrcEntry) -> Result<SecretString, SecretError> {
    let unreadable = |source| SecretError::NetrcUnreadable {
        entry: wanted.clone(),
        source,
    };
    let open = file::open_private(&wanted.file).map_err(|error| match error {
        SecretError::FileUnreadable { source, .. } => unreadable(source),
        other => other,
    })?;
    let length = open.metadata().map_err(unreadable)?.len();
    if length > FILE_LIMIT {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it is larger than a megabyte");
        return Err(unreadable(source));
    }
    // With some room, since a buffer that grows leaves a copy behind.
    let capacity = usize::try_from(length).unwrap_or_default() + 1;
    let mut text = Zeroizing::new(Vec::with_capacity(capacity));
    open.take(capacity as u64)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    let without = |what| SecretError::Netrc {
        entry: wanted.clone(),
        what,
    };
    let password = find(&text, &wanted.machines, &wanted.login).ok_or_else(|| without("no"))?;
    if password.len() > LENGTH_LIMIT || password.contains(&b'\n') {
        return Err(without("an unusable"));
    }
    first_line(&password).map_err(|_| without("an unusable"))
}

/// The password of the best entry: the first machine before the second, a login before none, and
/// `default` last of all.
fn find(text: &[u8], machines: &[String], login: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut best: Option<(usize, Zeroizing<Vec<u8>>)> = None;
    for entry in Entries(Words { text }) {
        let Some(password) = entry.password else {
            continue;
        };
        let machine = match &entry.machine {
            Some(name) => {
                let is_it = |machine: &String| machine.as_bytes().eq_ignore_ascii_case(name);
                machines.iter().position(is_it)
            }
            None => Some(machines.len()),
        };
        let is_login = match &entry.login {
            Some(name) if **name == *login.as_bytes() => Some(true),
            Some(_) => None,
            None => Some(false),
        };
        let (Some(machine), Some(is_login)) = (machine, is_login) else {
            continue;
        };
        let rank = 2 * machine + usize::from(!is_login);
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, Zeroizing::new(password.to_vec())));
        }
        // The copy that quotes made necessary.
        if let Cow::Owned(mut password) = password {
            password.zeroize();
        }
    }
    best.map(|(_, password)| password)
}

/// What is said about one machine, or about all others.
#[derive(Debug, Default)]
struct Entry<'a> {
    /// None for `default`.
    machine: Option<Cow<'a, [u8]>>,
    login: Option<Cow<'a, [u8]>>,
    password: Option<Cow<'a, [u8]>>,
}

struct Entries<'a>(Words<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let words = &mut self.0;
        let mut entry = loop {
            match &*words.keyword()? {
                b"default" => break Entry::default(),
                b"machine" => {
                    break Entry {
                        machine: Some(words.word()?),
                        ..Entry::default()
                    };
                }
                b"macdef" => words.skip_macro(),
                _ => {}
            }
        };
        loop {
            let before = words.text;
            match words.keyword().as_deref() {
                None => return Some(entry),
                Some(b"default" | b"machine") => {
                    words.text = before;
                    return Some(entry);
                }
                Some(b"account") => drop(words.word()),
                Some(b"login" | b"user") => entry.login = words.word(),
                Some(b"macdef") => words.skip_macro(),
                Some(b"passwd" | b"password") => entry.password = words.word(),
                Some(_) => {}
            }
        }
    }
}

/// What is left of the text.
#[derive(Clone, Copy)]
struct Words<'a> {
    text: &'a [u8],
}

impl<'a> Words<'a> {
    /// The next word that is not in a comment.
    fn keyword(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            self.text = self.text.trim_ascii_start();
            if !self.text.starts_with(b"#") {
                return self.word();
            }
            let end = memchr::memchr(b'\n', self.text).unwrap_or(self.text.len());
            self.text = &self.text[end..];
        }
    }

    fn word(&mut self) -> Option<Cow<'a, [u8]>> {
        self.text = self.text.trim_ascii_start();
        if let Some(quoted) = self.text.strip_prefix(b"\"") {
            return Some(self.quoted(quoted));
        }
        let is_blank = |octet: &u8| octet.is_ascii_whitespace();
        let end = self.text.iter().position(is_blank);
        let (word, rest) = self.text.split_at(end.unwrap_or(self.text.len()));
        self.text = rest;
        (!word.is_empty()).then_some(Cow::Borrowed(word))
    }

    /// Reads to the closing quote, or to the end if there is none.
    fn quoted(&mut self, text: &'a [u8]) -> Cow<'a, [u8]> {
        let mut word = Vec::with_capacity(text.len());
        let mut octets = text.iter();
        while let Some(&octet) = octets.next() {
            match octet {
                b'"' => break,
                b'\\' => word.extend(octets.next().map(|&escaped| match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                })),
                other => word.push(other),
            }
        }
        self.text = octets.as_slice();
        Cow::Owned(word)
    }

    /// Skips the name of a macro, and what it does up to an empty line.
    fn skip_macro(&mut self) {
        while let Some(end) = memchr::memchr(b'\n', self.text) {
            let (line, rest) = self.text.split_at(end + 1);
            self.text = rest;
            if line.trim_ascii().is_empty() {
                return;
            }
        }
        self.text = b"";
    }
}

/// More than anybody has in there.
pub(crate) const FILE_LIMIT: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, login: &str, expected: Option<&str>) {
        let machines = ["localhost".to_owned(), "popserver".to_owned()];
        let password = find(text.as_bytes(), &machines, login);
        let password = password.map(|password| String::from_utf8(password.to_vec()).unwrap());
        assert_eq!(password.as_deref(), expected, "{login} in\n{text}");
    }

    #[test]
    fn the_entry_of_machine_and_login_is_found_wherever_it_stands() {
        let text = "machine elsewhere login msingh password wrong\n\
                    machine localhost\n\tlogin other\n\tpassword wrong\n\
                    machine LocalHost login msingh account x password right\n\
                    machine popserver login msingh password second\n";
        check(text, "msingh", Some("right"));
        check(text, "MSINGH", None);
        check(text, "nobody", None);
        check(
            "machine localhost password right login msingh",
            "msingh",
            Some("right"),
        );
        check(
            "machine popserver login msingh password second",
            "msingh",
            Some("second"),
        );
        check(
            "machine localhost user msingh passwd right",
            "msingh",
            Some("right"),
        );
    }

    #[test]
    fn an_entry_without_a_login_or_without_a_machine_is_for_those_without_a_better_one() {
        let text = "machine localhost password any\nmachine localhost login msingh password own\n";
        check(text, "msingh", Some("own"));
        check(text, "other", Some("any"));
        let text = "machine localhost login msingh password own\ndefault login me password rest";
        check(text, "msingh", Some("own"));
        check(text, "me", Some("rest"));
        check(text, "other", None);
        check("default password rest", "other", Some("rest"));
        check(
            "default password rest\nmachine localhost password own",
            "other",
            Some("own"),
        );
    }

    #[test]
    fn words_in_quotes_hold_blanks_and_quotes() {
        let text = r#"machine localhost login "m singh" password "a \"b\" \\c#	d""#;
        check(text, "m singh", Some("a \"b\" \\c#\td"));
        check(r#"machine localhost password "\t\n\x""#, "x", Some("\t\nx"));
        check(r#"machine localhost password "open"#, "x", Some("open"));
        check("machine localhost password a\\b\"c", "x", Some("a\\b\"c"));
    }

    #[test]
    fn comments_and_macros_are_skipped() {
        let text = "# machine localhost password no\n\
                    machine localhost # password no\n\
                    login msingh password #hash # and so on\n";
        check(text, "msingh", Some("#hash"));
        let text = "macdef init\nmachine localhost password no\nbye\n\n\
                    machine localhost login msingh password right\n\
                    macdef next\npassword no\n\nmachine popserver password other";
        check(text, "msingh", Some("right"));
        check("macdef init\nmachine localhost password no", "msingh", None);
        let text = "macdef init\r\nbye\r\n\r\nmachine localhost password right\r\n";
        check(text, "msingh", Some("right"));
    }

    #[test]
    fn broken_files_are_read_as_far_as_they_go() {
        for text in [
            "",
            "machine",
            "machine localhost password",
            "password x login",
            "\"",
            "\\",
        ] {
            check(text, "msingh", None);
        }
        check(
            "machine localhost port 110 password right",
            "msingh",
            Some("right"),
        );
        let text = b"machine localhost login \xff password x\nmachine localhost password right";
        let machines = ["localhost".to_owned()];
        let password = find(text, &machines, "msingh").unwrap();
        assert_eq!(*password, b"right");
    }
}
