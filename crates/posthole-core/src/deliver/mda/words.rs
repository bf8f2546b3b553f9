//! `%T` and `%F` in a command: whom a message is for, and whom it is from.
//!
//! The sender comes from the message, so from anybody. Without a shell it is an argument and
//! nothing else. With one, it is put into single quotes, and what could end them, or be more than
//! a character of an address, becomes `_`, as with fetchmail.

/// Puts sender and recipients into the arguments of a command.
///
/// An argument with `%T` in it is there once for each recipient. `%%` is a per cent sign.
pub(super) fn argv(template: &[String], sender: &str, recipients: &[String]) -> Vec<String> {
    let mut words = Vec::with_capacity(template.len());
    for word in template {
        let one = [String::new()];
        let for_each = if has_recipient(word) {
            recipients
        } else {
            &one
        };
        words.extend(for_each.iter().map(|recipient| {
            expand(word, |letter| match letter {
                '%' => Some("%".to_owned()),
                'F' => Some(shown(sender).to_owned()),
                'T' => Some(recipient.clone()),
                _ => None,
            })
        }));
    }
    words
}

/// Puts sender and recipients into a line for a shell; `%s` stands for the recipients too.
pub(super) fn shell(text: &str, sender: &str, recipients: &[String]) -> String {
    expand(text, |letter| match letter {
        'F' => Some(quoted(shown(sender))),
        'T' | 's' => {
            let recipients: Vec<_> = recipients.iter().map(|name| quoted(name)).collect();
            Some(recipients.join(" "))
        }
        _ => None,
    })
}

fn expand(text: &str, stands_for: impl Fn(char) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        expanded.push_str(before);
        let letter = after.chars().next();
        match letter.and_then(|letter| Some((letter, stands_for(letter)?))) {
            Some((letter, value)) => {
                expanded.push_str(&value);
                rest = &after[letter.len_utf8()..];
            }
            None => {
                expanded.push('%');
                rest = after;
            }
        }
    }
    expanded.push_str(rest);
    expanded
}

fn has_recipient(word: &str) -> bool {
    let mut rest = word;
    while let Some((_, after)) = rest.split_once('%') {
        match after.chars().next() {
            Some('T') => return true,
            Some('%') => rest = &after[1..],
            _ => rest = after,
        }
    }
    false
}

/// The null sender as sendmail(8) and its like know it.
fn shown(sender: &str) -> &str {
    if sender.is_empty() { "<>" } else { sender }
}

fn quoted(address: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "!@%-_=+:,./<>".contains(c);
    let address: String = address
        .chars()
        .map(|c| if harmless(c) { c } else { '_' })
        .collect();
    format!("'{address}'")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(template: &[&str], sender: &str, recipients: &[&str]) -> Vec<String> {
        let owned = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        argv(&owned(template), sender, &owned(recipients))
    }

    #[test]
    fn arguments_are_filled_in() {
        let table: &[(&[&str], &[&str])] = &[
            (&["procmail", "-d", "%T"], &["procmail", "-d", "a", "b"]),
            (
                &["x", "--to=%T", "-f%F"],
                &["x", "--to=a", "--to=b", "-fs@t"],
            ),
            (
                &["x", "100%", "%%T", "%x", "%%%F"],
                &["x", "100%", "%T", "%x", "%s@t"],
            ),
            (&["x", "%s"], &["x", "%s"]),
        ];
        for (template, expected) in table {
            assert_eq!(words(template, "s@t", &["a", "b"]), *expected);
        }
        assert_eq!(words(&["x", "%F"], "", &["a"]), ["x", "<>"]);
        // What was filled in is not looked at again.
        assert_eq!(words(&["x", "%F"], "%T", &["a"]), ["x", "%T"]);
    }

    #[test]
    fn a_shell_sees_addresses_and_nothing_else() {
        let recipients = ["a".to_owned(), "b'; reboot; '".to_owned()];
        assert_eq!(
            shell("sendmail -f %F -- %T", "x$(id)`id`'\"\\@y", &recipients),
            "sendmail -f 'x__id__id____@y' -- 'a' 'b___reboot___'"
        );
        assert_eq!(
            shell("deliver %s 100% %%", "", &recipients[..1]),
            "deliver 'a' 100% %%"
        );
        assert_eq!(shell("x %F", "", &recipients), "x '<>'");
    }

    proptest! {
        #[test]
        fn no_sender_gets_out_of_its_quotes(sender in "\\PC{1,40}") {
            let line = shell("%F", &sender, &[]);
            let inner = line.strip_prefix('\'').and_then(|line| line.strip_suffix('\''));
            prop_assert!(inner.is_some_and(|inner| !inner.contains('\'')), "{line}");
            prop_assert_eq!(shell_words::split(&line).unwrap().len(), 1);
        }
    }
}
