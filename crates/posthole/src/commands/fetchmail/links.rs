//! Which servers are not polled now, because of the network interface they are polled over.

use std::collections::{HashMap, HashSet};

use posthole_core::link::{self, Unfit};
use posthole_core::plan::Errand;

use crate::report::printable;

/// What the interfaces that are monitored had moved when we were done last.
#[derive(Default)]
pub(super) struct Links {
    moved: HashMap<String, u64>,
    /// Those that nobody else has used since.
    idle: HashSet<String>,
}

impl Links {
    /// Looks which interfaces nobody has used. Whoever woke us wants mail all the same.
    pub(super) fn look(&mut self, is_woken: bool) {
        self.idle.clear();
        if !is_woken {
            self.idle = idle(&self.moved, link::packets);
        }
    }

    /// Takes note of what was moved up to now: it was for us.
    pub(super) fn note<'a>(&mut self, errands: impl Iterator<Item = &'a Errand>) {
        self.moved.clear();
        for monitor in errands.filter_map(|errand| errand.monitor.as_ref()) {
            if let Some(packets) = link::packets(monitor) {
                self.moved.insert(monitor.clone(), packets);
            }
        }
    }

    /// Why an errand is not done now, if it is not.
    pub(super) fn objection(&self, errand: &Errand) -> Option<String> {
        let skipping = |why: String| {
            let entry = printable(&errand.who.entry);
            Some(format!("skipping poll of {entry}, {why}"))
        };
        if let Some(wanted) = &errand.interface {
            let name = printable(&wanted.to_string());
            match link::test(wanted) {
                Ok(Ok(())) => {}
                Ok(Err(Unfit::Down)) => return skipping(format!("{name} down")),
                Ok(Err(Unfit::Excluded)) => return skipping(format!("{name} IP address excluded")),
                Err(error) => return skipping(format!("nobody knows how {name} is: {error}")),
            }
        }
        match &errand.monitor {
            Some(monitor) if self.idle.contains(monitor) => {
                skipping(format!("{} inactive", printable(monitor)))
            }
            _ => None,
        }
    }
}

/// The interfaces that have hardly moved anything since.
fn idle(before: &HashMap<String, u64>, now: impl Fn(&str) -> Option<u64>) -> HashSet<String> {
    let is_idle = |interface: &str, before: u64| {
        // With fewer than before, it was made anew.
        let since = now(interface).and_then(|now| now.checked_sub(before));
        since.is_some_and(|packets| packets <= SLOP)
    };
    let idle = before
        .iter()
        .filter(|(interface, before)| is_idle(interface, **before));
    idle.map(|(interface, _)| interface.clone()).collect()
}

/// As many packets may be no more than the end of what we did ourselves.
const SLOP: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_idle_that_nobody_else_has_used() {
        let before = HashMap::from([("ppp0".to_owned(), 1000)]);
        let is_idle = |now| idle(&before, |_| now).contains("ppp0");
        assert!(is_idle(Some(1000)) && is_idle(Some(1000 + SLOP)));
        assert!(!is_idle(Some(1001 + SLOP)));
        assert!(!is_idle(Some(3)), "it is up anew");
        assert!(!is_idle(None), "it is down, and opened by who polls");
    }
}
