//! `posthole forward`

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use posthole_core::config::{Listen, Protocol, SshTarget, ValueError, parse_host_port};
use posthole_core::plan::{HostPort, Overrides, Wish};

use super::{duration, ssh::SshArgs, value, with_help};

/// `posthole forward`
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ForwardArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ForwardCommand>,

    /// Forwards of the configuration by name; with --to, where programs connect
    ///
    /// Without any, all forwards of the configuration. LISTEN is a port of this machine, which only
    /// this machine can connect to, unix:PATH for a socket, ADDRESS:PORT, or systemd[:NAME] for
    /// sockets that systemd passes.
    #[arg(value_name = "NAME|LISTEN")]
    places: Vec<String>,

    /// Go through this SSH host: [ssh://][user@]host[:port] (can be repeated)
    ///
    /// Each host is reached through the one before it, and the last one connects to the server. A
    /// NAME of an [ssh.NAME] section of the configuration will do.
    #[arg(
        long,
        value_name = "SSHHOST",
        help_heading = "Forward",
        requires = "to",
        value_parser = super::value::<SshTarget>
    )]
    via: Vec<SshTarget>,

    /// Forward to this server, as the last SSH host sees it: HOST:PORT
    #[arg(
        long,
        value_name = "HOST:PORT",
        help_heading = "Forward",
        requires = "via"
    )]
    #[arg(value_parser = host_port)]
    to: Option<HostPort>,

    /// Say in this protocol why a program cannot be connected: pop3, imap or other
    ///
    /// Without it, port 110 is taken for pop3 and port 143 for imap.
    #[arg(
        long,
        value_name = "PROTOCOL",
        help_heading = "Forward",
        requires = "to"
    )]
    #[arg(value_parser = value::<Protocol>)]
    protocol: Option<Protocol>,

    /// Close the SSH connection when nobody has used it for this long; 0 keeps it open
    #[arg(long, value_name = "DURATION", help_heading = "Forward", value_parser = duration)]
    idle: Option<Duration>,

    /// Whose programs may connect
    #[arg(
        long,
        value_name = "WHO",
        help_heading = "Forward",
        default_value = "same-user"
    )]
    allow: Allow,

    #[command(flatten)]
    ssh: SshArgs,
}

/// What else there is to do about forwards.
#[derive(Debug, Subcommand)]
pub(crate) enum ForwardCommand {
    /// Make a token for a forward with login = "local-token", and print it
    ///
    /// A mail program logs in with it in the place of the password. The one before it is void at
    /// once, also where the forward is being served. It is shown this once only.
    Token(TokenArgs),
}

/// `posthole forward token`
#[derive(Args, Debug)]
pub(crate) struct TokenArgs {
    /// The forward
    pub(crate) name: String,

    /// Make the token void instead, and no new one
    #[arg(long)]
    pub(crate) revoke: bool,
}

/// Whose programs may connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Allow {
    /// Those of any user, and of other machines where they can
    Any,
    /// Those of the user who runs this, unless the configuration says otherwise
    SameUser,
}

impl ForwardArgs {
    /// What is to be forwarded.
    ///
    /// # Errors
    /// When there is not one place to listen on for `--to`.
    pub(crate) fn wish(&self) -> Result<Wish, ValueError> {
        let allow_any = self.allow == Allow::Any;
        let idle = self.idle;
        let Some(to) = self.to.clone() else {
            let names = self.places.clone();
            return Ok(Wish::Named {
                names,
                idle,
                allow_any,
            });
        };
        let [listen] = &self.places[..] else {
            let message = "with --to, one place to listen on is needed";
            let help = "write `posthole forward 11110 --via msingh@popserver --to localhost:110`";
            return Err(ValueError {
                message: message.to_owned(),
                at: 0..0,
                help: Some(help.to_owned()),
            });
        };
        let listen = listen.parse::<Listen>().map_err(|error| ValueError {
            message: format!("cannot listen on `{listen}`: {}", error.message),
            ..error
        })?;
        Ok(Wish::New {
            listen,
            via: self.via.clone(),
            to,
            protocol: self.protocol,
            idle,
            allow_any,
        })
    }

    /// What was said here and wins over the configuration file.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            ssh: self.ssh.overrides(),
            ..Overrides::default()
        }
    }
}

fn host_port(text: &str) -> Result<HostPort, String> {
    parse_host_port(text).map_err(with_help)
}

pub(super) const EXAMPLES: &str = "\
Examples:
  Serve all forwards of the configuration until interrupted:
    posthole forward

  Let a mail program read a mailbox behind an SSH host on port 11110 of this machine:
    posthole forward 11110 --via msingh@popserver --to localhost:110

  The same on a socket that nobody else can connect to:
    posthole forward unix:$XDG_RUNTIME_DIR/pop --via msingh@popserver --to localhost:110

  Let a mail program log in without the password (login = \"local-token\"):
    posthole forward token thunderbird";
