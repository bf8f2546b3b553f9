//! Reading the rc file.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bstr::BString;
use posthole_core::config::Diagnostic;
use posthole_core::daemon::Stamps;
use posthole_core::error::Class;
use posthole_core::fetchmailrc::{self, check_permissions};
use posthole_core::plan::{PasswordSource, RcPlan};
use posthole_core::secret;
use secrecy::zeroize::Zeroizing;

use super::args::Action;
use super::exit::Code;
use super::{Front, Rcfile, bytes_of};

/// An rc file that was read without errors.
pub(super) struct Source {
    pub(super) rcfile: Rcfile,
    /// The directory that its relative paths start from.
    pub(super) dir: BString,
    /// Where it is; none is standard input.
    path: Option<PathBuf>,
    /// Its text, where it cannot be read again.
    pub(super) text: Option<Zeroizing<Vec<u8>>>,
    redacted: String,
    /// What the file looked like before it was read.
    seen: Stamps,
}

impl Source {
    /// Reads the file that is named, or the usual one; `given` is what somebody has read before
    /// from standard input.
    pub(super) fn read(front: &Front, given: Option<&[u8]>) -> Result<Self, Code> {
        let named = front.invocation.rcfile.as_ref();
        let is_stdin = named.is_some_and(|name| name == "-");
        let path = match named {
            Some(name) => front.environment.cwd.join(name),
            None => front.places.rcfile.clone(),
        };
        let mut text = Zeroizing::new(Vec::new());
        let mut seen = Stamps::default();
        if let Some(given) = given {
            text.extend_from_slice(given);
        } else if is_stdin {
            read_all(io::stdin().lock(), &mut text)
                .map_err(|error| front.fail(Class::Local, "cannot read standard input", &error))?;
        } else {
            seen = Stamps::of([path.clone()]);
            match File::open(&path) {
                Ok(file) => {
                    front.check(&path, &file)?;
                    read_all(file, &mut text).map_err(|error| {
                        let message = format!("cannot read {}", path.display());
                        front.fail(Class::Config, &message, &error)
                    })?;
                }
                // Everything can be said on the command line.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if named.is_some() {
                        front
                            .console
                            .eprint(format!("fetchmail: there is no rc file {}", path.display()));
                    }
                }
                Err(error) => {
                    let message = format!("cannot read {}", path.display());
                    front.fail(Class::Config, &message, &error);
                    return Err(Code::IoErr);
                }
            }
        }
        let (rcfile, diagnostics) = fetchmailrc::parse(&text);
        let dir = match path.parent() {
            Some(dir) if !is_stdin => bytes_of(dir),
            _ => bytes_of(&front.environment.cwd),
        };
        let source = Self {
            redacted: rcfile.redact(&text),
            rcfile,
            dir,
            text: is_stdin.then_some(text),
            path: (!is_stdin).then_some(path),
            seen,
        };
        source.report(front, diagnostics)?;
        Ok(source)
    }

    /// Says what is wrong with it; any error ends the run.
    pub(super) fn report(&self, front: &Front, diagnostics: Vec<Diagnostic>) -> Result<(), Code> {
        let failed = diagnostics.iter().any(Diagnostic::is_error);
        let shown: Vec<_> = diagnostics
            .into_iter()
            .filter(|diagnostic| {
                let is_told = !front.global.quiet && !front.is_repeated.get();
                failed || diagnostic.is_error() || is_told
            })
            .collect();
        // A dump is for programs, and warnings are for when something is done.
        if !shown.is_empty() && (failed || front.invocation.action != Action::Configdump) {
            let path = self.path.as_deref().unwrap_or_else(|| Path::new("-"));
            front.eprint_diagnostics(Some((path, &self.redacted)), &shown);
        }
        if failed { Err(Code::Syntax) } else { Ok(()) }
    }

    /// For a person.
    pub(super) fn name(&self) -> String {
        match &self.path {
            Some(path) => path.display().to_string(),
            None => "standard input".to_owned(),
        }
    }

    /// What the file looks like, if it is not as it was.
    pub(super) fn change(&self) -> Option<Stamps> {
        let now = self.seen.again();
        (now != self.seen).then_some(now)
    }

    /// Takes the file as it was seen for known.
    pub(super) fn accept(&mut self, seen: Stamps) {
        self.seen = seen;
    }
}

impl Front {
    /// fetchmail's rules about who may read the file.
    fn check(&self, path: &Path, file: &File) -> Result<(), Code> {
        let metadata = file.metadata().map_err(|error| {
            let message = format!("cannot read {}", path.display());
            self.fail(Class::Config, &message, &error);
            Code::IoErr
        })?;
        let exempt = path == Path::new("/dev/null") || self.invocation.action == Action::Version;
        let user = rustix::process::geteuid().as_raw();
        let refused = check_permissions(metadata.mode(), metadata.uid(), user);
        if let Some(mut diagnostic) = refused.filter(|_| !exempt) {
            diagnostic.message = format!("{}: {}", path.display(), diagnostic.message);
            self.eprint_diagnostics(None, &[diagnostic]);
            return Err(Code::IoErr);
        }
        Ok(())
    }
}

/// Asks a person where `.netrc` has no password.
pub(super) fn with_netrc(mut plan: RcPlan) -> RcPlan {
    for errand in plan.errands.iter_mut().flatten() {
        if let PasswordSource::Netrc(entry) = &errand.job.password
            && !secret::is_in_netrc(entry)
        {
            errand.job.password = PasswordSource::Prompt;
        }
    }
    plan
}

fn read_all(from: impl Read, text: &mut Zeroizing<Vec<u8>>) -> io::Result<()> {
    // With some room, since a buffer that grows leaves a copy behind.
    text.reserve(LIMIT.min(64 * 1024));
    from.take(LIMIT as u64).read_to_end(text)?;
    Ok(())
}

/// Far longer than any rc file.
const LIMIT: usize = 16 * 1024 * 1024;
