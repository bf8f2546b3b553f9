//! Names that reach other programs, screens and log lines.
//!
//! ssh(1) refuses such hosts and users too (`valid_hostname` and `valid_ruser` in its ssh.c,
//! after CVE-2023-51385): what looks like an option or means something to a shell is an attack
//! or a slip, never a name.

use std::net::Ipv6Addr;

/// Says why `host` cannot be a host.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    if host.is_empty() {
        return Err("the host is missing".to_owned());
    }
    check(host, "a host name", |character| {
        "'`\"$\\;&<>|(){},".contains(character) || "[]@/:%?#*!=".contains(character)
    })
}

/// Says why `host` cannot be a host or the address of one.
pub(crate) fn check_address(host: &str) -> Result<(), String> {
    // fe80::1%eth0
    let (address, zone) = host.split_once('%').unwrap_or((host, "lo"));
    if address.parse::<Ipv6Addr>().is_ok() {
        return check_host(zone);
    }
    check_host(host)
}

/// Says why `user` cannot be an SSH user.
pub(crate) fn check_ssh_user(user: &str) -> Result<(), String> {
    if user.is_empty() {
        return Err("the user name is empty".to_owned());
    }
    check(user, "a user name", |character| {
        "'`\";&<>|(){}".contains(character)
    })
}

/// Says why `user` cannot be a user of a mail server.
///
/// It never comes near a shell, and half of what a shell minds is allowed in an address
/// (`atext`, RFC 5322 §3.2.3): `o'brien@example.org` and `r&d@example.org` have mail too.
pub(super) fn check_mail_user(user: &str) -> Result<(), String> {
    if user.is_empty() {
        return Err("the user name is empty".to_owned());
    }
    check(user, "a user name", |character| {
        "\";<>()".contains(character)
    })
}

/// Says why `name` cannot be the name of an account or a forward.
pub(super) fn check_section_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name is empty".to_owned());
    }
    if name.contains("://") {
        return Err("a name that holds `://` would be taken for a URL".to_owned());
    }
    check(name, "a name", |_| false)
}

fn check(name: &str, what: &str, forbidden: impl Fn(char) -> bool) -> Result<(), String> {
    if name.starts_with('-') {
        return Err(format!("{what} cannot start with `-`"));
    }
    for character in name.chars() {
        if is_invisible(character) {
            return Err(format!("{what} cannot hold U+{:04X}", u32::from(character)));
        }
        if character.is_whitespace() {
            return Err(format!("{what} cannot hold a blank"));
        }
        if forbidden(character) {
            return Err(format!("{what} cannot hold `{character}`"));
        }
    }
    Ok(())
}

/// Control characters, and those that reorder or hide what stands beside them on a screen
/// (Unicode Bidi_Control and zero-width characters).
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}
