//! The options about changes to messages.

use clap::{ArgAction, Args};
use posthole_core::config::{Rewrite, parse_host};
use posthole_core::plan::{EditOverrides, StatusFields};

use super::{either, with_help};

/// What is changed in messages on their way.
#[derive(Args, Debug)]
pub(super) struct EditArgs {
    /// Put a Received field in front of each message
    #[arg(long, help_heading = "Changes to messages")]
    received: bool,

    /// Put none there, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "received"
    )]
    no_received: bool,

    /// Name the account in the Received field
    #[arg(long, help_heading = "Changes to messages")]
    tracepolls: bool,

    /// Name no account, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "tracepolls"
    )]
    no_tracepolls: bool,

    /// Put a Return-Path in front of messages that have none
    #[arg(long, help_heading = "Changes to messages")]
    return_path: bool,

    /// Put none there, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "return_path"
    )]
    no_return_path: bool,

    /// Complete addresses that name no host, with this one or the mail server's own name
    #[arg(long, value_name = "HOST", help_heading = "Changes to messages", value_parser = host)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "")]
    rewrite: Option<Rewrite>,

    /// Leave addresses as they are, whatever the configuration says
    #[arg(long, help_heading = "Changes to messages", conflicts_with = "rewrite")]
    no_rewrite: bool,

    /// Take out Status and X-Mozilla-Status, all or only those that are empty
    #[arg(long, value_name = "empty", help_heading = "Changes to messages", value_parser = status)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    drop_status: Option<StatusFields>,

    /// Leave them there, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "drop_status"
    )]
    #[arg(action = ArgAction::SetTrue)]
    no_drop_status: bool,

    /// Take out Delivered-To
    #[arg(long, help_heading = "Changes to messages")]
    drop_delivered: bool,

    /// Leave it there, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "drop_delivered"
    )]
    no_drop_delivered: bool,

    /// Decode quoted-printable text and encoded words in headers
    #[arg(long, help_heading = "Changes to messages")]
    mimedecode: bool,

    /// Leave them encoded, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "mimedecode"
    )]
    no_mimedecode: bool,

    /// Take out carriage returns wherever they stand
    #[arg(long, help_heading = "Changes to messages")]
    strip_cr: bool,

    /// Leave them there, whatever the configuration says
    #[arg(
        long,
        help_heading = "Changes to messages",
        conflicts_with = "strip_cr"
    )]
    no_strip_cr: bool,
}

impl EditArgs {
    /// What was said here and wins over the configuration file.
    pub(super) fn overrides(&self) -> EditOverrides {
        let rewrite = self.rewrite.clone();
        let status = self.drop_status;
        EditOverrides {
            received: either(self.received, self.no_received),
            tracepolls: either(self.tracepolls, self.no_tracepolls),
            return_path: either(self.return_path, self.no_return_path),
            rewrite: rewrite.or_else(|| self.no_rewrite.then_some(Rewrite::Off)),
            drop_status: status.or_else(|| self.no_drop_status.then_some(StatusFields::Keep)),
            drop_delivered: either(self.drop_delivered, self.no_drop_delivered),
            mimedecode: either(self.mimedecode, self.no_mimedecode),
            strip_cr: either(self.strip_cr, self.no_strip_cr),
        }
    }
}

fn host(text: &str) -> Result<Rewrite, String> {
    match text {
        "" => Ok(Rewrite::Server),
        host => parse_host(host).map(Rewrite::To).map_err(with_help),
    }
}

fn status(text: &str) -> Result<StatusFields, &'static str> {
    match text {
        "true" => Ok(StatusFields::Drop),
        "empty" => Ok(StatusFields::DropEmpty),
        _ => Err("write --drop-status, or --drop-status=empty for those that say nothing"),
    }
}
