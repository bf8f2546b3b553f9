//! `posthole unlock`: a person gives the daemon what it waits for.
//!
//! The daemon is asked for its questions, the person for the answers, until there are no more. A
//! question is passed over if its answer is empty or refused to be given, and is then not put again.

use std::sync::Arc;

use posthole_core::ask::{Ask, SecretQuestion, Unanswered};
use posthole_core::daemon::control::{Client, Reply, Request};
use posthole_core::error::Class;
use secrecy::ExposeSecret;

use super::Run;
use super::control::{refused, unreachable};
use super::plan::Refusal;
use crate::exit::Exit;
use crate::report::Problem;

pub(crate) fn unlock(run: &Run) -> Result<Exit, Refusal> {
    let mut client = run.daemon()?;
    // Whoever sits here may have an agent that the daemon does not know of yet.
    if let Some(agent) = run.environment()?.agent() {
        let agent = Some(agent);
        let reply = client
            .ask(&Request::Reload { agent })
            .map_err(unreachable)?;
        if let Reply::Failed { .. } = reply {
            run.eprint_problem(None, &refused(reply));
        }
    }
    let prompt: Arc<dyn Ask> = run.prompt();
    let Answered { given, passed_over } = dialog(&mut client, &*prompt)?;
    if !run.global.quiet {
        run.console.print(match (given, passed_over) {
            (0, 0) => "nothing is waited for".to_owned(),
            (given, 0) => format!("{given} given"),
            (given, passed_over) => format!("{given} given, {passed_over} still waited for"),
        });
    }
    Ok(if passed_over > 0 {
        Exit::NoPerm
    } else {
        Exit::Success
    })
}

/// What came of it.
pub(super) struct Answered {
    pub(super) given: usize,
    pub(super) passed_over: usize,
}

/// Asks until nothing is left to ask.
pub(super) fn dialog(client: &mut Client, ask: &dyn Ask) -> Result<Answered, Problem> {
    let mut passed_over: Vec<SecretQuestion> = Vec::new();
    let mut given = 0;
    loop {
        let reply = client
            .ask(&Request::Questions { wait: true })
            .map_err(unreachable)?;
        let Reply::Questions { questions } = reply else {
            return Err(refused(reply));
        };
        let next = questions
            .into_iter()
            .find(|question| !passed_over.contains(question));
        let Some(question) = next else {
            break;
        };
        match ask.secret(&question) {
            Ok(answer) if answer.expose_secret().is_empty() => passed_over.push(question),
            Ok(answer) => {
                let answer = Request::Answer { question, answer };
                let reply = client.ask(&answer).map_err(unreachable)?;
                if let Reply::Failed { .. } = reply {
                    return Err(refused(reply));
                }
                given += 1;
            }
            Err(Unanswered::NoTerminal) => return Err(nobody_to_ask()),
            Err(_) => passed_over.push(question),
        }
    }
    let passed_over = passed_over.len();
    Ok(Answered { given, passed_over })
}

fn nobody_to_ask() -> Problem {
    let message =
        "the daemon waits for passwords or passphrases, and there is no terminal to ask on";
    let hint = "run `posthole unlock` in a terminal, or set SSH_ASKPASS";
    Problem::say(Class::Authentication, message).hint(Some(hint.to_owned()))
}
