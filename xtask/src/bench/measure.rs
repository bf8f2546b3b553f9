//! Running one attempt against the clock.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Runs a program to its end and says how long it took, from before its start until it was gone.
///
/// Its output goes to files in the directory `fresh`, and into the error if it fails.
pub(super) fn time(command: &mut Command, fresh: &Path) -> Result<Duration, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let output = fresh.join("output");
    let failed = |what: &str, error: std::io::Error| format!("cannot {what} {name}: {error}");
    let file = File::create(&output).map_err(|error| failed("catch the output of", error))?;
    let errors = file
        .try_clone()
        .map_err(|error| failed("catch the errors of", error))?;
    command.stdin(Stdio::null()).stdout(file).stderr(errors);

    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| failed("run", error))?;
    let status = {
        let _watch = Watch::over(child.id());
        child.wait().map_err(|error| failed("wait for", error))?
    };
    let took = start.elapsed();
    if status.success() {
        return Ok(took);
    }
    let output = output_of(fresh);
    Err(format!("{name} failed after {took:.1?}, {status}\n{output}"))
}

/// The last of what the program said that ran in this directory.
pub(super) fn output_of(fresh: &Path) -> String {
    let output = fs::read(fresh.join("output")).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let lines: Vec<_> = output.trim().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// Ends a program that takes far too long, as long as this is not dropped.
struct Watch {
    done: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn over(pid: u32) -> Self {
        let (done, waiting) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
        });
        Self {
            done: Some(done),
            thread: Some(thread),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Longer than any contender may take.
const PATIENCE: Duration = Duration::from_secs(240);
