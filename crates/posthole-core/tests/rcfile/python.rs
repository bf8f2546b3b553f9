//! The Python that `fetchmail --configdump` prints: enough of it to compare two dumps.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A value of the dump.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Value {
    Dict(BTreeMap<String, Self>),
    /// Also a tuple.
    List(Vec<Self>),
    /// A number, or `TRUE`, `FALSE`, `None`.
    Word(String),
    Text(String),
}

impl Value {
    /// The dictionary that a dump assigns to `fetchmailrc`.
    pub(crate) fn of_dump(dump: &str) -> Result<Self, String> {
        let (_, dict) = dump
            .split_once("fetchmailrc = ")
            .ok_or_else(|| format!("no `fetchmailrc = `:\n{dump}"))?;
        let dict = without_comments(dict);
        let mut reader = Reader(dict.chars().peekable());
        reader
            .value()
            .map_err(|wrong| format!("{wrong} in:\n{dump}"))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(dict) => dict.get(key),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Dict(dict) => dict.get_mut(key),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    pub(crate) fn items_mut(&mut self) -> &mut [Self] {
        match self {
            Self::List(items) => items,
            _ => &mut [],
        }
    }

    /// Where the two differ, one line for each place.
    pub(crate) fn differences(&self, other: &Self, path: &str, found: &mut Vec<String>) {
        match (self, other) {
            (Self::Dict(one), Self::Dict(two)) => {
                let keys: std::collections::BTreeSet<_> = one.keys().chain(two.keys()).collect();
                for key in keys {
                    let path = format!("{path}.{key}");
                    match (one.get(key), two.get(key)) {
                        (Some(one), Some(two)) => one.differences(two, &path, found),
                        (one, two) => found.push(format!("{path}: {one:?} / {two:?}")),
                    }
                }
            }
            (Self::List(one), Self::List(two)) if one.len() == two.len() => {
                for (index, (one, two)) in one.iter().zip(two).enumerate() {
                    one.differences(two, &format!("{path}[{index}]"), found);
                }
            }
            (one, two) if one == two => {}
            (one, two) => found.push(format!("{path}: {one:?} / {two:?}")),
        }
    }
}

/// The comment before a server ends where it says so: a name may run over lines.
fn without_comments(dict: &str) -> String {
    let mut parts = dict.split("# Entry for site `");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.filter_map(|part| Some(part.split_once("' begins:\n")?.1));
    let servers = rest.fold(first, |dict, part| dict + part);
    servers.replace("# List of server entries begins here\n", "")
}

struct Reader<'t>(Peekable<Chars<'t>>);

impl Reader<'_> {
    fn value(&mut self) -> Result<Value, String> {
        match self.peek() {
            Some('{') => self.dict(),
            Some('[') => self.list(']'),
            Some('(') => self.list(')'),
            Some('"' | '\'') => Ok(Value::Text(self.text()?)),
            Some(_) => Ok(Value::Word(self.word())),
            None => Err("an end too early".to_owned()),
        }
    }

    fn dict(&mut self) -> Result<Value, String> {
        self.0.next();
        let mut dict = BTreeMap::new();
        while !self.accept('}') {
            let key = self.text()?;
            if !self.accept(':') {
                return Err(format!("no `:` after {key}"));
            }
            dict.insert(key, self.value()?);
            self.accept(',');
        }
        Ok(Value::Dict(dict))
    }

    fn list(&mut self, end: char) -> Result<Value, String> {
        self.0.next();
        let mut list = Vec::new();
        while !self.accept(end) {
            list.push(self.value()?);
            self.accept(',');
        }
        Ok(Value::List(list))
    }

    fn text(&mut self) -> Result<String, String> {
        let quote = self
            .peek()
            .filter(|c| matches!(c, '"' | '\''))
            .ok_or("no text where one belongs")?;
        self.0.next();
        let mut text = String::new();
        loop {
            match self.0.next().ok_or("an unclosed text")? {
                '\\' => text.push(self.escape()?),
                c if c == quote => return Ok(text),
                c => text.push(c),
            }
        }
    }

    /// Python's escapes, and fetchmail's `\0xHH`.
    fn escape(&mut self) -> Result<char, String> {
        let escaped = self.0.next().ok_or("a backslash at the end")?;
        Ok(match escaped {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '0' | 'x' => {
                if escaped == '0' && self.0.next() != Some('x') {
                    return Err("an unknown escape".to_owned());
                }
                let digits: String = self.0.by_ref().take(2).collect();
                let code = u8::from_str_radix(&digits, 16).map_err(|error| error.to_string())?;
                char::from(code)
            }
            other => other,
        })
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(c) = self.0.next_if(|c| c.is_ascii_alphanumeric() || *c == '-') {
            word.push(c);
        }
        if word.is_empty() {
            // So that what is no value is an end.
            self.0.next();
        }
        word
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.0.next();
        }
        found
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> Option<char> {
        while self.0.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        self.0.peek().copied()
    }
}
