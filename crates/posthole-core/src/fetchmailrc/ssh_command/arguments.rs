//! The arguments of ssh(1), as OpenSSH 9.2 reads them.

use super::forward::{self, parse_host_port};
use super::{NotUnderstood, Setting, SshCommand, shell};
use crate::plan::HostPort;

/// An `ssh` command with what else it says.
pub(super) struct Parsed {
    pub(super) command: SshCommand,
    /// Whether `-N` says that nothing is run on the host.
    pub(super) no_command: bool,
    /// What is run on the host, as its shell gets it.
    pub(super) remote: Option<String>,
    /// Where `-W` connects standard input and output to.
    pub(super) stdio: Option<HostPort>,
}

/// Reads the words of a command, of which the first is `ssh`.
pub(super) fn parse(words: &[String]) -> Result<Parsed, NotUnderstood> {
    match words.first().map(|word| shell::program(word)) {
        Some("ssh") => {}
        Some(program) => return Err(format!("it runs `{program}` and not ssh").into()),
        None => return Err("it is empty".into()),
    }
    let mut reader = Reader::default();
    let mut words = words[1..].iter().map(String::as_str).peekable();
    // Options may stand before the host and behind it; what follows them then is the command.
    let mut ended = false;
    loop {
        while let Some(word) = words.next_if(|word| !ended && word.starts_with('-') && *word != "-")
        {
            if word == "--" {
                ended = true;
            } else {
                reader.options(&word[1..], &mut words)?;
            }
        }
        match words.peek().copied() {
            Some(host) if reader.host.is_none() => {
                reader.destination(host)?;
                words.next();
            }
            _ => break,
        }
    }
    reader.finish(words.collect())
}

#[derive(Default)]
struct Reader {
    host: Option<String>,
    /// From before the host, `-l` or `-o`; the first counts.
    user: Option<String>,
    port: Option<u16>,
    config_file: Option<String>,
    settings: Vec<Setting>,
    forwards: Vec<forward::Forward>,
    stdio: Option<HostPort>,
    no_command: bool,
}

impl Reader {
    /// One word of options, such as `-Cf` or `-p2222`; without its dash.
    fn options<'w>(
        &mut self,
        mut cluster: &'w str,
        words: &mut impl Iterator<Item = &'w str>,
    ) -> Result<(), NotUnderstood> {
        while let Some(option) = cluster.chars().next() {
            cluster = &cluster[option.len_utf8()..];
            if TAKE_ARGUMENT.contains(option) {
                let argument = if cluster.is_empty() {
                    words
                        .next()
                        .ok_or_else(|| format!("`-{option}` is without its argument"))?
                } else {
                    cluster
                };
                return self.option_with(option, argument);
            }
            self.option(option)?;
        }
        Ok(())
    }

    fn option(&mut self, option: char) -> Result<(), NotUnderstood> {
        match option {
            '4' => self.assign("AddressFamily", "inet"),
            '6' => self.assign("AddressFamily", "inet6"),
            'C' => self.assign("Compression", "yes"),
            'K' => self.assign("GSSAPIAuthentication", "yes"),
            'N' => self.no_command = true,
            // What they are about (a terminal, the background, X11, the agent there, messages, who
            // may use the port) does not exist where there is no process.
            'A' | 'M' | 'T' | 'X' | 'Y' | 'a' | 'f' | 'g' | 'k' | 'n' | 'q' | 't' | 'v' | 'x'
            | 'y' => {}
            'G' | 'V' => return Err(format!("`-{option}` makes no connection").into()),
            's' => return Err("`-s` asks for a subsystem".into()),
            _ => return Err(format!("ssh has no option `-{}`", option.escape_debug()).into()),
        }
        Ok(())
    }

    fn option_with(&mut self, option: char, argument: &str) -> Result<(), NotUnderstood> {
        match option {
            'B' => self.assign("BindInterface", argument),
            'F' => self.config_file = Some(argument.to_owned()),
            'I' => self.assign("PKCS11Provider", argument),
            'J' => {
                let is_jump = |set: &Setting| set.keyword.eq_ignore_ascii_case("ProxyJump");
                if self.settings.iter().any(is_jump) {
                    return Err("it has two lists of hosts to jump through".into());
                }
                self.set("ProxyJump", argument);
            }
            'L' => self.forwards.push(forward::parse(argument)?),
            'S' => self.assign("ControlPath", argument),
            'W' => {
                let target = parse_host_port(argument);
                let target =
                    target.ok_or_else(|| format!("`-W {argument}` names no host and port"))?;
                self.stdio = Some(target);
            }
            'b' => self.assign("BindAddress", argument),
            'c' => self.assign("Ciphers", argument),
            'i' => self.set("IdentityFile", argument),
            'l' => drop(self.user.get_or_insert_with(|| argument.to_owned())),
            'm' => self.assign("MACs", argument),
            'o' => return self.setting(argument),
            'p' => {
                let port = port(argument)?;
                self.port.get_or_insert(port);
            }
            // Where messages go, and a terminal's escape character.
            'E' | 'e' => {}
            'D' | 'R' | 'w' => {
                return Err(format!("`-{option}` asks for another kind of forward").into());
            }
            _ => return Err(format!("`-{option}` makes no connection").into()),
        }
        Ok(())
    }

    /// `-o`: a line of ssh_config(5), with `=` or a blank behind the keyword.
    fn setting(&mut self, line: &str) -> Result<(), NotUnderstood> {
        let line = line.trim();
        let end = line.find(|c: char| c == '=' || c.is_ascii_whitespace());
        let (keyword, rest) = line.split_at(end.unwrap_or(line.len()));
        let rest = rest.trim_start();
        let value = rest.strip_prefix('=').unwrap_or(rest).trim();
        let value = unquote(value);
        if keyword.is_empty() || value.is_empty() {
            return Err(format!("`-o {line}` sets nothing").into());
        }
        match keyword.to_ascii_lowercase().as_str() {
            "user" => drop(self.user.get_or_insert_with(|| value.to_owned())),
            "port" => {
                let port = port(value)?;
                self.port.get_or_insert(port);
            }
            "localforward" => self.forwards.push(forward::parse_setting(value)?),
            "sessiontype" if value.eq_ignore_ascii_case("none") => self.no_command = true,
            "dynamicforward" | "permitlocalcommand" | "remotecommand" | "remoteforward"
            | "sessiontype" | "tunnel" => {
                return Err(format!("`-o {keyword}` asks for more than a connection").into());
            }
            _ => self.set(keyword, value),
        }
        Ok(())
    }

    /// An option of its own counts whatever comes before it.
    fn assign(&mut self, keyword: &str, value: &str) {
        self.set(keyword, value);
        self.settings.rotate_right(1);
    }

    fn set(&mut self, keyword: &str, value: &str) {
        self.settings.push(Setting {
            keyword: keyword.to_owned(),
            value: value.to_owned(),
        });
    }

    /// `[user@]host` or `ssh://[user@]host[:port]`.
    fn destination(&mut self, word: &str) -> Result<(), NotUnderstood> {
        let refusal = || NotUnderstood::from(format!("`{word}` names no host"));
        let uri = word.strip_prefix("ssh://");
        let authority = uri.map_or(word, |uri| uri.strip_suffix('/').unwrap_or(uri));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let mut host = host;
        let mut user = user.map(str::to_owned);
        if uri.is_some() {
            let port;
            (host, port) = forward::host_and_port(host).ok_or_else(refusal)?;
            if host.contains('/') {
                return Err(refusal());
            }
            if let Some(port) = port {
                self.port.get_or_insert(port);
            }
            // draft-ietf-secsh-scp-sftp-ssh-uri-04 has parameters behind the user.
            let name = user
                .as_deref()
                .map(|user| user.split(';').next().unwrap_or_default());
            user = name.map(percent_decoded).transpose()?;
        }
        if host.is_empty() || host.starts_with('-') || user.as_deref() == Some("") {
            return Err(refusal());
        }
        self.host = Some(host.to_owned());
        if self.user.is_none() {
            self.user = user;
        }
        Ok(())
    }

    fn finish(self, command: Vec<&str>) -> Result<Parsed, NotUnderstood> {
        let host = self.host.ok_or("it names no host")?;
        Ok(Parsed {
            command: SshCommand {
                host,
                user: self.user,
                port: self.port,
                config_file: self.config_file,
                settings: self.settings,
                forwards: self.forwards,
            },
            no_command: self.no_command,
            remote: (!command.is_empty()).then(|| command.join(" ")),
            stdio: self.stdio,
        })
    }
}

fn port(text: &str) -> Result<u16, NotUnderstood> {
    super::super::service_port(text.as_bytes()).ok_or_else(|| format!("`{text}` is no port").into())
}

/// Takes off the quotes around a whole value.
fn unquote(value: &str) -> &str {
    let inner = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(value)
}

fn percent_decoded(user: &str) -> Result<String, NotUnderstood> {
    let mut octets = Vec::with_capacity(user.len());
    let mut rest = user.as_bytes();
    while let [octet, after @ ..] = rest {
        rest = after;
        if *octet != b'%' {
            octets.push(*octet);
            continue;
        }
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        octets.push(decoded.ok_or("the user in its ssh:// address is encoded wrongly")?);
        rest = &after[2..];
    }
    String::from_utf8(octets).map_err(|_| "the user in its ssh:// address is not UTF-8".into())
}

/// The options that take an argument: ssh(1), SYNOPSIS.
const TAKE_ARGUMENT: &str = "BDEFIJLOQRSWbceilmopw";
