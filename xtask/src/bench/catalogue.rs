//! Every benchmark by its name.

use super::scenario::{SCENARIOS, Scenario};
use super::{Bench, accounts, arrival, calls, growth, kept, memory, opening, program};

/// One benchmark: what `--list` shows and a section of doc/benchmarks.md holds.
pub(super) struct Benchmark {
    /// As the command line calls it.
    pub(super) name: &'static str,
    /// What it is about, in a line.
    pub(super) title: &'static str,
    /// How it is done.
    pub(super) kind: Kind,
}

/// How a benchmark is done.
pub(super) enum Kind {
    /// By letting all contenders fetch a mailbox.
    Comparison(&'static Scenario),
    /// By a function that returns the section's text.
    Other(fn(&Bench) -> Result<String, String>),
}

/// All of them, in the order in which they run.
pub(super) fn all() -> Vec<Benchmark> {
    let comparisons = SCENARIOS.iter().map(|scenario| Benchmark {
        name: scenario.name,
        title: scenario.title,
        kind: Kind::Comparison(scenario),
    });
    let others = OTHERS.iter().map(|(name, title, run)| Benchmark {
        name,
        title,
        kind: Kind::Other(*run),
    });
    comparisons.chain(others).collect()
}

type Other = (
    &'static str,
    &'static str,
    fn(&Bench) -> Result<String, String>,
);

const OTHERS: &[Other] = &[
    (
        "calls",
        "System calls, syncs and round trips for 2 000 small",
        calls::calls,
    ),
    (
        "opening",
        "Where the time goes before the first message",
        opening::opening,
    ),
    (
        "nothing-new",
        "A poll of 20 000 kept messages with nothing new",
        kept::nothing_new,
    ),
    (
        "arrival",
        "From first contact to the first message on disk",
        arrival::arrival,
    ),
    (
        "accounts",
        "50 accounts on one host, 20 small messages each",
        accounts::fifty,
    ),
    (
        "memory",
        "Peak memory with a message of 1 GiB",
        memory::memory,
    ),
    ("program", "Size and start of the program", program::program),
    (
        "growth-kept",
        "1 000 to 1 000 000 kept messages with nothing new",
        growth::kept,
    ),
    (
        "growth-accounts",
        "1 to 100 accounts in one fetch",
        growth::accounts,
    ),
];
