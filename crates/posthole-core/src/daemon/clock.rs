//! Noticing that the machine slept, or that its clock was set.
//!
//! A connection that was open before a machine was suspended is mostly dead after, and neither end
//! says so. Three things give a sleep away: the clock that goes on in it (CLOCK_BOOTTIME, Linux)
//! runs away from the one that does not; the time of day does the same where there is no such clock,
//! and after a virtual machine was stopped; and a tick comes far too late, if the program itself was
//! stopped.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// All clocks, read together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reading {
    /// The clock that stands still while the machine sleeps.
    pub awake: Duration,
    /// The clock that does not, where there is one.
    pub boot: Option<Duration>,
    /// The time of day.
    pub wall: SystemTime,
}

impl Reading {
    /// The clocks of this machine.
    #[must_use]
    pub fn take() -> Self {
        use rustix::time::{ClockId, clock_gettime};
        let read = |clock| {
            let time = clock_gettime(clock);
            let seconds = Duration::from_secs(time.tv_sec.try_into().unwrap_or(0));
            seconds + Duration::from_nanos(time.tv_nsec.try_into().unwrap_or(0))
        };
        Self {
            awake: read(ClockId::Monotonic),
            #[cfg(target_os = "linux")]
            boot: Some(read(ClockId::Boottime)),
            #[cfg(not(target_os = "linux"))]
            boot: None,
            wall: SystemTime::now(),
        }
    }

    /// Says whether something happened to the time between two readings, the second of which
    /// should have been taken `expected` after the first.
    pub(super) fn jump_until(&self, later: &Self, expected: Duration) -> Option<Jump> {
        let awake = later.awake.saturating_sub(self.awake);
        if let (Some(before), Some(after)) = (self.boot, later.boot) {
            let slept = after.saturating_sub(before).saturating_sub(awake);
            if slept >= SLEEP {
                return Some(Jump::Slept(slept));
            }
        }
        if awake >= expected + LATE {
            return Some(Jump::Stopped(awake - expected));
        }
        let (before, after) = (since_epoch(self.wall), since_epoch(later.wall));
        let forward = after.saturating_sub(before).saturating_sub(awake);
        let back = before.saturating_add(awake).saturating_sub(after);
        if forward >= SET {
            return Some(Jump::Set(forward));
        }
        (back >= SET).then_some(Jump::SetBack(back))
    }
}

/// What happened to the time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Jump {
    /// The machine slept.
    Slept(Duration),
    /// This program did not run.
    Stopped(Duration),
    /// The time of day went forward.
    Set(Duration),
    /// The time of day went back.
    SetBack(Duration),
}

impl std::fmt::Display for Jump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        match *self {
            Self::Slept(slept) => write!(f, "the machine slept for {}", time(slept)),
            Self::Stopped(stopped) => write!(f, "this program stood still for {}", time(stopped)),
            Self::Set(by) => write!(f, "the clock was set forward by {}", time(by)),
            Self::SetBack(by) => write!(f, "the clock was set back by {}", time(by)),
        }
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Shorter sleeps harm no connection.
const SLEEP: Duration = Duration::from_secs(5);
/// A busy machine is not one that slept.
const LATE: Duration = Duration::from_secs(30);
/// Clocks that are corrected in small steps are left alone.
const SET: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_secs(5);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(awake: u64, boot: Option<u64>, wall: u64) -> Reading {
        Reading {
            awake: seconds(awake),
            boot: boot.map(seconds),
            wall: UNIX_EPOCH + seconds(wall),
        }
    }

    #[test]
    fn each_way_to_lose_time_is_noticed() {
        let start = at(100, Some(500), 1_000_000);
        let table = [
            (at(105, Some(505), 1_000_005), None),
            // Late, as on a busy machine; a clock that was corrected.
            (at(125, Some(525), 1_000_025), None),
            (at(105, Some(505), 1_000_035), None),
            (
                at(105, Some(4105), 1_003_605),
                Some(Jump::Slept(seconds(3600))),
            ),
            (
                at(205, Some(605), 1_000_105),
                Some(Jump::Stopped(seconds(100))),
            ),
            (
                at(105, Some(505), 1_007_205),
                Some(Jump::Set(seconds(7200))),
            ),
            (
                at(105, Some(505), 992_805),
                Some(Jump::SetBack(seconds(7200))),
            ),
        ];
        for (later, jump) in table {
            assert_eq!(start.jump_until(&later, TICK), jump, "{later:?}");
        }
        // Without a clock that goes on, the time of day tells.
        let (before, after) = (at(1, None, 1000), at(6, None, 5000));
        assert_eq!(
            before.jump_until(&after, TICK),
            Some(Jump::Set(seconds(3995)))
        );
    }

    #[test]
    fn this_machine_has_clocks() {
        let (first, second) = (Reading::take(), Reading::take());
        assert!(second.awake >= first.awake);
        assert_eq!(first.jump_until(&second, Duration::ZERO), None);
    }
}
