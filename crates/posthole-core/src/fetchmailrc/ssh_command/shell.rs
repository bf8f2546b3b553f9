//! The little of sh(1) that splits a simple command into words.
//!
//! Quotes and backslashes are resolved as in POSIX.1-2017, Shell Command Language, 2.2. Variables
//! are, if they are known and their values are single words; redirections of and to `/dev/null` are
//! dropped. Everything else that a shell would act on is refused.

use std::iter::Peekable;
use std::str::Chars;

use super::{NotUnderstood, Variables};

/// Splits a simple command into its words.
pub(super) fn split(command: &str, variables: Variables<'_>) -> Result<Vec<String>, NotUnderstood> {
    let mut splitter = Splitter {
        rest: command
            .trim_start_matches([' ', '\t', '\n'])
            .chars()
            .peekable(),
        variables,
        words: Vec::new(),
    };
    while splitter.word()? {}
    let mut words = splitter.words;
    if words.first().is_some_and(|word| word == "exec") {
        words.remove(0);
    }
    Ok(words)
}

/// The name of the program that a word runs.
pub(super) fn program(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

struct Splitter<'c> {
    rest: Peekable<Chars<'c>>,
    variables: Variables<'c>,
    words: Vec<String>,
}

impl Splitter<'_> {
    /// Takes the next word, if there is one.
    fn word(&mut self) -> Result<bool, NotUnderstood> {
        while self.rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let mut word = String::new();
        let (mut quoted, mut assigns) = (false, false);
        match self.rest.peek() {
            None | Some('#') => return Ok(false),
            Some('~') => word.push_str(&self.home()?),
            Some(_) => {}
        }
        while let Some(c) = self.rest.next_if(|c| !matches!(c, ' ' | '\t')) {
            match c {
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '\\' => match self.rest.next() {
                    Some('\n') => continue,
                    Some(escaped) => word.push(escaped),
                    None => word.push('\\'),
                },
                '$' => word.push_str(&self.variable(false)?),
                '<' | '>' if !quoted => {
                    self.redirection(c, &word)?;
                    return Ok(true);
                }
                '\n' if self.rest.clone().all(|c| matches!(c, ' ' | '\t' | '\n')) => break,
                '\n' | ';' | '&' | '|' => {
                    return Err(
                        format!("`{}` makes it more than one command", c.escape_debug()).into(),
                    );
                }
                '`' | '(' | ')' => return Err(action(c)),
                '{' | '}' | '!' if word.is_empty() && !quoted => {
                    return Err(action(c));
                }
                _ => {
                    assigns |= c == '=' && !quoted && is_name(&word);
                    word.push(c);
                }
            }
            quoted |= matches!(c, '\'' | '"' | '\\');
        }
        if assigns && self.words.is_empty() {
            return Err("it sets a variable for the command".into());
        }
        if !word.is_empty() || quoted {
            self.words.push(word);
        }
        Ok(true)
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<(), NotUnderstood> {
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(c) => word.push(c),
                None => return Err(UNCLOSED.into()),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String) -> Result<(), NotUnderstood> {
        loop {
            match self.rest.next().ok_or(UNCLOSED)? {
                '"' => return Ok(()),
                '$' => word.push_str(&self.variable(true)?),
                '`' => return Err(action('`')),
                '\\' => match self.rest.next().ok_or(UNCLOSED)? {
                    '\n' => {}
                    c @ ('$' | '`' | '"' | '\\') => word.push(c),
                    c => word.extend(['\\', c]),
                },
                c => word.push(c),
            }
        }
    }

    /// What stands for `$NAME` or `${NAME}`; the `$` has been taken.
    fn variable(&mut self, quoted: bool) -> Result<String, NotUnderstood> {
        let braces = self.rest.next_if_eq(&'{').is_some();
        let mut name = String::new();
        while let Some(c) = self
            .rest
            .next_if(|c| c.is_ascii_alphanumeric() || *c == '_')
        {
            name.push(c);
        }
        if (braces && self.rest.next_if_eq(&'}').is_none()) || !is_name(&name) {
            let special = self
                .rest
                .peek()
                .is_some_and(|c| "({@*#?-$!0123456789'\"".contains(*c));
            if name.is_empty() && !braces && !special {
                return Ok("$".to_owned());
            }
            return Err(action('$'));
        }
        let value = (self.variables)(&name).ok_or_else(|| format!("`${name}` is not known"))?;
        // Unquoted, a shell would make several words or file names of it.
        if !quoted && value.contains(|c: char| c.is_whitespace() || "*?[".contains(c))
            || value.is_empty()
        {
            return Err(format!("`${name}` is not one word").into());
        }
        Ok(value)
    }

    /// What stands for `~` at the start of a word, if only a `/` or nothing follows.
    fn home(&mut self) -> Result<String, NotUnderstood> {
        self.rest.next();
        match self.rest.peek() {
            None | Some('/' | ' ' | '\t') => {
                (self.variables)("HOME").ok_or_else(|| "`~` is not known".into())
            }
            Some(_) => Err("the shell has to look up another user's home".into()),
        }
    }

    /// `</dev/null`, `>/dev/null`, `2>/dev/null`, `2>&1`; `word` stands right before the operator.
    fn redirection(&mut self, operator: char, word: &str) -> Result<(), NotUnderstood> {
        let refusal = || NotUnderstood::from("the shell has to redirect its input or output");
        if !matches!(word, "" | "0" | "1" | "2") {
            return Err(refusal());
        }
        if operator == '>' {
            self.rest.next_if_eq(&'>');
        }
        let duplicate = self.rest.next_if_eq(&'&').is_some();
        while self.rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let mut target = String::new();
        while let Some(c) = self.rest.next_if(|c| !matches!(c, ' ' | '\t' | '<' | '>')) {
            target.push(c);
        }
        match (duplicate, target.as_str()) {
            (true, "1" | "2") | (false, "/dev/null") => Ok(()),
            _ => Err(refusal()),
        }
    }
}

/// That a character means something to a shell.
fn action(c: char) -> NotUnderstood {
    match c {
        '`' => "the shell has to act on a backquote".into(),
        c => format!("the shell has to act on `{c}`").into(),
    }
}

/// Whether it can be the name of a variable.
fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

const UNCLOSED: &str = "a quote is not closed";
