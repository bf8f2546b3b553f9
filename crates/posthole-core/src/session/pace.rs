//! The least that a server must send to be waited for.
//!
//! A limit on silence alone would let an octet every half minute hold up a poll for ever.

use std::time::Duration;

/// How fast answers come, over the time that was spent waiting for them.
#[derive(Debug, Default)]
pub(super) struct Pace {
    waited: Duration,
    octets: u64,
    in_flight: usize,
}

impl Pace {
    /// Takes note of a wait, of what it brought, and of how many commands are unanswered.
    ///
    /// What is returned is too little in too much time. A command that was answered is progress,
    /// however short the answer.
    pub(super) fn note(
        &mut self,
        waited: Duration,
        octets: usize,
        in_flight: usize,
        timeout: Duration,
    ) -> Option<(u64, Duration)> {
        if in_flight < self.in_flight {
            *self = Self::default();
        }
        self.in_flight = in_flight;
        self.waited += waited;
        self.octets += octets as u64;
        if self.waited < timeout.saturating_mul(PERIOD) {
            return None;
        }
        let Self { waited, octets, .. } = *self;
        *self = Self {
            in_flight,
            ..Self::default()
        };
        let least = waited.as_millis() * LEAST / 1000;
        (u128::from(octets) < least).then_some((octets, waited))
    }
}

/// Over how many time limits the pace is measured.
pub(crate) const PERIOD: u32 = 4;

/// Octets a second: a tenth of what the slowest mobile connections bring.
pub(crate) const LEAST: u128 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// So many octets at a time, each after 30 seconds, with a time limit of a minute.
    fn drip(octets: usize, in_flight: impl Fn(u32) -> usize) -> Option<u32> {
        let mut pace = Pace::default();
        (0..100).find(|&n| {
            let note = pace.note(30 * SECOND, octets, in_flight(n), 60 * SECOND);
            note.is_some()
        })
    }

    #[test]
    fn an_octet_every_half_minute_ends_after_four_minutes() {
        assert_eq!(drip(1, |_| 1), Some(7));
        assert_eq!(drip(30 * 31, |_| 1), Some(7));
        assert_eq!(drip(30 * 32, |_| 1), None);
    }

    #[test]
    fn a_server_that_answers_slowly_but_answers_is_waited_for() {
        assert_eq!(drip(20, |n| 200 - n as usize), None);
    }
}
