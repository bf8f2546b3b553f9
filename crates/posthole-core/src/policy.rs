//! Which messages to fetch and which to delete: listing, records and rules in, decisions out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::plan::Keep;
use crate::record::SET_ASIDE_AFTER;
use crate::session::Listing;

/// Decides what to do with the messages of a listing.
pub(crate) fn decide(
    listing: &Listing,
    standings: &Standings,
    keep: Keep,
    now: SystemTime,
) -> Decisions {
    let mut decisions = Decisions::default();
    let mut suspects = Vec::new();
    for idx in 0..listing.len_u32() {
        match standings.get(idx) {
            Seen::New => decisions.fetch.push(idx),
            Seen::Delivered { at } if may_go(keep, at, now) => decisions.delete.push(idx),
            Seen::Delivered { .. } => {}
            Seen::Failed { sessions, retry_at }
                if sessions >= SET_ASIDE_AFTER && retry_at > now =>
            {
                decisions.set_aside.push(idx);
            }
            Seen::Failed { sessions, .. } => suspects.push((sessions, idx)),
        }
    }
    suspects.sort_unstable();
    decisions.suspects = suspects.into_iter().map(|(_, idx)| idx).collect();
    decisions
}

/// Whether a message that was fetched at a time may be deleted now.
pub(crate) fn may_go(keep: Keep, fetched: SystemTime, now: SystemTime) -> bool {
    match keep {
        Keep::Always => false,
        Keep::Never => true,
        Keep::For(duration) => now.duration_since(fetched).is_ok_and(|age| age >= duration),
    }
}

/// What to do, as indices into the listing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Decisions {
    /// To fetch, in this order.
    pub(crate) fetch: Vec<u32>,
    /// To fetch after all others and one by one, since they failed before; those that failed most
    /// at the very end.
    pub(crate) suspects: Vec<u32>,
    /// Fetched before; to delete now.
    pub(crate) delete: Vec<u32>,
    /// Failed too often to be tried again yet.
    pub(crate) set_aside: Vec<u32>,
}

/// What the records say about a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    /// It was delivered.
    Delivered {
        /// When.
        at: SystemTime,
    },
    /// It could not be fetched.
    Failed {
        /// In how many sessions.
        sessions: u32,
        /// Not to be tried before, once it failed often.
        retry_at: SystemTime,
    },
    /// Nothing.
    New,
}

/// What the records say about every message of a listing.
///
/// Kept small, since a mailbox may hold a million messages and nearly all of them are delivered:
/// four octets each, in minutes since the epoch, and the few others on the side.
#[derive(Clone, Debug)]
pub(crate) struct Standings {
    minutes: Vec<u32>,
    failed: hashbrown::HashMap<u32, (u32, SystemTime)>,
}

impl Standings {
    /// Standings that say nothing about any of `len` messages.
    pub(crate) fn all_new(len: usize) -> Self {
        Self {
            minutes: vec![NOT_DELIVERED; len],
            failed: hashbrown::HashMap::new(),
        }
    }

    /// Notes what the records say; a delivery outweighs everything else.
    pub(crate) fn set(&mut self, idx: u32, seen: Seen) {
        match seen {
            Seen::Delivered { at } => {
                let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
                let minutes = u32::try_from(since_epoch.as_secs() / 60).unwrap_or(u32::MAX);
                self.minutes[idx as usize] = minutes.max(NOT_DELIVERED + 1);
            }
            Seen::Failed { sessions, retry_at } => {
                self.failed.insert(idx, (sessions, retry_at));
            }
            Seen::New => {}
        }
    }

    /// What the records say about a message.
    pub(crate) fn get(&self, idx: u32) -> Seen {
        match self.minutes[idx as usize] {
            NOT_DELIVERED => match self.failed.get(&idx) {
                Some(&(sessions, retry_at)) => Seen::Failed { sessions, retry_at },
                None => Seen::New,
            },
            minutes => Seen::Delivered {
                at: UNIX_EPOCH + Duration::from_secs(u64::from(minutes) * 60),
            },
        }
    }
}

const NOT_DELIVERED: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ListingBuilder;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> SystemTime {
        UNIX_EPOCH + 500_000 * HOUR
    }

    fn decide_for(keep: Keep, seen: &[Seen]) -> Decisions {
        let mut builder = ListingBuilder::default();
        let mut standings = Standings::all_new(seen.len());
        for (idx, seen) in (0u32..).zip(seen) {
            builder
                .scan_listing((idx + 1).try_into().unwrap(), 1)
                .unwrap();
            standings.set(idx, *seen);
        }
        decide(&builder.finish(), &standings, keep, now())
    }

    #[test]
    fn new_messages_are_fetched_and_known_ones_never_again() {
        let known = Seen::Delivered { at: now() - HOUR };
        for keep in [Keep::Always, Keep::Never, Keep::For(HOUR)] {
            let decisions = decide_for(keep, &[Seen::New, known, Seen::New]);
            assert_eq!(decisions.fetch, [0, 2], "{keep:?}");
        }
    }

    #[test]
    fn known_messages_are_deleted_as_keep_says() {
        let seen = [
            Seen::Delivered {
                at: now() - 2 * HOUR,
            },
            Seen::Delivered {
                at: now() - HOUR / 2,
            },
        ];
        let deleted = |keep| decide_for(keep, &seen).delete;
        assert!(deleted(Keep::Always).is_empty());
        assert_eq!(deleted(Keep::Never), [0, 1]);
        assert_eq!(deleted(Keep::For(HOUR)), [0]);
        let future = [Seen::Delivered { at: now() + HOUR }];
        assert!(
            decide_for(Keep::For(HOUR), &future).delete.is_empty(),
            "the clock went back"
        );
    }

    #[test]
    fn messages_that_failed_come_last_and_are_set_aside_when_they_failed_often() {
        let failed = |sessions, retry_at| Seen::Failed { sessions, retry_at };
        let decisions = decide_for(
            Keep::Always,
            &[
                failed(2, now()),
                failed(1, now()),
                Seen::New,
                failed(SET_ASIDE_AFTER, now() + HOUR),
                failed(SET_ASIDE_AFTER, now()),
            ],
        );
        assert_eq!(decisions.fetch, [2]);
        assert_eq!(decisions.suspects, [1, 0, 4]);
        assert_eq!(decisions.set_aside, [3]);
    }

    #[test]
    fn a_delivery_outweighs_a_failure() {
        let mut standings = Standings::all_new(1);
        standings.set(0, Seen::Delivered { at: now() });
        standings.set(
            0,
            Seen::Failed {
                sessions: 9,
                retry_at: now(),
            },
        );
        assert_eq!(standings.get(0), Seen::Delivered { at: now() });
    }
}
