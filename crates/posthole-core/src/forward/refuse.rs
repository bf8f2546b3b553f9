//! The words in which a client hears that it cannot be served.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::listen::Client;
use crate::ask::Ask;
use crate::config::Protocol;
use crate::error::{Class, Error};

/// Tells the client why in the protocol it speaks, and ends the connection; without a word if that
/// is none in which the server speaks first and in the clear.
pub(super) async fn say(client: Client, protocol: Protocol, is_temporary: bool, reason: &str) {
    if let Some(line) = farewell(protocol, is_temporary, reason) {
        dismiss(client, &line).await;
    }
}

/// Ends the connection after a last line.
pub(super) async fn dismiss(mut client: Client, line: &str) {
    client.ends_in_order();
    let telling = async {
        client.stream().write_all(line.as_bytes()).await?;
        client.stream().shutdown().await?;
        // What it sends meanwhile is taken, since what is left unread resets the connection, and
        // with that the word is lost.
        let mut unwanted = [0; 512];
        while client.stream().read(&mut unwanted).await? > 0 {}
        Ok::<_, std::io::Error>(())
    };
    // It has heard it, or does not care to.
    let told = tokio::time::timeout(PATIENCE, telling).await;
    drop(told);
}

fn farewell(protocol: Protocol, is_temporary: bool, reason: &str) -> Option<String> {
    match protocol {
        Protocol::Imap => Some(format!("* BYE posthole: {}\r\n", fit(reason))),
        Protocol::Other => None,
        Protocol::Pop3 => Some(pop3(is_temporary, reason)),
    }
}

/// A POP3 refusal with the response code that says whether trying again may help (RFC 3206).
pub(super) fn pop3(is_temporary: bool, reason: &str) -> String {
    let code = if is_temporary { "SYS/TEMP" } else { "SYS/PERM" };
    format!("-ERR [{code}] posthole: {}\r\n", fit(reason))
}

/// An error with what to do about it, by whoever could have been asked.
pub(super) fn reason(error: &Error, ask: &dyn Ask) -> String {
    let remedy = ask.remedy().filter(|_| error.wants_answer());
    match remedy.map(str::to_owned).or_else(|| error.hint()) {
        Some(hint) => format!("{error} ({hint})"),
        None => error.to_string(),
    }
}

pub(super) fn is_temporary(error: &Error) -> bool {
    matches!(error.class(), Class::Temporary | Class::Unavailable)
}

/// One short line of ASCII, whatever a server said.
fn fit(reason: &str) -> String {
    let plain = |c| match c {
        ' '..='~' => c,
        '…' => '.',
        c if char::is_whitespace(c) => ' ',
        _ => '?',
    };
    let mut words = String::new();
    for word in reason.split_whitespace() {
        if words.len() + 1 + word.chars().count() > LONGEST {
            words += " ...";
            break;
        }
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().map(plain));
    }
    words
}

/// How long the client may take to hang up.
const PATIENCE: Duration = Duration::from_secs(10);
/// A response has up to 512 octets (RFC 2449 §4).
const LONGEST: usize = 460;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line_of_ascii() {
        let long = format!("no way:\r\n+OK \u{1b}[2J é {}", "very ".repeat(200));
        for protocol in [Protocol::Imap, Protocol::Pop3] {
            let line = farewell(protocol, true, &long).unwrap();
            assert!(line.len() <= 512 && line.ends_with(" ...\r\n"), "{line}");
            let text = line.trim_end().bytes();
            assert!(text.clone().all(|b| (b' '..=b'~').contains(&b)), "{line}");
        }
        let line = farewell(Protocol::Pop3, false, "unknown host key").unwrap();
        assert_eq!(line, "-ERR [SYS/PERM] posthole: unknown host key\r\n");
    }

    #[test]
    fn only_who_waits_for_a_greeting_in_the_clear_gets_one() {
        let bye = farewell(Protocol::Imap, true, "no");
        assert_eq!(bye.as_deref(), Some("* BYE posthole: no\r\n"));
        assert_eq!(farewell(Protocol::Other, true, "no"), None);
    }
}
