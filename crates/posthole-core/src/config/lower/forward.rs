//! `[forward.NAME]`: a server that other programs find on this machine.

use toml::de::DeTable;

use super::super::name::check_section_name;
use super::super::section::{Entry, Limits, Reader, entries, one_line};
use super::super::value::{parse_allow, parse_host_port, parse_login, parse_name};
use super::super::{Diagnostic, Forward, ForwardTarget, Spanned};

impl Reader<'_> {
    pub(super) fn forward(&mut self, named: Entry<'_>, table: &DeTable<'_>) -> Option<Forward> {
        let name = self.section_name(named, "forward", |name| match name {
            "token" => Err("`posthole forward token` means something else".to_owned()),
            name => check_section_name(name),
        });
        let place = format!("[forward.{}]", one_line(named.key));
        let (mut listen, mut via, mut to, mut idle) = (None, None, None, None);
        let (mut account, mut allow, mut login, mut protocol) = (None, None, None, None);
        for entry in entries(table) {
            match entry.key {
                "account" => account = self.parsed_with(entry, parse_name),
                "allow" => allow = self.parsed_with(entry, parse_allow),
                "idle" => idle = self.duration(entry, Limits::TIMEOUT_OR_NEVER),
                "listen" => listen = self.parsed(entry),
                "login" => login = self.parsed_with(entry, parse_login),
                "protocol" => protocol = self.parsed(entry),
                "to" => to = self.parsed_with(entry, parse_host_port),
                "via" => via = self.via(entry),
                _ if self.dotted_name(entry, "forward", named) => return None,
                _ => self.unknown_option(entry, &format!("in {place}"), FORWARD_KEYS),
            }
        }
        if let Some(Spanned { value, span }) = &via
            && value.is_empty()
        {
            self.note(
                Diagnostic::error("a forward goes through at least one SSH host").at(span.clone()),
            );
        }
        let with_token = login.is_some_and(|login: Spanned<bool>| login.value);
        let needed: &[_] = if with_token {
            &[
                ("listen", "listen = \"11110\""),
                ("account", "account = \"work\""),
            ]
        } else {
            &[
                ("listen", "listen = \"11110\""),
                ("via", "via = \"popserver\""),
                ("to", "to = \"localhost:110\""),
            ]
        };
        for (key, example) in needed {
            if !table.contains_key(*key) {
                self.missing(named, &format!("{place} has no `{key}`"), example);
            }
        }
        let (out_of_place, help) = if with_token {
            let help = "with login = \"local-token\", the account says where its mailbox is";
            (&["protocol", "to", "via"][..], help)
        } else {
            let help = "`account` is for login = \"local-token\"";
            (&["account"][..], help)
        };
        for entry in entries(table) {
            if out_of_place.contains(&entry.key) {
                let message = format!("`{}` has no place in {place}", entry.key);
                self.note(
                    Diagnostic::error(message)
                        .at(entry.key_span())
                        .help(help.to_owned()),
                );
            }
        }
        let target = if with_token {
            ForwardTarget::Account(account?)
        } else {
            ForwardTarget::Through { via: via?, to: to? }
        };
        Some(Forward {
            name: name?,
            listen: listen?,
            target,
            idle,
            protocol,
            allow_any: allow.is_some_and(|allow: Spanned<bool>| allow.value),
        })
    }
}

pub(super) const FORWARD_KEYS: &[&str] = &[
    "account", "allow", "idle", "listen", "login", "protocol", "to", "via",
];
