//! What the manual says of limits is what they are.

use std::time::Duration;

use posthole_proto::{pop3, smtp};

use crate::{
    config, daemon, dns, forward, message, openssh, plan, record, retrieve, secret, session, tunnel,
};

#[test]
fn the_table_of_limits_in_the_manual_has_the_numbers_of_the_code() {
    let manual = include_str!("../../../doc/posthole.toml.5");
    // Where the test stands that holds it.
    let held = include_str!("../../../SECURITY.md").replace('`', "");
    let (_, table) = manual.split_once(".Sh LIMITS\n").unwrap();
    let (table, _) = table.split_once(".El\n").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix(".It "));

    let mut written = Vec::new();
    for row in rows.filter(|row| !row.starts_with("Em ")) {
        let row = format!("{row} ");
        let cells: Vec<&str> = row.split(" Ta ").map(str::trim).collect();
        let [what, limit, keys] = cells[..] else {
            panic!("{row}")
        };
        written.push((what.to_owned(), limit.to_owned()));
        let words = what.split(' ');
        let plain = words.filter(|word| !["Ic", "No", "Pa", "Ql"].contains(word));
        let plain = plain.collect::<Vec<_>>().join(" ");
        assert!(held.contains(&format!("\n- {plain}:")), "{plain}");

        let keys = keys.split(" No ").next().unwrap();
        for key in keys
            .split([' ', ','])
            .filter(|key| !["", "Ic"].contains(key))
        {
            let has = |end: &str| manual.contains(&format!("\n.It Ic {key}{end}"));
            assert!(has("\n") || has(" No"), "{row}");
        }
    }
    let meant = limits();
    for (written, meant) in written.iter().zip(&meant) {
        assert_eq!(written, meant);
    }
    assert_eq!(written.len(), meant.len());
}

/// The rows of the table.
fn limits() -> Vec<(String, String)> {
    let pop3 = pop3::Limits::default();
    let smtp = smtp::Limits::default();
    let clients = forward::Limits::default();
    let pace = format!(
        "Its least pace, over {} times Ic timeout",
        session::limits::PERIOD
    );
    let lasts = |sessions| hours(record::limits::retry_delay(sessions));
    let failures = record::limits::SET_ASIDE_AFTER;
    assert_eq!(failures, 3, "as the manual says in words");
    assert_eq!(pop3.listing_entries, session::limits::MAX_MESSAGES as u64);
    assert_eq!(dns::UDP_LIMIT, dns::TCP_LIMIT);

    [
        ("Silence of the mail server", seconds(plan::limits::TIMEOUT)),
        (&pace, format!("{} octets/s", session::limits::LEAST)),
        (
            "Silence after commands sent ahead",
            seconds(retrieve::limits::PATIENCE_WITH_PIPELINING),
        ),
        ("A message", size(plan::limits::MAX_SIZE)),
        (
            "A line of an answer that has no end",
            size(pop3.unended_line),
        ),
        ("What is kept of a status line", size(pop3.status_line)),
        ("Lines of capabilities", pop3.capability_lines.to_string()),
        (
            "Messages of a mailbox",
            session::limits::MAX_MESSAGES.to_string(),
        ),
        (
            "Unique-ids of a mailbox, together",
            size(session::limits::MAX_UIDS),
        ),
        ("A challenge of a login", size(pop3.challenge_line)),
        (
            "Commands sent ahead",
            retrieve::limits::COMMANDS_IN_FLIGHT.to_string(),
        ),
        (
            "Messages under way, together",
            size(retrieve::limits::OCTETS_IN_FLIGHT),
        ),
        (
            "The wait between logins that a server asks for",
            hours(retrieve::limits::LONGEST_LOGIN_DELAY),
        ),
        (
            "Connecting to an SSH host and logging in",
            seconds(plan::limits::CONNECT_TIMEOUT),
        ),
        (
            "Silence of an SSH host",
            format!(
                "{} times {}",
                plan::limits::KEEPALIVE_MAX,
                seconds(plan::limits::KEEPALIVE)
            ),
        ),
        ("Hosts in a row", plan::limits::MAX_JUMPS.to_string()),
        (
            "Passwords asked for by an SSH host",
            plan::limits::PASSWORD_PROMPTS.to_string(),
        ),
        (
            "Rounds of prompts, prompts in each",
            format!(
                "{}, {}",
                tunnel::limits::MOST_ROUNDS,
                tunnel::limits::MOST_PROMPTS
            ),
        ),
        (
            "An answer of the agent",
            size(tunnel::limits::LONGEST_ANSWER),
        ),
        ("A key file", size(tunnel::limits::LONGEST_KEY_FILE)),
        (
            "Running Ql ssh -G",
            format!(
                "{}, {}",
                seconds(openssh::limits::TIME_LIMIT),
                size(openssh::limits::OUTPUT_LIMIT)
            ),
        ),
        ("A question to the DNS", seconds(dns::UDP_LIMIT)),
        (
            "Hosts looked up for one message",
            retrieve::limits::HOSTS_OF_A_MESSAGE.to_string(),
        ),
        ("A password", size(secret::limits::LENGTH_LIMIT)),
        (
            "A command that prints one",
            seconds(secret::limits::TIME_LIMIT),
        ),
        ("The keyring", seconds(secret::limits::KEYRING_TIME_LIMIT)),
        (
            "This file, a Pa .netrc",
            format!(
                "{}, {}",
                size(config::limits::SIZE_LIMIT),
                size(secret::limits::FILE_LIMIT)
            ),
        ),
        (
            "A header that is looked at or changed",
            size(message::limits::HEADER_LIMIT),
        ),
        (
            "What a filter is shown of it",
            size(retrieve::limits::HEADER_LIMIT),
        ),
        ("A filter", seconds(plan::limits::FILTER_TIMEOUT)),
        (
            "A command that delivers",
            minutes(plan::limits::MDA_TIMEOUT),
        ),
        (
            "Each step of an SMTP or LMTP server",
            minutes(plan::limits::SMTP_TIMEOUT),
        ),
        (
            "Its reply",
            format!("{} lines of {}", smtp.lines, size(smtp.line)),
        ),
        (
            "Messages that wait for a slow destination",
            retrieve::limits::BACKLOG_MESSAGES.to_string(),
        ),
        (
            "Pause after three failures of a message",
            format!("{} to {}", lasts(failures), lasts(u32::MAX)),
        ),
        (
            "A unique-id that is no longer listed is kept",
            format!(
                "{} days, {} listings",
                days(record::limits::FORGET_AFTER),
                record::limits::FORGET_AFTER_LISTINGS
            ),
        ),
        (
            "Commands of Ic on-new-mail No and Ic on-failure",
            format!(
                "{}, {} at a time",
                seconds(daemon::limits::TIME_LIMIT),
                daemon::limits::AT_A_TIME
            ),
        ),
        (
            "Connections to the daemon, and a line there",
            format!(
                "{}, {}",
                daemon::limits::CONNECTIONS,
                size(daemon::limits::LINE)
            ),
        ),
        (
            "Connections for the numbers, and a request",
            format!(
                "{}, {}",
                daemon::limits::METRICS_CONNECTIONS,
                size(daemon::limits::REQUEST)
            ),
        ),
        (
            "What a client of a forward leaves unread",
            format!(
                "{}, then {}",
                size(clients.backlog),
                seconds(clients.patience)
            ),
        ),
        (
            "A line of a mail program that logs in with a token",
            size(forward::limits::LINE),
        ),
    ]
    .map(|(what, limit): (&str, String)| (what.to_owned(), limit))
    .into()
}

/// In the largest unit that it is so many of.
fn size(octets: impl TryInto<u64>) -> String {
    let octets = octets.try_into().ok().unwrap();
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units
        .iter()
        .find(|(bits, _)| octets.trailing_zeros() >= *bits);
    let (bits, unit) = unit.unwrap();
    format!("{}{unit}", octets >> bits)
}

fn seconds(time: Duration) -> String {
    format!("{}s", whole(time, 1))
}

fn minutes(time: Duration) -> String {
    format!("{}m", whole(time, 60))
}

fn hours(time: Duration) -> String {
    format!("{}h", whole(time, 60 * 60))
}

fn days(time: Duration) -> u64 {
    whole(time, 24 * 60 * 60)
}

fn whole(time: Duration, seconds: u64) -> u64 {
    assert_eq!(time.as_nanos() % u128::from(seconds * 1_000_000_000), 0);
    time.as_secs() / seconds
}
