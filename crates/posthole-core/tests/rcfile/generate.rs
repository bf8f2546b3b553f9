//! Random rc files: by the grammar, in every spelling, and sometimes broken.

/// Makes rc files, always the same ones from the same seed.
pub(crate) struct Generator {
    state: u64,
}

impl Generator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A file in pieces: words, and what separates them.
    pub(crate) fn file(&mut self) -> Vec<String> {
        let mut words = Words(Vec::new());
        if self.one_in(4) {
            self.set(&mut words);
        }
        if self.one_in(3) {
            words.push("defaults");
            self.server_options(&mut words);
            match self.below(3) {
                0 => {}
                1 => self.anonymous_user(&mut words),
                _ => self.user(&mut words),
            }
        }
        for _ in 0..=self.below(3) {
            if self.one_in(6) {
                self.set(&mut words);
            }
            self.entry(&mut words);
        }
        if self.one_in(3) {
            self.break_something(&mut words);
        }
        self.separate(words)
    }

    fn set(&mut self, words: &mut Words) {
        words.push("set");
        let switches = [
            "bouncemail",
            "spambounce",
            "softbounce",
            "syslog",
            "invisible",
        ];
        match self.below(4) {
            0 => {
                let switch = self.pick(&switches);
                self.switch(words, switch);
            }
            1 => {
                words.push("daemon");
                words.push(self.number());
            }
            _ => {
                let option =
                    self.pick(&["idfile", "pidfile", "postmaster", "properties", "logfile"]);
                words.push(option);
                let equals = self.one_in(3);
                if equals {
                    words.push("=");
                }
                let text = if option == "logfile" {
                    "log".to_owned()
                } else {
                    self.text(equals)
                };
                words.push(text);
            }
        }
    }

    fn entry(&mut self, words: &mut Words) {
        words.push(self.pick(&["poll", "poll", "server", "skip"]));
        words.push(self.text(false));
        self.server_options(words);
        match self.below(5) {
            0 => {}
            1 => self.anonymous_user(words),
            _ => {
                for _ in 0..=self.below(2) {
                    self.user(words);
                }
            }
        }
    }

    fn server_options(&mut self, words: &mut Words) {
        for _ in 0..self.below(5) {
            self.server_option(words);
        }
    }

    fn server_option(&mut self, words: &mut Words) {
        match self.below(13) {
            0 => {
                words.push(self.pick(&["aka", "local", "localdomains"]));
                self.texts(words, false);
            }
            1..=3 => {
                words.push(self.pick(&["proto", "protocol"]));
                words.push(self.pick(PROTOCOLS));
            }
            4 => {
                words.push(self.pick(&["auth", "authenticate", "preauth", "preauthenticate"]));
                words.push(self.pick(AUTHS));
            }
            5 => {
                words.push(self.pick(&["port", "service"]));
                let port = self.pick(&["110", "995", "143", "993", "11110", "0", "65536", "-1"]);
                words.push(port);
            }
            6 => {
                words.push("service");
                words.push(self.pick(&[
                    "pop3s", "imaps", "'pop3'", "\"110\"", "' 110'", "kpop", "smtp",
                ]));
            }
            7 => {
                words.push(self.pick(&["timeout", "interval"]));
                words.push(self.number());
            }
            8 => {
                words.push("envelope");
                if self.one_in(2) {
                    words.push(self.number());
                }
                words.push(self.text(false));
            }
            9 => {
                let switch = self.pick(&["envelope", "tracepolls"]);
                if switch == "envelope" {
                    words.push("no");
                }
                words.push(switch);
            }
            10 => {
                let switch = self.pick(&["uidl", "checkalias", "dns"]);
                self.switch(words, switch);
            }
            11 => {
                words.push("bad-header");
                words.push(self.pick(&["accept", "reject"]));
            }
            _ if self.one_in(6) => {
                words.push("interface");
                words.push(self.pick(&[
                    "eth0/10.0.0.1",
                    "eth0/10.0.0.1/255.0.0.0",
                    "eth0",
                    "'e/x'",
                ]));
            }
            _ => {
                words.push(self.pick(&[
                    "via",
                    "qvirtual",
                    "principal",
                    "esmtpname",
                    "esmtppassword",
                    "plugin",
                    "plugout",
                    "monitor",
                ]));
                words.push(self.text(false));
            }
        }
    }

    fn anonymous_user(&mut self, words: &mut Words) {
        for _ in 0..=self.below(4) {
            self.user_option(words);
        }
    }

    fn user(&mut self, words: &mut Words) {
        words.push(self.pick(&["user", "username"]));
        match self.below(6) {
            0 => {
                self.mappings(words);
                words.push("here");
            }
            1 => {
                words.push(self.text(true));
                words.push("there");
            }
            _ => words.push(self.text(true)),
        }
        for _ in 0..self.below(6) {
            self.user_option(words);
        }
    }

    fn user_option(&mut self, words: &mut Words) {
        match self.below(10) {
            0 => {
                words.push(self.pick(&["is", "to"]));
                self.mappings(words);
                if self.one_in(2) {
                    words.push("here");
                }
            }
            1 => {
                words.push("is");
                words.push(self.text(true));
                words.push("there");
            }
            2 | 3 => {
                words.push(self.pick(&["pass", "password"]));
                words.push(self.text(true));
            }
            4 => {
                words.push(self.pick(&[
                    "folder",
                    "folders",
                    "smtp",
                    "smtphost",
                    "fetchdomains",
                    "smtphost",
                ]));
                self.texts(words, false);
            }
            5 => {
                words.push("antispam");
                for _ in 0..=self.below(3) {
                    words.push(self.number());
                }
            }
            6 => {
                words.push(self.pick(&[
                    "limit",
                    "warnings",
                    "fetchlimit",
                    "fetchsizelimit",
                    "fastuidl",
                    "batchlimit",
                    "expunge",
                ]));
                words.push(self.number());
            }
            7 => {
                words.push(self.pick(&[
                    "smtpaddress",
                    "smtpname",
                    "mda",
                    "bsmtp",
                    "pre",
                    "preconnect",
                    "post",
                    "postconnect",
                    "sslkey",
                    "sslcert",
                    "sslproto",
                    "sslcertfile",
                    "sslcertpath",
                    "sslcommonname",
                    "sslfingerprint",
                    "properties",
                ]));
                words.push(self.text(false));
            }
            8 if self.one_in(8) => words.push(self.pick(&["lmtp", "idle"])),
            _ => {
                let switch = self.pick(&[
                    "keep",
                    "flush",
                    "limitflush",
                    "fetchall",
                    "rewrite",
                    "forcecr",
                    "stripcr",
                    "pass8bits",
                    "pass8",
                    "dropstatus",
                    "dropdelivered",
                    "mimedec",
                    "mimedecode",
                    "ssl",
                    "sslcertck",
                ]);
                self.switch(words, switch);
            }
        }
    }

    /// A switch, on or off in one of the ways to write it.
    fn switch(&mut self, words: &mut Words, switch: &str) {
        let joined = !matches!(
            switch,
            "ssl" | "sslcertck" | "syslog" | "softbounce" | "invisible" | "showdots" | "tracepolls"
        );
        match self.below(4) {
            0 if joined => words.push(format!("no{switch}")),
            1 => {
                words.push("no");
                words.push(switch);
            }
            _ => words.push(switch),
        }
    }

    fn mappings(&mut self, words: &mut Words) {
        for index in 0..=self.below(3) {
            if self.one_in(6) {
                words.push("*");
                continue;
            }
            words.push(self.text(index == 0));
            if self.one_in(3) {
                words.push("=");
                words.push(self.text(true));
            }
        }
    }

    fn texts(&mut self, words: &mut Words, name: bool) {
        for index in 0..=self.below(3) {
            words.push(self.text(name && index == 0));
        }
    }

    /// A text; as a `name` it may be any word.
    fn text(&mut self, name: bool) -> String {
        let bare = [
            "joe",
            "pop.example.org",
            "127.0.0.1",
            "a#b",
            "x/24",
            "/run/socket",
            "o'brien",
            "me@home",
            "100%",
            "-",
            "a\\tb",
            "a\\x41",
            "a\\065",
            "a\\0101z",
            "\\q",
            "a\\",
            "\"ab\"c",
            "'",
            "%s",
            "Keep",
            "POP",
            "5678x",
            "smtphost/25",
            "~/x",
            "a\\256b",
        ];
        let quoted = [
            "",
            "a b",
            "a;b,c:d=e",
            "#secret",
            "keep",
            "12345",
            "x\\x22y",
            "x\\x27y",
            "\\\\",
            "a\\\nb",
            "a\\nb\\tc\\rd\\be",
            "\\1\\9",
            "\\0",
            "\\x",
            "\\xg",
            "\\x1g",
            "\\0377",
            "\\99x",
            "a\nb",
            "*",
            "localhost/2003",
            "sendmail -i -f %F -- %T",
            "with",
            "a\\0b",
        ];
        let reserved = [
            "keep", "12345", "with", "is", "here", "no", "nokeep", "-7", "password", "pop3",
        ];
        match self.below(8) {
            0..=3 => self.pick(&bare).to_owned(),
            4 if name => self.pick(&reserved).to_owned(),
            5 => format!("'{}'", self.pick(&quoted)),
            _ => format!("\"{}\"", self.pick(&quoted)),
        }
    }

    fn number(&mut self) -> &'static str {
        self.pick(&[
            "0",
            "1",
            "30",
            "571",
            "-1",
            "-30",
            "00012",
            "2147483647",
            "2147483648",
            "4294967297",
            "99999999999999999999999",
        ])
    }

    /// One to three slips of the keyboard.
    fn break_something(&mut self, words: &mut Words) {
        for _ in 0..=self.below(3) {
            if words.0.is_empty() {
                return;
            }
            let at = self.below(words.0.len());
            match self.below(7) {
                0 | 1 => drop(words.0.remove(at)),
                2 => words.0.insert(at, words.0[at].clone()),
                3 => {
                    let other = self.below(words.0.len());
                    words.0.swap(at, other);
                }
                4 => words.0.insert(at, self.pick(WORDS).to_owned()),
                5 => words.0[at] = self.pick(WORDS).to_owned(),
                _ => {
                    let odd = self.pick(&["\"", "'", "#", "=", "\\", "\\\n", ";", "x"]);
                    words.0[at].push_str(odd);
                }
            }
        }
    }

    /// Puts between the words whatever may stand there.
    fn separate(&mut self, words: Words) -> Vec<String> {
        let mut pieces = Vec::new();
        let mut name_follows = false;
        for word in words.0 {
            let separator = match self.below(12) {
                0..=5 => " ",
                6 | 7 => "\n",
                8 => self.pick(&["\t", "\r\n", "  \n\n ", " \\\n"]),
                9 => self.pick(&[", ", "; ", ": ", " ,;: "]),
                10 => " # comment \"with quotes' = \\\n",
                _ if name_follows => " ",
                _ => self.pick(&[
                    " and ",
                    " with ",
                    " has ",
                    " wants ",
                    " options ",
                    "\nwith and ",
                ]),
            };
            name_follows = matches!(
                word.as_str(),
                "user" | "username" | "pass" | "password" | "is" | "to" | "="
            );
            pieces.push(separator.to_owned());
            pieces.push(word);
        }
        if !self.one_in(20) {
            pieces.push("\n".to_owned());
        }
        pieces
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

struct Words(Vec<String>);

impl Words {
    fn push(&mut self, word: impl Into<String>) {
        self.0.push(word.into());
    }
}

const AUTHS: &[&str] = &[
    "any",
    "password",
    "gssapi",
    "kerberos5",
    "kerberos_v5",
    "cram",
    "cram-md5",
    "otp",
    "opie",
    "ntlm",
    "msn",
    "external",
    "ssh",
    "password",
];
const PROTOCOLS: &[&str] = &[
    "pop3", "POP3", "pop3", "imap", "IMAP", "auto", "AUTO", "apop", "rpop", "etrn", "odmr", "sdps",
    "kpop", "pop2", "KPOP", "SDPS",
];
/// What people write in wrong places.
const WORDS: &[&str] = &[
    "user",
    "is",
    "to",
    "pass",
    "here",
    "there",
    "poll",
    "skip",
    "defaults",
    "set",
    "keep",
    "no",
    "port",
    "110",
    "ssl",
    "=",
    "localhost",
    "pop3",
    "proto",
    "nokeep",
    "noport",
    "nossl",
    "yes",
    "'a b'",
    "\"unclosed",
    "auth",
    "password",
    "folder",
    "via",
    "daemon",
    "syslog",
    "lmtp",
    "dns",
    "properties",
    "antispam",
    "#",
    "and",
    "with",
];
