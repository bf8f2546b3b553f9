//! A word to a client for which there is no channel.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::listen::Client;

/// Tells the client why, in the protocol of the port it is forwarded to, and ends the connection;
/// without a word if that is none in which the server speaks first and in the clear.
pub(super) async fn say(mut client: Client, port: u16, reason: &str) {
    let Some(greeting) = greeting(port, reason) else {
        return;
    };
    client.ends_in_order();
    let telling = async {
        client.stream().write_all(greeting.as_bytes()).await?;
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

fn greeting(port: u16, reason: &str) -> Option<String> {
    let reason: String = reason
        .chars()
        .map(|c| match c {
            ' '..='~' => c,
            c if c.is_whitespace() => ' ',
            _ => '?',
        })
        .take(LONGEST)
        .collect();
    match port {
        110 => Some(format!("-ERR posthole: {reason}\r\n")),
        143 => Some(format!("* BYE posthole: {reason}\r\n")),
        _ => None,
    }
}

/// How long the client may take to hang up.
const PATIENCE: Duration = Duration::from_secs(10);
/// A response has up to 512 octets (RFC 2449 §4).
const LONGEST: usize = 480;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line_of_ascii() {
        let reason = format!("no\r\nway\u{1b}[m é {}", "x".repeat(600));
        let greeting = greeting(110, &reason).unwrap();
        assert!(greeting.starts_with("-ERR posthole: no  way?[m ? xxx"));
        assert!(greeting.len() <= 512 && greeting.ends_with("x\r\n"));
        assert!(
            greeting
                .trim_end()
                .bytes()
                .all(|b| (b' '..=b'~').contains(&b))
        );
    }

    #[test]
    fn only_who_waits_for_a_greeting_in_the_clear_gets_one() {
        assert_eq!(
            greeting(143, "no").as_deref(),
            Some("* BYE posthole: no\r\n")
        );
        assert_eq!(greeting(995, "no"), None);
    }
}
