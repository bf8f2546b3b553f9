//! `posthole import`: from what another program has to what we have.
//!
//! An rc file of fetchmail is printed as a configuration of ours ([`translate`]); a file of
//! unique-ids goes into the records, so that nothing comes again. Files are told by their names,
//! since their formats look like anything.

mod translate;

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use bstr::ByteSlice;
use posthole_core::config::{AccountArg, Diagnostic};
use posthole_core::error::Class;
use posthole_core::fetchmailrc::{self, Request};
use posthole_core::openssh::Ssh;
use posthole_core::plan::{Environment, Job, Overrides, RcWishes, Route, resolve_rcfile};
use posthole_core::record::Records;
use posthole_core::record::import::{self, Account, Import};

use super::Run;
use super::plan::Refusal;
use crate::args::{ImportArgs, ImportFormat};
use crate::exit::Exit;
use crate::render;
use crate::report::{Problem, printable};

/// Translates or takes over.
pub(crate) fn import(run: &Run, args: &ImportArgs) -> Result<Exit, Refusal> {
    let environment = run.environment()?;
    let path = environment.cwd.join(&args.file);
    let text = std::fs::read(&path).map_err(|error| {
        let message = format!("cannot read {}", path.display());
        let mut problem = Problem::say(Class::Config, message);
        problem.causes.push(error.to_string());
        problem
    })?;
    let Some(format) = args.format.or_else(|| format_of(&path)) else {
        let message = format!("what {} is cannot be told by its name", path.display());
        let hint = "say it: --format fetchmailrc, fetchids, mpop, getmail or fdm";
        return Err(Problem::say(Class::Config, message)
            .hint(Some(hint.to_owned()))
            .into());
    };
    match format {
        ImportFormat::Fetchmailrc => run.translate(&path, &text, &environment),
        ImportFormat::Fdm => run.take_over(args, &path, import::cache(&text), &environment),
        ImportFormat::Fetchids => run.take_over(args, &path, import::fetchids(&text), &environment),
        ImportFormat::Getmail => {
            let name = path.file_name().unwrap_or_default();
            let account = import::oldmail_account(name.as_encoded_bytes());
            let mut known = import::oldmail(&text);
            for seen in &mut known.seen {
                seen.account.clone_from(&account);
            }
            run.take_over(args, &path, known, &environment)
        }
        ImportFormat::Mpop => run.take_over(args, &path, import::uidls(&text), &environment),
    }
}

/// The usual names of such files.
fn format_of(path: &Path) -> Option<ImportFormat> {
    let name = path.file_name().and_then(OsStr::to_str)?;
    let plain = name.strip_prefix('.').unwrap_or(name);
    if plain.starts_with("fetchmailrc") {
        Some(ImportFormat::Fetchmailrc)
    } else if plain.starts_with("fetchids") {
        Some(ImportFormat::Fetchids)
    } else if plain.starts_with("oldmail-") {
        Some(ImportFormat::Getmail)
    } else if plain.starts_with("mpop_uidls") || name == "uidls" {
        Some(ImportFormat::Mpop)
    } else {
        None
    }
}

impl Run {
    fn translate(
        &self,
        path: &Path,
        text: &[u8],
        environment: &Environment,
    ) -> Result<Exit, Refusal> {
        let (mut rcfile, mut diagnostics) = fetchmailrc::parse(text);
        let redacted = rcfile.redact(text);
        let refuse = |diagnostics: Vec<Diagnostic>| {
            Err(Refusal::mistakes(
                Some((path, redacted.as_str())),
                diagnostics,
            ))
        };
        if diagnostics.iter().any(Diagnostic::is_error) {
            return refuse(diagnostics);
        }
        // What is skipped is translated as well, and said to be.
        let mut skipped = Vec::new();
        for entry in &mut rcfile.entries {
            if entry.options.skip.take().is_some() {
                skipped.push(entry.name.value.to_string());
            }
        }
        let user = environment.user.clone().unwrap_or_default();
        let dir = path.parent().unwrap_or_else(|| Path::new("/"));
        let request = Request {
            check_all: true,
            flags: fetchmailrc::Flags::default(),
            hostname: "localhost".into(),
            idfile: ".fetchids".into(),
            names: Vec::new(),
            rcfile_dir: dir.as_os_str().as_encoded_bytes().into(),
            superuser: false,
            user: user.into(),
        };
        let (configuration, more) = rcfile.resolve(&request);
        diagnostics.extend(more);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return refuse(diagnostics);
        }
        let wishes = RcWishes {
            native_tunnels: true,
            superuser: false,
            netrc: environment.home.as_ref().map(|home| home.join(".netrc")),
        };
        let plan = resolve_rcfile(&configuration, &wishes, environment, &Ssh::new());
        diagnostics.extend(plan.remarks.warnings.iter().cloned());
        let failed = plan.errands.iter().flatten().count() < plan.errands.len();
        let name = path.display().to_string();
        let translation = translate::toml(&name, &configuration, &plan, &skipped);
        self.console.print(translation.text.trim_end());
        for what in translation.lost {
            let message = format!("this has no counterpart and is left out: {what}");
            let help = "posthole.toml(5) has all keys; the place is marked in what is printed";
            diagnostics.push(Diagnostic::warning(message).help(help));
        }
        if !diagnostics.is_empty() && !self.global.quiet {
            let colour = self.console.stderr_colour();
            let file = Some((path, redacted.as_str()));
            self.console
                .eprint(render::diagnostics(file, &diagnostics, colour));
        }
        Ok(if failed { Exit::Config } else { Exit::Success })
    }

    /// Counts as fetched what another program has fetched.
    fn take_over(
        &self,
        args: &ImportArgs,
        path: &Path,
        known: Import,
        environment: &Environment,
    ) -> Result<Exit, Refusal> {
        let overrides = Overrides {
            accounts: match &args.account {
                Some(name) => vec![AccountArg::Name(name.clone())],
                None => Vec::new(),
            },
            ..Overrides::default()
        };
        let file = self.config_file(environment)?;
        let plan = self.plan(file.as_ref(), &overrides, environment)?;
        for skipped in known.skipped.iter().take(LINES_SHOWN) {
            self.console.eprint(format!(
                "posthole: {}:{}: {}; the line was skipped",
                path.display(),
                skipped.line,
                skipped.reason
            ));
        }
        let records = Records::open(&plan.state_dir).map_err(|e| Problem::from(&e.into()))?;
        let mut left = known.seen.len();
        for job in &plan.jobs {
            let is_theirs = |account: Option<&Account>| match account {
                Some(account) if args.account.is_some() => account.user == job.user.as_bytes(),
                Some(account) => is_mailbox(job, account),
                None => args.account.is_some(),
            };
            let seen: Vec<_> = known
                .seen
                .iter()
                .filter(|seen| is_theirs(seen.account.as_ref()))
                .map(|seen| seen.unique_id.clone())
                .collect();
            if seen.is_empty() {
                continue;
            }
            left = left.saturating_sub(seen.len());
            let new = records
                .adopt(&job.mailbox, &seen, true)
                .map_err(|error| Problem::from(&error))?;
            if !self.global.quiet {
                let count = seen.len();
                self.console.print(format!(
                    "{}: {count} messages count as fetched, {new} of them were not on record",
                    printable(&job.account)
                ));
            }
        }
        if left == 0 {
            return Ok(Exit::Success);
        }
        let message = format!(
            "{left} of {} messages in {} belong to no account of the configuration",
            known.seen.len(),
            path.display()
        );
        let hint = self.unmatched(&plan.jobs, &known);
        Err(Problem::say(Class::Config, message).hint(Some(hint)).into())
    }

    fn unmatched(&self, jobs: &[Arc<Job>], known: &Import) -> String {
        let accounts: Vec<_> = jobs.iter().map(|job| printable(&job.account)).collect();
        let accounts = accounts.join(", ");
        let named = known.seen.iter().find_map(|seen| seen.account.as_ref());
        match named {
            Some(account) => format!(
                "say which account is meant, such as {}@{}, with --account: {accounts}",
                printable(&account.user.to_str_lossy()),
                printable(&account.host.to_str_lossy())
            ),
            None => {
                format!("the file does not say whose they are; say it with --account: {accounts}")
            }
        }
    }
}

/// Whether a mailbox may be the one of an account.
///
/// What others reach through a tunnel is this machine to them, whatever it is called behind it.
fn is_mailbox(job: &Job, account: &Account) -> bool {
    if account.user != job.user.as_bytes() {
        return false;
    }
    let is_named = |name: &str| account.host.eq_ignore_ascii_case(name.as_bytes());
    match &job.route {
        Route::Ssh(hops) => {
            let is_hop = hops.last().is_some_and(|hop| is_named(&hop.name));
            let is_here = ["localhost", "127.0.0.1", "::1"].into_iter().any(is_named);
            is_hop || is_here || is_named(&job.server.host)
        }
        _ => {
            let port = account.port.is_none_or(|port| port == job.server.port);
            port && is_named(&job.server.host)
        }
    }
}

const LINES_SHOWN: usize = 20;
