//! A test binary whose tests may be reported as ignored while it runs.

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use super::Requirement;

/// Tests that need real servers; for a `[[test]]` with `harness = false`.
///
/// The standard harness knows only at compile time which tests to ignore. This one looks at the
/// machine: a test whose requirements are missing is listed as ignored, which nextest counts as
/// skipped, and a line on standard error says what to install.
///
/// ```no_run
/// use std::process::ExitCode;
/// use posthole_testkit::real::{Requirement, Suite};
///
/// fn main() -> ExitCode {
///     Suite::new()
///         .test("mail_is_fetched_from_dovecot", Requirement::MAILHOST, || { /* … */ })
///         .run()
/// }
/// ```
#[derive(Default)]
pub struct Suite {
    trials: Vec<Trial>,
    skipped: Vec<String>,
}

impl Suite {
    /// A suite without tests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a test, which fails by panicking.
    #[must_use]
    pub fn test(
        mut self,
        name: &str,
        requirements: &[Requirement],
        test: impl FnOnce() + Send + 'static,
    ) -> Self {
        let missing: Vec<_> = requirements
            .iter()
            .filter_map(|one| one.missing())
            .collect();
        if !missing.is_empty() {
            self.skipped
                .push(format!("{name} (needs {})", missing.join(", ")));
        }
        let trial = Trial::test(name, || {
            test();
            Ok(())
        });
        self.trials
            .push(trial.with_ignored_flag(!missing.is_empty()));
        self
    }

    /// Runs the tests as the command line says, as the standard harness does.
    #[must_use]
    #[expect(
        clippy::print_stderr,
        reason = "a test binary talks to whoever runs it"
    )]
    pub fn run(self) -> ExitCode {
        // Not when nextest asks for one test at a time, but once, when the tests are listed.
        let arguments = Arguments::from_args();
        if !arguments.exact {
            for skipped in &self.skipped {
                eprintln!("SKIPPED, not passed: {skipped}");
            }
        }
        libtest_mimic::run(&arguments, self.trials).exit_code()
    }
}

impl std::fmt::Debug for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Suite")
            .field("tests", &self.trials.len())
            .field("skipped", &self.skipped)
            .finish()
    }
}
