//! What the fuzz targets run, kept here so that ordinary tests run it too.
//!
//! A function takes any octets and panics if a promise is broken. None of it is part of the API;
//! those for rc files are in [`crate::fetchmailrc::fuzz`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use crate::config;
use crate::daemon::control::{Reply, Request};
use crate::message::{Editor, Edits, Envelope, Multidrop, StatusFields};
use crate::openssh::Answer;
use crate::record::import;

pub use crate::tunnel::known_hosts::fuzz::known_hosts;

/// Reads a configuration.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn config(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let (config, diagnostics) = config::parse(text);
    let redacted = config.redact(text);
    assert_eq!(redacted.len(), text.len(), "the text keeps its length");
    for diagnostic in &diagnostics {
        assert!(!diagnostic.message.is_empty());
        assert!(
            !diagnostic.message.contains(char::is_control),
            "a message is one line: {}",
            diagnostic.message
        );
        if let Some(span) = &diagnostic.span {
            assert!(redacted.get(span.clone()).is_some(), "{span:?} is in it");
        }
    }
}

/// Reads what other programs remember of mail they have fetched.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn state_import(text: &[u8]) {
    for read in [
        import::fetchids,
        import::uidls,
        import::oldmail,
        import::cache,
    ] {
        let import = read(text);
        let lines = text.split(|octet| *octet == b'\n').count();
        assert!(import.skipped.len() <= lines, "each line is told once");
        for seen in &import.seen {
            assert!(!seen.unique_id.as_bytes().is_empty());
        }
    }
    // The name of getmail's file says whose it is.
    let _account = import::oldmail_account(text);
}

/// Reads what `ssh -G` prints.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn ssh_answer(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let answer = Answer::parse(text);
    for line in text.lines() {
        let keyword = line.split(' ').next().unwrap_or_default();
        if keyword.is_empty() {
            continue;
        }
        let keyword = &keyword.to_ascii_lowercase();
        let all = answer.all(keyword);
        assert!(!all.is_empty(), "what was said is found: {keyword}");
        assert_eq!(answer.get(keyword), all.first().map(String::as_str));
    }
}

/// Changes a message in every way, and finds in it whom it is for.
///
/// # Panics
///
/// Panics if the outcome depends on how the text arrives, or if a message changes that is to stay
/// as it is.
pub fn message(text: &[u8]) {
    let everything = Arc::new(Edits {
        received: None,
        return_path: true,
        qualify: Some("mail.example".to_owned()),
        status: StatusFields::Drop,
        drop_delivered: true,
        decode_mime: true,
        strip_cr: true,
    });
    let nothing = Arc::new(Edits::default());
    assert_eq!(edited(&nothing, [text]), text);
    let whole = edited(&everything, [text]);
    assert_eq!(whole, edited(&everything, text.chunks(1)), "octet by octet");
    assert_eq!(whole, edited(&everything, text.chunks(7)), "in pieces");
    whom_it_is_for(text);
}

fn whom_it_is_for(header: &[u8]) {
    for envelope in [
        Envelope::Received { skip: 0 },
        Envelope::Nowhere,
        Envelope::Field {
            name: "X-Original-To".to_owned(),
            skip: 0,
        },
    ] {
        let rules = Multidrop {
            envelope,
            servers: vec!["mail.example".to_owned()],
            passes_others: true,
            ..Multidrop::default()
        };
        let recipients = rules.recipients(header, &mut |_| false);
        let unique: HashSet<_> = recipients.iter().collect();
        assert_eq!(unique.len(), recipients.len(), "nobody gets it twice");
        assert!(recipients.iter().all(|name| !name.is_empty()));
    }
}

fn edited<'a>(edits: &Arc<Edits>, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let arrived = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let (mut editor, mut out) = (Editor::new(Arc::clone(edits), arrived), Vec::new());
    for piece in pieces {
        editor.push(piece, &mut out, &mut |_| None);
    }
    editor.finish(&mut out, &mut |_| None);
    out
}

/// Reads what comes through the daemon's socket, from either side.
///
/// # Panics
///
/// Panics if a promise is broken.
pub fn control(line: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<Request>(line) {
        let shown = format!("{request:?}");
        let again = serde_json::to_string(&request).expect("what was read can be written");
        let again: Request = serde_json::from_str(&again).expect("and read again");
        assert_eq!(format!("{again:?}"), shown);
    }
    let _reply = serde_json::from_slice::<Reply>(line);
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Words of all that is read here, so that more than the first octet of it is understood.
    fn words() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            6 => "(From|To|Cc|Received|X-Original-To|Status|Content-Type|Subject): ?",
            4 => "(\\[account\\.a\\]|server|via|password|keep|deliver|literal)( = |\\.)?",
            3 => "[a-z]{1,6}@(mail\\.example|here)",
            3 => "(hostname|user|port|identityfile|ssh-rsa|\\|1\\||@revoked) ?",
            2 => "(\\{|\\}|\"|'|=[0-9A-F]{2}|,|<|>|\\(|\\)|\\\\|\t| )",
            1 => "[ -~]{0,12}",
            1 => "\\PC{0,6}",
        ];
        let end = prop_oneof![4 => Just(""), 3 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\n ")];
        vec((word, end), 0..30).prop_map(|words| {
            let text = words.into_iter().flat_map(|(word, end)| [word, end.into()]);
            text.collect::<String>().into_bytes()
        })
    }

    fn all(text: &[u8]) {
        config(text);
        control(text);
        known_hosts(text);
        message(text);
        ssh_answer(text);
        state_import(text);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn no_words_can_hurt(text in words()) {
            all(&text);
        }

        #[test]
        fn no_octets_can_hurt(text in vec(any::<u8>(), 0..200)) {
            all(&text);
        }
    }
}
