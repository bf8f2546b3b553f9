//! From the command line, the configuration file and the environment to a plan, or to all that is
//! wrong with them.

use std::path::{Path, PathBuf};

use posthole_core::config::{self, Config, Diagnostic, LoadError, ValueError};
use posthole_core::error::Class;
use posthole_core::openssh::{OpenSsh, Ssh};
use posthole_core::plan::{self, ConfigFile, Environment, Overrides, Plan, Remarks};

use super::Run;
use crate::exit::Exit;
use crate::render;
use crate::report::{Mistake, Problem, Refused};
use crate::steps::count;

/// A function that makes a plan.
type Resolve = fn(
    Option<ConfigFile<'_>>,
    &Overrides,
    &Environment,
    &dyn OpenSsh,
) -> Result<Plan, Vec<Diagnostic>>;

/// A configuration file that was read without errors.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) config: Config,
    redacted: String,
}

impl Run {
    /// Works out what is to be done about accounts.
    pub(crate) fn plan(
        &self,
        file: Option<&File>,
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<Plan, Refusal> {
        self.plan_by(plan::resolve, file, overrides, environment)
    }

    /// Works out what all that is configured comes to, forwards as well.
    pub(crate) fn plan_all(
        &self,
        file: Option<&File>,
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<Plan, Refusal> {
        self.plan_by(plan::resolve_all, file, overrides, environment)
    }

    fn plan_by(
        &self,
        resolve: Resolve,
        file: Option<&File>,
        overrides: &Overrides,
        environment: &Environment,
    ) -> Result<Plan, Refusal> {
        if file.is_none() && overrides.accounts.is_empty() {
            return Err(nothing_to_do(environment.config_file()).into());
        }
        let written = file.map(|file| ConfigFile {
            path: &file.path,
            config: &file.config,
        });
        let mut plan = resolve(written, overrides, environment, &Ssh::new())
            .map_err(|diagnostics| Refusal::mistakes(file.map(File::shown), diagnostics))?;
        self.remark(file, &plan.remarks);
        if let Some(state_dir) = &self.global.state_dir {
            plan.state_dir = environment.cwd.join(state_dir);
        }
        Ok(plan)
    }

    /// Reads the configuration file: the one that is named, or the usual one if it is there.
    pub(crate) fn config_file(&self, environment: &Environment) -> Result<Option<File>, Refusal> {
        let (path, must_exist) = match &self.global.config {
            Some(path) => (environment.cwd.join(path), true),
            None => match environment.config_file() {
                Some(path) => (path, false),
                None => return Ok(None),
            },
        };
        let source = match config::load(&path) {
            Ok(source) => source,
            Err(error) if error.is_not_found() && !must_exist => return Ok(None),
            Err(error) => return Err(cannot_read(&error).into()),
        };
        let (config, diagnostics) = source.parse();
        let redacted = config.redact(&source.text);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(Refusal::mistakes(Some((&path, &redacted)), diagnostics));
        }
        self.warn(Some((&path, &redacted)), &diagnostics);
        Ok(Some(File {
            path,
            config,
            redacted,
        }))
    }

    /// Tells what was noticed on the way to the plan.
    pub(crate) fn remark(&self, file: Option<&File>, remarks: &Remarks) {
        let Remarks { warnings, notices } = remarks;
        self.warn(file.map(File::shown), warnings);
        for notice in notices {
            tracing::info!("{notice}");
        }
    }

    fn warn(&self, file: Option<(&Path, &str)>, warnings: &[Diagnostic]) {
        if self.logs {
            for warning in warnings {
                tracing::warn!("{}", warning.message);
            }
            return;
        }
        if !warnings.is_empty() && !self.global.quiet && !self.global.json {
            let colour = self.console.stderr_colour();
            self.console
                .eprint(render::diagnostics(file, warnings, colour));
        }
    }
}

impl File {
    pub(crate) fn shown(&self) -> (&Path, &str) {
        (&self.path, &self.redacted)
    }
}

/// Why a run does not come to any account.
pub(crate) struct Refusal {
    problem: Box<Problem>,
    shown: Option<(PathBuf, String)>,
    diagnostics: Vec<Diagnostic>,
    mistakes: Vec<Mistake>,
}

impl Refusal {
    pub(crate) fn mistakes(file: Option<(&Path, &str)>, diagnostics: Vec<Diagnostic>) -> Self {
        let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).collect();
        let in_file = errors.iter().any(|diagnostic| diagnostic.span.is_some());
        let problem = match (file, &errors[..]) {
            (Some((path, _)), _) if in_file => {
                let mistakes = count(errors.len() as u64, "mistake");
                let path = path.display();
                Problem::say(
                    Class::Config,
                    format!("nothing was done: {mistakes} in {path}"),
                )
            }
            (_, [only]) => Problem::say(Class::Config, &*only.message).hint(only.help.clone()),
            _ => {
                let problems = count(errors.len() as u64, "problem");
                Problem::say(Class::Config, format!("nothing was done: {problems}"))
            }
        };
        Self {
            problem: Box::new(problem),
            shown: file.map(|(path, text)| (path.to_owned(), text.to_owned())),
            mistakes: render::mistakes(file, &diagnostics),
            diagnostics,
        }
    }

    /// For a person.
    pub(crate) fn text(&self, colour: bool) -> String {
        let summary = render::problem(None, &self.problem, colour);
        // A single problem that is not in the file needs no list above it.
        if self.diagnostics.is_empty()
            || matches!(&self.diagnostics[..], [only] if only.span.is_none())
        {
            return summary;
        }
        let shown = self
            .shown
            .as_ref()
            .map(|(path, text)| (path.as_path(), text.as_str()));
        format!(
            "{}\n\n{summary}",
            render::diagnostics(shown, &self.diagnostics, colour)
        )
    }

    /// For a machine.
    pub(crate) fn json(&self) -> Refused<'_> {
        Refused {
            account: None,
            ok: false,
            error: &self.problem,
            diagnostics: &self.mistakes,
            exit: self.problem.exit,
        }
    }

    /// What is wrong, one by one, if there is more to say than its message.
    pub(crate) fn details(&self) -> String {
        let shown = self
            .shown
            .as_ref()
            .map(|(path, text)| (path.as_path(), text.as_str()));
        render::diagnostics(shown, &self.diagnostics, false)
    }

    /// On one line.
    pub(crate) fn message(&self) -> &str {
        &self.problem.message
    }

    /// What it makes of the run.
    pub(crate) fn exit(&self) -> Exit {
        self.problem.exit
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self {
            problem: Box::new(problem),
            shown: None,
            diagnostics: Vec::new(),
            mistakes: Vec::new(),
        }
    }
}

impl From<ValueError> for Refusal {
    /// An account on the command line that is none; the text is left out, since it may hold a
    /// password.
    fn from(error: ValueError) -> Self {
        Problem::usage(error.message).hint(error.help).into()
    }
}

fn cannot_read(error: &LoadError) -> Problem {
    let hint = error.hint().or(match error {
        LoadError::Read { .. } => {
            Some("check the owner and mode of that path, or name another file with --config")
        }
        _ => None,
    });
    Problem::new(Class::Config, error).hint(hint.map(str::to_owned))
}

fn nothing_to_do(usual: Option<PathBuf>) -> Problem {
    let (message, file) = match usual {
        Some(path) => {
            let path = path.display();
            (
                format!("there is no configuration file {path}, and no mailbox was named"),
                format!("write {path}"),
            )
        }
        None => (
            "there is no mailbox named, and no HOME to look for a configuration file in".to_owned(),
            "write a file and name it with --config".to_owned(),
        ),
    };
    let hint = format!(
        "fetch without one:\n  \
           posthole fetch pop3://USER@localhost --via USER@SSHHOST --to maildir:~/Mail\n\
         or {file}:\n  \
           [account.work]\n  \
           server  = \"pop3://USER@localhost:110\"\n  \
           via     = \"USER@SSHHOST\"\n  \
           deliver = \"maildir:~/Mail\""
    );
    Problem::say(Class::Config, message).hint(Some(hint))
}
