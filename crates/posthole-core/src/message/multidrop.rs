//! Whom a message in a shared mailbox is for, as fetchmail(1) finds it out ("multidrop").
//!
//! A mailbox that holds the mail of several people has lost the envelope that said for whom each
//! message was. Some servers write it into a field; where none did, the addresses in the header
//! are all there is, and they are a guess: a mailing list's message names the list, a blind copy
//! names nobody here.

use super::address::addresses;
use super::header::{self, Field};

/// How recipients are found in the header of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Multidrop {
    /// Where the envelope's recipient stands.
    pub envelope: Envelope,
    /// What is taken off the front of a name found there (`qvirtual`).
    pub prefix: Option<String>,
    /// The server's names: what it is polled as, and where it is reached.
    pub servers: Vec<String>,
    /// Domains that the server is known by as well, with all below them (`aka`).
    pub aliases: Vec<String>,
    /// Domains whose addresses are taken as they are, with all below them (`localdomains`).
    pub local_domains: Vec<String>,
    /// The names of people on the server, and here (`is`).
    pub names: Vec<(String, String)>,
    /// Whether a name that is not among them is the same here (`*`).
    pub passes_others: bool,
}

/// Which field names the recipient of the envelope (`envelope`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Envelope {
    /// The `for` of a `Received` field that our server wrote, after skipping so many of all such
    /// fields.
    Received {
        /// How many come before it.
        skip: usize,
    },
    /// A field of that name, after skipping so many of them.
    Field {
        /// Such as `X-Original-To`.
        name: String,
        /// How many come before it.
        skip: usize,
    },
    /// None.
    Nowhere,
}

impl Default for Envelope {
    fn default() -> Self {
        Self::Received { skip: 0 }
    }
}

impl Multidrop {
    /// The local recipients of a message with this header, each once, in the order found.
    ///
    /// `is_server` is asked whether a host is another name of the server, where nothing here says
    /// so; it may look it up. Nobody is found for a message that is for none of us.
    #[must_use]
    pub fn recipients(
        &self,
        header: &[u8],
        is_server: &mut dyn FnMut(&str) -> bool,
    ) -> Vec<String> {
        let mut found = Found {
            rules: self,
            is_server,
            recipients: Vec::new(),
        };
        if let Some(named) = self.on_the_envelope(header) {
            for address in named {
                found.take(&address);
            }
            return found.recipients;
        }
        let is_resent = header::fields(header).any(|field| is_one_of(&field, RESENT_TO));
        let names = if is_resent { RESENT_TO } else { TO };
        for field in header::fields(header).filter(|field| is_one_of(field, names)) {
            let value = field.value();
            for address in addresses(value) {
                found.take(&String::from_utf8_lossy(&value[address.span]));
            }
        }
        found.recipients
    }

    fn on_the_envelope(&self, header: &[u8]) -> Option<Vec<String>> {
        match &self.envelope {
            Envelope::Received { skip } => {
                let received = header::fields(header).filter(|field| field.is("Received"));
                received
                    .skip(*skip)
                    .find_map(|field| Some(vec![self.received_for(&field)?]))
            }
            Envelope::Field { name, skip } => {
                let field = header::fields(header)
                    .filter(|field| field.is(name))
                    .nth(*skip)?;
                let value = field.value();
                let named = addresses(value).into_iter();
                let named: Vec<_> = named
                    .map(|one| String::from_utf8_lossy(&value[one.span]).into_owned())
                    .map(|address| self.without_prefix(address))
                    .collect();
                (!named.is_empty()).then_some(named)
            }
            Envelope::Nowhere => None,
        }
    }

    fn without_prefix(&self, address: String) -> String {
        match &self.prefix {
            Some(prefix)
                if address
                    .get(..prefix.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(prefix)) =>
            {
                address[prefix.len()..].to_owned()
            }
            _ => address,
        }
    }

    /// `by HOST … for <ADDRESS>`, if the host is our server.
    fn received_for(&self, field: &Field<'_>) -> Option<String> {
        let text = String::from_utf8_lossy(field.value()).into_owned();
        let mut words = text.split_ascii_whitespace();
        words.find(|word| *word == "by")?;
        let host = words.next()?.trim_end_matches(';');
        if !self.is_server(host) {
            return None;
        }
        words.find(|word| *word == "for")?;
        let address = words.next()?.trim_end_matches(';');
        let address = address.strip_prefix('<')?.strip_suffix('>')?;
        address.contains('@').then(|| address.to_owned())
    }

    /// Whether a host is the server by one of the names that are said here.
    #[must_use]
    pub fn is_server(&self, host: &str) -> bool {
        self.servers
            .iter()
            .any(|server| server.eq_ignore_ascii_case(host))
            || self.aliases.iter().any(|alias| is_in(host, alias))
    }

    fn local_name(&self, name: &str) -> Option<&str> {
        self.names
            .iter()
            .find(|(there, _)| there.eq_ignore_ascii_case(name))
            .map(|(_, here)| here.as_str())
    }
}

struct Found<'a> {
    rules: &'a Multidrop,
    is_server: &'a mut dyn FnMut(&str) -> bool,
    recipients: Vec<String>,
}

impl Found<'_> {
    fn take(&mut self, address: &str) {
        let rules = self.rules;
        // A whole address that is listed goes before everything else.
        let recipient = match (rules.local_name(address), address.rsplit_once('@')) {
            (Some(local), _) => Some(local),
            (None, Some((_, host))) if rules.local_domains.iter().any(|d| is_in(host, d)) => {
                Some(address)
            }
            (None, Some((name, host))) if rules.is_server(host) || (self.is_server)(host) => {
                self.here(name)
            }
            (None, Some(_)) => None,
            // An address without a host is one of the server's own.
            (None, None) => self.here(address),
        };
        if let Some(recipient) = recipient
            && !recipient.is_empty()
            && !self.recipients.iter().any(|known| known == recipient)
        {
            self.recipients.push(recipient.to_owned());
        }
    }

    fn here<'n>(&self, name: &'n str) -> Option<&'n str>
    where
        Self: 'n,
    {
        self.rules
            .local_name(name)
            .or_else(|| self.rules.passes_others.then_some(name))
    }
}

fn is_one_of(field: &Field<'_>, names: &[&str]) -> bool {
    names.iter().any(|name| field.is(name))
}

/// Whether a host is the domain or below it.
fn is_in(host: &str, domain: &str) -> bool {
    let Some(at) = host.len().checked_sub(domain.len()) else {
        return false;
    };
    host.is_char_boundary(at)
        && host[at..].eq_ignore_ascii_case(domain)
        && (at == 0 || host[..at].ends_with('.'))
}

const RESENT_TO: &[&str] = &["Resent-To", "Resent-Cc", "Resent-Bcc"];
const TO: &[&str] = &["To", "Cc", "Bcc", "Apparently-To"];

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Multidrop {
        let same = |name: &str| (name.to_owned(), name.to_owned());
        Multidrop {
            servers: vec!["mail.example.org".to_owned()],
            names: vec![
                same("golux"),
                ("hurkle".to_owned(), "happy".to_owned()),
                same("snark"),
            ],
            ..Multidrop::default()
        }
    }

    /// `@` stands for the server.
    #[track_caller]
    fn check(rules: &Multidrop, table: &[(&str, &str)]) {
        for (header, expected) in table {
            let header = header.replace("@@", "@mail.example.org");
            let found = rules.recipients(header.as_bytes(), &mut |_| false);
            assert_eq!(found.join(" "), *expected, "{header:?}");
        }
    }

    // What fetchmail 6.4.37 made of the same headers, but for the last two of the first table.
    #[test]
    fn people_are_found_by_the_names_that_the_server_has_for_them() {
        check(
            &rules(),
            &[
                (
                    "To: golux@@, hurkle@@, other@@, golux@elsewhere.net\n",
                    "golux happy",
                ),
                (
                    "To: golux@@\nCc: snark@@\nBcc: hurkle@@\n",
                    "golux snark happy",
                ),
                ("To: golux@@\nResent-To: snark@@\n", "snark"),
                ("To: nobody@nowhere\n", ""),
                ("To: GOLUX@Mail.Example.ORG, Snark@@\n", "golux snark"),
                ("To: \"Joe X\" <golux@@>, x@y (c)\n", "golux"),
                ("X-Envelope-To: golux@@\nTo: snark@@\n", "snark"),
                ("To: golux\n", "golux"),
                ("To: golux@@, golux@@, golux\n", "golux"),
            ],
        );
        let mut rules = rules();
        rules
            .names
            .push(("full@addr.net".to_owned(), "mapped".to_owned()));
        check(&rules, &[("To: full@addr.net, other@addr.net\n", "mapped")]);
    }

    #[test]
    fn the_envelope_wins_over_the_header_if_our_server_wrote_it() {
        let received =
            "Received: from x by mail.example.org (P) with SMTP id 1\n\tfor <golux@@>; date\n";
        let to = "To: snark@@\n";
        check(
            &rules(),
            &[
                (&format!("{received}{to}"), "golux"),
                (
                    &format!("Received: from x by other.net for <golux@@>; d\n{to}"),
                    "snark",
                ),
                (
                    &format!("Received: from x by mail.example.org for golux; d\n{to}"),
                    "snark",
                ),
                (
                    &format!("Received: by mail.example.org for <nobody@@>; d\n{to}"),
                    "",
                ),
            ],
        );
        let nowhere = Multidrop {
            envelope: Envelope::Nowhere,
            ..rules()
        };
        check(&nowhere, &[(&format!("{received}{to}"), "snark")]);
        let field = |skip| Multidrop {
            envelope: Envelope::Field {
                name: "Delivered-To".to_owned(),
                skip,
            },
            prefix: Some("mbox-user-".to_owned()),
            ..rules()
        };
        let delivered = format!("Delivered-To: golux@@\nDelivered-To: mbox-user-hurkle@@\n{to}");
        check(&field(0), &[(&delivered, "golux")]);
        check(&field(1), &[(&delivered, "happy")]);
        check(&field(2), &[(&delivered, "snark")]);
    }

    #[test]
    fn local_domains_pass_whole_addresses_and_aliases_do_not() {
        let rules = Multidrop {
            local_domains: vec!["loony.org".to_owned()],
            aliases: vec!["netaxs.com".to_owned()],
            passes_others: true,
            ..rules()
        };
        check(
            &rules,
            &[
                (
                    "To: joe@daffy.loony.org, bill@loony.org, x@notloony.org\n",
                    "joe@daffy.loony.org bill@loony.org",
                ),
                (
                    "To: a@pop3.netaxs.com, b@netaxs.com, c@xnetaxs.com\n",
                    "a b",
                ),
                ("To: anyone@@, hurkle@@\n", "anyone happy"),
            ],
        );
    }

    #[test]
    fn a_host_that_nothing_names_is_looked_up() {
        let mut asked = Vec::new();
        let header = b"To: golux@mx.example.net, snark@elsewhere.net\n";
        let found = rules().recipients(header, &mut |host| {
            asked.push(host.to_owned());
            host == "mx.example.net"
        });
        assert_eq!(found, ["golux"]);
        assert_eq!(asked, ["mx.example.net", "elsewhere.net"]);
    }
}
