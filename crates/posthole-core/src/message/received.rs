//! Our mark on a message.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::SystemTime;

use jiff::Zoned;
use jiff::tz::TimeZone;

/// What a `Received` field says (RFC 5321 §4.4).
#[derive(Clone, Debug)]
pub struct Received {
    /// The mail server's name.
    pub from: String,
    /// The mail server's address, where it is known.
    pub address: Option<IpAddr>,
    /// This machine's name.
    pub by: String,
    /// The protocol it came by (RFC 3848 and its registry know none for a retriever).
    pub with: &'static str,
    /// The account's name and user, where the field is to tell (`tracepolls`).
    pub account: Option<(String, String)>,
    /// Whom the message is for.
    pub recipient: Option<Recipient>,
    /// The zone of the time.
    pub zone: TimeZone,
}

/// Whom a message is for, and how that was found out.
#[derive(Clone, Debug)]
pub struct Recipient {
    /// The address.
    pub address: String,
    /// Such as `single-drop`.
    pub how: &'static str,
}

impl Received {
    /// The field, folded, with LF line ends.
    ///
    /// It is for `found`, if it was found out for whom it is.
    pub(super) fn field(&self, arrived: SystemTime, found: Option<&Recipient>) -> String {
        let Self {
            from,
            address,
            by,
            with,
            account,
            recipient,
            zone,
        } = self;
        let mut field = format!("Received: from {}", one_word(from));
        if let Some(address) = address {
            // RFC 5321 §4.1.3 tags addresses of version 6.
            let tag = if address.is_ipv6() { "IPv6:" } else { "" };
            write!(field, " [{tag}{address}]").ok();
        }
        write!(
            field,
            "\n\tby {} with {with} (posthole-{}",
            one_word(by),
            env!("CARGO_PKG_VERSION")
        )
        .ok();
        if let Some((name, user)) = account {
            write!(
                field,
                " polling {} account {}",
                one_word(name),
                one_word(user)
            )
            .ok();
        }
        field.push(')');
        if let Some(Recipient { address, how }) = found.or(recipient.as_ref()) {
            // A path in this field has a domain (RFC 5321 §4.4).
            let domain = if address.contains('@') {
                ""
            } else {
                "@localhost"
            };
            write!(field, "\n\tfor <{}{domain}> ({how})", one_word(address)).ok();
        }
        writeln!(field, "; {}", time(arrived, zone)).ok();
        field
    }
}

/// As RFC 5322 §3.3 writes it.
pub(crate) fn time(at: SystemTime, zone: &TimeZone) -> String {
    // Clocks before year -9999 or after 9999 are wrong in any case.
    let timestamp = jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let zoned = Zoned::new(timestamp, zone.clone());
    jiff::fmt::rfc2822::to_string(&zoned).unwrap_or_else(|_| timestamp.to_string())
}

/// A name from a configuration must not end the field or the comment it stands in.
fn one_word(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            '(' | ')' | '<' | '>' | ';' | '\\' => '_',
            c if c.is_whitespace() || c.is_control() => '_',
            c => c,
        })
        .collect()
}
