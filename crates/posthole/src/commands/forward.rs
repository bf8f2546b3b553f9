//! `posthole forward`: servers behind SSH hosts, for other mail programs, until it is told to stop.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use listenfd::ListenFd;
use posthole_core::ask::Ask;
use posthole_core::error::Class;
use posthole_core::forward::{
    self, ClientEvent, Context, ForwardError, Forwarder, Handle, Limits, Passed, revoke_token,
};
use posthole_core::openssh::Ssh;
use posthole_core::plan::{self, ConfigFile, Environment, Forward, Forwards, ListenOn, Wish};
use posthole_core::progress::{Event, Observer};
use posthole_core::secret::Remember;
use secrecy::ExposeSecret;
use tokio::task::JoinSet;

use super::Run;
use super::plan::{File, Refusal};
use crate::args::{ForwardArgs, ForwardCommand, TokenArgs};
use crate::console::Console;
use crate::exit::Exit;
use crate::progress::Progress;
use crate::render;
use crate::report::{ForwardEnded, ForwardEvent, Forwarding, NewToken, Problem, json};

/// Takes all places, then serves them; or makes a token for one.
pub(crate) async fn forward(run: &Run, args: &ForwardArgs) -> Result<Exit, Refusal> {
    let environment = run.environment()?;
    let state_dir = run.state_dir(&environment)?;
    if let Some(ForwardCommand::Token(token)) = &args.command {
        return make_token(run, args, token, &environment, &state_dir);
    }
    let plan = resolve(run, args, &args.wish()?, &environment)?;
    run.remark(plan.file.as_ref(), &plan.forwards.remarks);

    let ask: Arc<dyn Ask> = Arc::new(Remember::new(run.prompt()));
    let observer: Arc<dyn Observer> = Arc::new(Watch {
        progress: Progress::new(Arc::clone(&run.console), !run.global.quiet),
        console: Arc::clone(&run.console),
        json: run.global.json,
        quiet: run.global.quiet,
    });
    let passed = passed_sockets()?;
    if let Some(text) = unwanted(&passed, &plan.forwards.forwards) {
        return Err(Problem::say(Class::Config, text).into());
    }
    let cx = Context {
        ask,
        observer,
        trust_stores: Arc::default(),
        state_dir,
        passed: Arc::new(passed),
        limits: Limits::default(),
    };
    let mut forwarders = Vec::new();
    for forward in plan.forwards.forwards {
        let bound = Forwarder::bind(Arc::clone(&forward), &cx).await;
        let forwarder = bound.map_err(|error| problem(&forward.name, &error))?;
        forwarders.push((forward, forwarder));
    }

    let mut serving = JoinSet::new();
    let mut handles = Vec::new();
    for (forward, forwarder) in forwarders {
        run.show_forwarding(&Forwarding::new(&forward, forwarder.places()));
        handles.push(forwarder.handle());
        serving.spawn(forwarder.run(run.stop.clone()));
    }
    let mut exit = Exit::Success;
    while let Some(ended) = serving.join_next().await {
        if ended.is_err() {
            exit = Exit::Software;
        }
    }
    for handle in &handles {
        run.show_end(handle);
    }
    Ok(exit)
}

/// Makes a token, or makes the one there is void.
fn make_token(
    run: &Run,
    args: &ForwardArgs,
    TokenArgs { name, revoke }: &TokenArgs,
    environment: &Environment,
    state_dir: &Path,
) -> Result<Exit, Refusal> {
    let wish = Wish::Named {
        names: vec![name.clone()],
        idle: None,
        allow_any: false,
    };
    let plan = resolve(run, args, &wish, environment)?.forwards;
    let has_login = |forward: &Arc<Forward>| forward.account().is_some();
    if !plan.forwards.iter().any(has_login) {
        let hint = format!(
            "write login = \"local-token\" and account = \"NAME\" into [forward.{name}], in the \
             place of `via` and `to`"
        );
        let message = format!("the forward `{name}` takes no token: it passes logins through");
        return Err(Problem::say(Class::Config, message).hint(Some(hint)).into());
    }
    if *revoke {
        let had_one = revoke_token(state_dir, name).map_err(|error| problem(name, &error))?;
        if !run.global.quiet && !run.global.json {
            run.console.print(match had_one {
                true => format!("{name}: the token is void"),
                false => format!("{name}: there was no token"),
            });
        }
        return Ok(Exit::Success);
    }
    let token = forward::make_token(state_dir, name).map_err(|error| problem(name, &error))?;
    // This is the one time it is shown.
    let token = token.expose_secret();
    run.console.print(if run.global.json {
        json(&NewToken {
            forward: name,
            token,
        })
    } else {
        token.to_owned()
    });
    Ok(Exit::Success)
}

/// What is to be served, and the file that says so.
struct Resolved {
    file: Option<File>,
    forwards: Forwards,
}

fn resolve(
    run: &Run,
    args: &ForwardArgs,
    wish: &Wish,
    environment: &Environment,
) -> Result<Resolved, Refusal> {
    let file = run.config_file(environment)?;
    let written = file.as_ref().map(|file| ConfigFile {
        path: &file.path,
        config: &file.config,
    });
    let (overrides, openssh) = (args.overrides(), Ssh::new());
    let resolved = plan::resolve_forwards(written, wish, &overrides, environment, &openssh);
    let forwards =
        resolved.map_err(|problems| Refusal::mistakes(file.as_ref().map(File::shown), problems))?;
    Ok(Resolved { file, forwards })
}

/// Says which forward it is about.
fn problem(name: &str, error: &ForwardError) -> Problem {
    let mut problem = Problem::new(error.class(), error).hint(error.hint());
    problem.message = format!("{name}: {}", problem.message);
    problem
}

/// The sockets that systemd passed, with their names.
pub(super) fn passed_sockets() -> Result<Vec<(String, Passed)>, Problem> {
    let mut sockets = ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    (0..sockets.len())
        .map(|number| {
            let name = names.next().unwrap_or_default().to_owned();
            let socket = take(&mut sockets, number).map_err(|error| {
                let hint = "pass listening stream sockets: ListenStream= in a .socket unit";
                Problem::new(Class::Config, &PassedError(number, error)).hint(Some(hint.to_owned()))
            })?;
            Ok((name, socket))
        })
        .collect()
}

/// What to say of sockets that were passed while no forward listens on any.
pub(super) fn unwanted(passed: &[(String, Passed)], forwards: &[Arc<Forward>]) -> Option<String> {
    let is_for_one = |forward: &Arc<Forward>| matches!(forward.listen, ListenOn::Systemd(_));
    if passed.is_empty() || forwards.iter().any(is_for_one) {
        return None;
    }
    Some(
        "sockets were passed to this process, and no forward listens on them: write `systemd` \
         where a forward says on what it listens"
            .to_owned(),
    )
}

fn take(sockets: &mut ListenFd, number: usize) -> std::io::Result<Passed> {
    let nothing = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let tcp: std::io::Result<Option<TcpListener>> = sockets.take_tcp_listener(number);
    if let Ok(tcp) = tcp {
        return tcp.map(Passed::Tcp).ok_or_else(nothing);
    }
    let unix: Option<UnixListener> = sockets.take_unix_listener(number)?;
    unix.map(Passed::Unix).ok_or_else(nothing)
}

#[derive(Debug, thiserror::Error)]
#[error("socket number {} that was passed to this process cannot be used", .0 + 1)]
struct PassedError(usize, #[source] std::io::Error);

impl Run {
    fn show_forwarding(&self, forwarding: &Forwarding) {
        if self.global.json {
            self.console.print(json(forwarding));
        } else if !self.global.quiet {
            self.console.print(render::forwarding(forwarding));
        }
    }

    fn show_end(&self, handle: &Handle) {
        let ended = ForwardEnded::new(handle.name(), handle.status());
        if self.global.json {
            self.console.print(json(&ended));
        } else if !self.global.quiet {
            self.console.print(render::forward_ended(&ended));
        }
    }
}

/// Shows what happens to clients.
struct Watch {
    progress: Progress,
    console: Arc<Console>,
    json: bool,
    quiet: bool,
}

impl Observer for Watch {
    fn event(&self, name: &str, event: &Event) {
        let Event::Client(event) = event else {
            return self.progress.event(name, event);
        };
        let colour = self.console.stderr_colour();
        let notice = match event {
            ClientEvent::Opened => {
                tracing::info!("{name}: a client is connected");
                None
            }
            ClientEvent::Closed { received, sent } => {
                tracing::info!(
                    "{name}: a client has ended: {received} octets to it, {sent} from it"
                );
                None
            }
            ClientEvent::Failed(error) => {
                let problem = Problem::from(&**error);
                if self.json {
                    self.console
                        .print(json(&ForwardEvent::failed(name, problem)));
                } else {
                    self.console
                        .eprint(render::problem(Some(name), &problem, colour));
                }
                return;
            }
            ClientEvent::Cut { reason } => Some(("cut", format!("a client was cut off: {reason}"))),
            ClientEvent::Refused { reason } => Some(("refused", format!("not let in: {reason}"))),
            ClientEvent::NotAccepted { reason } => Some((
                "not-accepted",
                format!("a client could not be accepted: {reason}"),
            )),
            _ => None,
        };
        match notice {
            Some((event, text)) if self.json => {
                self.console
                    .print(json(&ForwardEvent::told(name, event, text)));
            }
            // Somebody who is not let in is worth a word even so.
            Some((event, text)) if !self.quiet || event == "refused" => {
                self.console.eprint(render::notice(name, &text, colour));
            }
            _ => {}
        }
    }
}
