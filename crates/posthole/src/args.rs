//! The command line, as clap understands it.
//!
//! Options that say how an account is fetched become [`Overrides`], which win over the
//! configuration file; each value is read by the same parser as in the file. Nothing here looks at
//! the disk or the environment.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "the comments are the help texts, in which brackets mean optional"
)]

mod daemon;
mod edits;
mod forward;
mod ssh;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use posthole_core::config::{
    AccountArg, Deliver, Password, SshTarget, ValueError, parse_duration, parse_filter, parse_keep,
    parse_path, parse_recipient, parse_size,
};
use posthole_core::plan::{Auth, Keep, Overrides, SshOverrides};
use posthole_core::tunnel::HostKey;

use daemon::{DAEMON_EXAMPLES, STATUS_EXAMPLES, WAKE_EXAMPLES};
pub(crate) use daemon::{DaemonArgs, PauseArgs, StatusArgs, WakeArgs};
use edits::EditArgs;
pub(crate) use forward::{ForwardArgs, ForwardCommand, TokenArgs};
use ssh::SshArgs;
use tls::TlsArgs;

/// Fetch POP3 mail through SSH into a Maildir, each message exactly once
#[derive(Debug, Parser)]
#[command(name = "posthole", version, styles = STYLES, arg_required_else_help = true)]
#[command(max_term_width = 100)]
#[command(after_help = "`posthole COMMAND --help` has examples; `posthole man` prints the manual.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
}

/// What the program is asked to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch new mail from all accounts, or from those named
    #[command(after_long_help = FETCH_EXAMPLES)]
    Fetch(FetchArgs),
    /// Poll all accounts, each at its own interval, until stopped
    #[command(after_long_help = DAEMON_EXAMPLES)]
    Daemon(DaemonArgs),
    /// Show how the accounts are: last success, next poll, what is wrong
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Have the daemon poll now
    #[command(after_long_help = WAKE_EXAMPLES)]
    Wake(WakeArgs),
    /// Have the daemon start no more polls
    Pause(PauseArgs),
    /// Have the daemon go on after a pause
    Resume,
    /// Have the daemon read its configuration again
    Reload,
    /// Give the daemon the passwords and passphrases that it waits for
    Unlock,
    /// End the daemon, after the message in hand
    Stop,
    /// Walk every step towards the mailbox and say how it went
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Show an SSH host's key and record it in known_hosts after a yes
    #[command(after_long_help = TRUST_EXAMPLES)]
    Trust(TrustArgs),
    /// Fetch mail as fetchmail does, with its options and its .fetchmailrc
    ///
    /// The same as calling the program by the name fetchmail. `posthole fetchmail --help` lists the
    /// options, and posthole-fetchmail(1) says what becomes of each.
    #[command(disable_help_flag = true)]
    Fetchmail(FetchmailArgs),
    /// Make servers behind SSH hosts appear on this machine, for other mail programs
    #[command(after_long_help = forward::EXAMPLES)]
    Forward(ForwardArgs),
    /// Translate fetchmail's rc file, or take over what others have fetched
    #[command(after_long_help = IMPORT_EXAMPLES)]
    Import(ImportArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
    /// Print the manual page
    #[command(after_long_help = MAN_EXAMPLES)]
    Man,
}

/// Options that mean the same in every command.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Read this configuration file
    ///
    /// Without it, $XDG_CONFIG_HOME/posthole/config.toml is read, where
    /// $XDG_CONFIG_HOME stands for ~/.config when it is not set.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,

    /// Keep the records of fetched mail in this directory
    ///
    /// Without it, they are kept in $XDG_STATE_HOME/posthole, where $XDG_STATE_HOME
    /// stands for ~/.local/state when it is not set.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,

    /// Print nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say more: each step with -v, the dialogue with the mail server with -vv
    ///
    /// Passwords are masked in the dialogue, and control characters are escaped.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Print one JSON object a line instead of text
    ///
    /// The names of the fields are in posthole(1) and stay as they are.
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Colour the output: on a terminal, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: ColorWhen,
}

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum ColorWhen {
    #[default]
    Auto,
    Always,
    Never,
}

/// `posthole fetch`
#[derive(Args, Debug)]
pub(crate) struct FetchArgs {
    #[command(flatten)]
    pub(crate) account: AccountArgs,

    /// List what would be fetched and deleted, and do neither
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// `posthole check`
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) account: AccountArgs,

    /// Print what would be done, without passwords, and connect to nothing
    #[arg(long)]
    pub(crate) plan: bool,
}

/// `posthole trust`
#[derive(Args, Debug)]
pub(crate) struct TrustArgs {
    /// The SSH host: [ssh://][user@]host[:port], or the NAME of an [ssh.NAME] section
    #[arg(value_parser = value::<SshTarget>)]
    pub(crate) host: SshTarget,

    /// Reach the host through this SSH host (can be repeated)
    #[arg(long, value_name = "SSHHOST", value_parser = value::<SshTarget>)]
    pub(crate) via: Vec<SshTarget>,

    /// Accept the key without a question if this is its fingerprint
    ///
    /// It is what the administrator of the host reads out, for example from
    /// `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`: SHA256: and 43 characters, or from an
    /// old one MD5: and 16 octets in hex. If the host has keys of several types, the one that
    /// has this fingerprint is recorded.
    #[arg(long, value_name = "SHA256:…")]
    pub(crate) fingerprint: Option<Fingerprint>,

    /// Ask the DNS for the host's fingerprints (SSHFP records), too
    ///
    /// A key that an authenticated answer vouches for is accepted without a question, and one that
    /// it contradicts is refused. What is not authenticated by DNSSEC is only shown. The resolver is
    /// that of resolv.conf(5) unless another is given, as ADDRESS or ADDRESS:PORT.
    #[arg(long, value_name = "RESOLVER", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "", value_parser = resolver)]
    pub(crate) sshfp: Option<SshfpResolver>,

    /// Look at the host's keys of all types, not only at the one that would be used
    #[arg(long, conflicts_with = "fingerprint")]
    pub(crate) all: bool,

    /// Look for the key in this file, and record it there (can be repeated)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = path)]
    pub(crate) known_hosts: Vec<PathBuf>,

    /// Give up when there is no answer after this long
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) connect_timeout: Option<Duration>,
}

/// `posthole fetchmail`
#[derive(Args, Debug)]
pub(crate) struct FetchmailArgs {
    /// fetchmail's options, and the names of servers
    #[arg(
        value_name = "OPTION|POLLNAME",
        allow_hyphen_values = true,
        trailing_var_arg = true
    )]
    pub(crate) words: Vec<std::ffi::OsString>,
}

/// `posthole import`
#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The file: a .fetchmailrc, or a file of unique-ids
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,

    /// What the file is, where its name does not tell
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ImportFormat>,

    /// The account of the configuration that the unique-ids are for
    #[arg(long, value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
}

/// What a file to be imported is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum ImportFormat {
    /// fdm's cache
    Fdm,
    /// fetchmail's .fetchids
    Fetchids,
    /// fetchmail's rc file
    Fetchmailrc,
    /// An oldmail file of getmail
    Getmail,
    /// mpop's uidls file
    Mpop,
}

/// `posthole completions`
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Which accounts, and everything that can be said about them.
#[derive(Args, Debug)]
pub(crate) struct AccountArgs {
    /// Accounts of the configuration by name, or mailboxes as pop3[s]://USER@HOST[:PORT]
    ///
    /// Without any, all accounts of the configuration. Behind an SSH host (--via), HOST is the
    /// mail server as that host sees it, usually localhost.
    #[arg(value_name = "ACCOUNT|URL")]
    accounts: Vec<String>,

    /// Deliver there, such as maildir:PATH or smtp:HOST; repeat for several destinations
    ///
    /// maildir:PATH and mbox:PATH are made when they are missing. mda:COMMAND is given each message
    /// on standard input. smtp:HOST[:PORT], lmtp:HOST:PORT and lmtp:/SOCKET are servers that take
    /// mail. bsmtp:PATH gets SMTP commands.
    #[arg(long, value_name = "KIND:PLACE", help_heading = "Mail", value_parser = value::<Deliver>)]
    to: Vec<Deliver>,

    /// Whom the mail is for, as commands and servers are told; the local user by default
    #[arg(long, value_name = "NAME", help_heading = "Mail", value_parser = recipient)]
    recipient: Vec<String>,

    /// Keep fetched mail on the server: true, false, for how long, such as 14d, or `newest N`
    ///
    /// Just --keep means true, and true is the default.
    #[arg(short, long, value_name = "HOW", help_heading = "Mail", value_parser = keep)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    keep: Option<Keep>,

    /// Delete mail from the server once it is safe here
    #[arg(short = 'K', long, help_heading = "Mail", conflicts_with = "keep")]
    no_keep: bool,

    /// Leave messages above this size on the server, such as 10M
    #[arg(long, value_name = "SIZE", help_heading = "Mail", value_parser = size)]
    limit: Option<u64>,

    /// Break off messages that turn out larger than this, such as 500M; the default is 2GiB
    #[arg(long, value_name = "SIZE", help_heading = "Mail", value_parser = size)]
    max_size: Option<u64>,

    /// Delete messages above the limit from the server, without fetching them
    #[arg(long, help_heading = "Mail")]
    limit_flush: bool,

    /// Leave them there, whatever the configuration says
    #[arg(long, help_heading = "Mail", conflicts_with = "limit_flush")]
    no_limit_flush: bool,

    /// Fetch at most this many messages
    #[arg(long, value_name = "N", help_heading = "Mail")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    fetch_limit: Option<u32>,

    /// Fetch also what was fetched before
    #[arg(short = 'a', long, help_heading = "Mail")]
    fetch_all: bool,

    /// Fetch only what is new, whatever the configuration says
    #[arg(long, help_heading = "Mail", conflicts_with = "fetch_all")]
    no_fetch_all: bool,

    /// Delete what was fetched before first, whatever else is said
    #[arg(long, help_heading = "Mail")]
    flush: bool,

    /// Delete nothing first, whatever the configuration says
    #[arg(long, help_heading = "Mail", conflicts_with = "flush")]
    no_flush: bool,

    /// Log out after this many deletions, which makes them real, and go on in a new session
    #[arg(long, value_name = "N", help_heading = "Mail")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    expunge: Option<u32>,

    /// Ask this command about each new message before it is fetched
    ///
    /// It is given the header on standard input. Exit code 0 has the message fetched, 10 leaves it on
    /// the server, 11 deletes it there; anything else is an error, and the message stays.
    #[arg(long, value_name = "COMMAND", help_heading = "Mail", value_parser = filter)]
    #[arg(value_hint = ValueHint::CommandString)]
    filter: Option<FilterWords>,

    /// Ask no command, whatever the configuration says
    #[arg(long, help_heading = "Mail", conflicts_with = "filter")]
    no_filter: bool,

    /// Give a server that takes mail this many messages over one connection
    #[arg(long, value_name = "N", help_heading = "Mail")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    batch_limit: Option<u32>,

    #[command(flatten)]
    edits: EditArgs,

    /// Go through this SSH host: [ssh://][user@]host[:port] (can be repeated)
    ///
    /// Each host is reached through the one before it, and the last one connects to the mail
    /// server. A NAME of an [ssh.NAME] section of the configuration will do.
    #[arg(long, value_name = "SSHHOST", help_heading = "SSH")]
    #[arg(value_parser = value::<SshTarget>)]
    via: Vec<SshTarget>,

    /// Connect to the mail server directly, whatever the configuration says
    #[arg(long, help_heading = "SSH", conflicts_with = "via")]
    no_via: bool,

    #[command(flatten)]
    ssh: SshArgs,

    /// Log in by this mechanism, such as user, plain, scram-sha-256 or xoauth2
    ///
    /// Without it, by what fits the server and the way to it best (auto). The manual page
    /// posthole.toml(5) has a table of all of them.
    #[arg(long, value_name = "MECHANISM", help_heading = "Password", value_parser = value::<Auth>)]
    auth: Option<Auth>,

    /// Take the mail password from the first line that this shell command prints
    #[arg(
        long,
        value_name = "COMMAND",
        help_heading = "Password",
        group = "password"
    )]
    #[arg(value_hint = ValueHint::CommandString)]
    password_command: Option<String>,

    /// Take the mail password from the first line of this file
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Password",
        group = "password"
    )]
    #[arg(value_hint = ValueHint::FilePath, value_parser = path)]
    password_file: Option<PathBuf>,

    /// Take the mail password from this environment variable
    #[arg(
        long,
        value_name = "VARIABLE",
        help_heading = "Password",
        group = "password"
    )]
    password_env: Option<String>,

    /// Take the mail password from the desktop's keyring
    ///
    /// Looked for is the item that `secret-tool store --label=Posthole host HOST service pop3 user
    /// USER` makes.
    #[arg(long, help_heading = "Password", group = "password")]
    password_keyring: bool,

    /// Take the mail password from ~/.netrc, or from another file like it
    ///
    /// The entry's machine is HOST of the mailbox, and its login is USER.
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "Password",
        group = "password"
    )]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "~/.netrc")]
    #[arg(value_hint = ValueHint::FilePath, value_parser = path)]
    password_netrc: Option<PathBuf>,

    /// Ask for the mail password, whatever the configuration says
    #[arg(long, help_heading = "Password", group = "password")]
    password_prompt: bool,

    /// Send the password even where it could be overheard
    ///
    /// Without it, a password goes only through SSH or TLS, or to this machine itself.
    #[arg(long, help_heading = "Password")]
    allow_plaintext: bool,

    #[command(flatten)]
    tls: TlsArgs,

    /// Give up when nothing has moved for this long
    ///
    /// Progress resets it, so it does not limit the size of a message.
    #[arg(long, value_name = "DURATION", help_heading = "Work", value_parser = duration)]
    timeout: Option<Duration>,

    /// Work on this many accounts at a time
    #[arg(
        short,
        long,
        value_name = "N",
        help_heading = "Work",
        default_value = "16"
    )]
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) jobs: u16,
}

impl AccountArgs {
    /// What was said here and wins over the configuration file.
    ///
    /// # Errors
    /// When an account is neither a name nor a URL. clap does not check this, because it repeats
    /// the value, and a URL may hold a password.
    pub(crate) fn overrides(&self) -> Result<Overrides, ValueError> {
        let accounts = self.accounts.iter().map(|text| AccountArg::from_str(text));
        Ok(Overrides {
            accounts: accounts.collect::<Result<_, _>>()?,
            deliver: given(&self.to),
            recipients: given(&self.recipient),
            via: given(&self.via).or_else(|| self.no_via.then(Vec::new)),
            auth: self.auth,
            password: self.password(),
            keep: self.keep.or_else(|| self.no_keep.then_some(Keep::Never)),
            limit: self.limit,
            max_size: self.max_size,
            limit_flush: either(self.limit_flush, self.no_limit_flush),
            fetch_limit: self.fetch_limit,
            fetch_all: either(self.fetch_all, self.no_fetch_all),
            flush: either(self.flush, self.no_flush),
            expunge: self.expunge,
            filter: match &self.filter {
                Some(FilterWords(words)) => Some(words.clone()),
                None => self.no_filter.then(Vec::new),
            },
            batch_limit: self.batch_limit,
            edits: self.edits.overrides(),
            timeout: self.timeout,
            allow_plaintext: self.allow_plaintext.then_some(true),
            ssh: self.ssh.overrides(),
            tls: self.tls.overrides(),
        })
    }

    fn password(&self) -> Option<Password> {
        let command = self.password_command.clone().map(Password::Command);
        command
            .or_else(|| self.password_file.clone().map(Password::File))
            .or_else(|| self.password_env.clone().map(Password::Env))
            .or_else(|| {
                let usual = Password::Keyring(Vec::new());
                self.password_keyring.then_some(usual)
            })
            .or_else(|| Some(Password::Netrc(Some(self.password_netrc.clone()?))))
            .or_else(|| self.password_prompt.then_some(Password::Prompt))
    }
}

impl TrustArgs {
    /// What was said here and wins over the configuration file.
    pub(crate) fn overrides(&self) -> Overrides {
        let ssh = SshOverrides {
            known_hosts: given(&self.known_hosts),
            connect_timeout: self.connect_timeout,
            ..SshOverrides::default()
        };
        Overrides {
            ssh,
            ..Overrides::default()
        }
    }
}

/// A command, split into its words.
#[derive(Clone, Debug)]
struct FilterWords(Vec<String>);

fn filter(text: &str) -> Result<FilterWords, String> {
    parse_filter(text).map(FilterWords).map_err(with_help)
}

/// A host key's fingerprint as OpenSSH prints it: `SHA256:` and unpadded base64 of 32 octets, or
/// `MD5:` and 16 octets in hex, which old versions printed without the `MD5:`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// Whether it is the fingerprint of this key.
    pub(crate) fn is_of(&self, key: &HostKey) -> bool {
        self.0 == key.fingerprint() || self.0 == key.md5_fingerprint()
    }

    /// The text, `SHA256:…` or `MD5:…`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Fingerprint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(digest) = text.strip_prefix("SHA256:") {
            let digest = digest.strip_suffix('=').unwrap_or(digest);
            let is_base64 =
                |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'/');
            return if digest.len() == 43 && digest.bytes().all(is_base64) {
                Ok(Self(format!("SHA256:{digest}")))
            } else {
                Err("a SHA256 fingerprint has 43 base64 characters after `SHA256:`")
            };
        }
        let octets: Vec<_> = text
            .strip_prefix("MD5:")
            .unwrap_or(text)
            .split(':')
            .collect();
        let is_octet =
            |octet: &&str| octet.len() == 2 && octet.bytes().all(|c| c.is_ascii_hexdigit());
        if octets.len() == 16 && octets.iter().all(is_octet) {
            Ok(Self(format!(
                "MD5:{}",
                octets.join(":").to_ascii_lowercase()
            )))
        } else if text.starts_with("MD5:") {
            Err("an MD5 fingerprint has 16 octets in hex after `MD5:`, with colons between them")
        } else {
            Err("a fingerprint starts with `SHA256:` or, from an old OpenSSH, with `MD5:`")
        }
    }
}

/// Which resolver is asked about SSHFP records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SshfpResolver {
    /// The one of resolv.conf(5).
    System,
    /// This one.
    At(SocketAddr),
}

fn given<T: Clone>(values: &[T]) -> Option<Vec<T>> {
    (!values.is_empty()).then(|| values.to_vec())
}

fn either(yes: bool, no: bool) -> Option<bool> {
    match (yes, no) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

fn value<T: FromStr<Err = ValueError>>(text: &str) -> Result<T, String> {
    text.parse().map_err(with_help)
}

fn recipient(text: &str) -> Result<String, String> {
    parse_recipient(text).map_err(with_help)
}

fn keep(text: &str) -> Result<Keep, String> {
    parse_keep(text).map_err(with_help)
}

fn size(text: &str) -> Result<u64, String> {
    parse_size(text).map_err(with_help)
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(with_help)
}

fn resolver(text: &str) -> Result<SshfpResolver, String> {
    if text.is_empty() {
        return Ok(SshfpResolver::System);
    }
    let address = text.parse().map(|address| SocketAddr::new(address, 53));
    address
        .or_else(|_| text.parse())
        .map(SshfpResolver::At)
        .map_err(|_| "a resolver is an IP address, with or without :PORT".to_owned())
}

fn path(text: &str) -> Result<PathBuf, String> {
    parse_path(text).map_err(with_help)
}

fn with_help(error: ValueError) -> String {
    match error.help {
        Some(help) => format!("{}\n  hint: {help}", error.message),
        None => error.message,
    }
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const FETCH_EXAMPLES: &str = "\
Examples:
  Fetch all accounts of the configuration:
    posthole fetch

  Fetch a mailbox that only an SSH host can reach, without any configuration:
    posthole fetch pop3://msingh@localhost:110 --via msingh@popserver --to maildir:~/Mail

  Fetch from a server with TLS, directly:
    posthole fetch pop3s://msingh@pop.example.org --to maildir:~/Mail

  See what fetching and then deleting everything older than two weeks would do:
    posthole fetch work --keep=14d --dry-run

  Fetch from cron: no output unless something is wrong, no question ever:
    posthole fetch -q";

const CHECK_EXAMPLES: &str = "\
Examples:
  Find out why an account does not work:
    posthole check work

  See what the configuration comes to:
    posthole check --plan";

const TRUST_EXAMPLES: &str = "\
Examples:
  Look at a key, compare it and type yes:
    posthole trust popserver

  Record it from a script, if and only if it is the right one:
    posthole trust popserver:2222 \\
      --fingerprint SHA256:uNiVztksCsDhcc0u9e8BrQJTdXVU5+cLCWGdxYu4PPw

  Record the keys of all types, as ssh-keyscan(1) finds them, after a look at each:
    posthole trust popserver --all";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  posthole completions bash > ~/.local/share/bash-completion/completions/posthole
  posthole completions zsh > ~/.zfunc/_posthole
  posthole completions fish > ~/.config/fish/completions/posthole.fish";

const IMPORT_EXAMPLES: &str = "\
Examples:
  posthole import ~/.fetchmailrc > ~/.config/posthole/config.toml
  chmod 600 ~/.config/posthole/config.toml
  posthole import ~/.fetchids
  posthole import --format mpop --account work ~/.local/share/mpop_uidls";

const MAN_EXAMPLES: &str = "\
Examples:
  posthole man | man -l -";

#[cfg(test)]
mod tests;
