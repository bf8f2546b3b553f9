//! Which messages to fetch and which to delete: listing, records and rules in, decisions out.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::plan::{Keep, KeptMail, Select};
use crate::record::{LONGEST_DELAY, SET_ASIDE_AFTER, taken_over, unwanted};
use crate::session::Listing;

/// Decides what to do with the messages of a listing.
pub(crate) fn decide(
    listing: &Listing,
    standings: &Standings,
    rules: Rules,
    now: SystemTime,
) -> Decisions {
    let Rules {
        keep,
        select,
        before,
    } = rules;
    let mut decisions = Decisions::default();
    let mut suspects = Vec::new();
    for idx in 0..listing.len_u32() {
        let is_too_large = select.limit.is_some_and(|limit| listing.size(idx) > limit);
        match standings.get(idx) {
            Seen::Delivered { .. } if select.flush => decisions.delete.push(idx),
            Seen::Delivered { kept, .. }
                if is_too_large && select.limit_flush && !select.spares(kept) =>
            {
                decisions.delete.push(idx);
            }
            Seen::Delivered { at, kept } if select.comes_again(keep, at, kept, before) => {
                if is_too_large {
                    decisions.too_large.push(idx);
                } else {
                    decisions.fetch.push(idx);
                }
            }
            Seen::Delivered { at, kept }
                if !select.spares(kept) && may_go(keep, listing, idx, at, now) =>
            {
                decisions.delete.push(idx);
            }
            Seen::Delivered { .. } => {}
            Seen::New | Seen::Failed { .. } if is_too_large => decisions.too_large.push(idx),
            Seen::New => decisions.fetch.push(idx),
            Seen::Failed { sessions, retry_at }
                // A clock that was ahead once is no reason to wait for years.
                if sessions >= SET_ASIDE_AFTER && retry_at > now && retry_at <= now + LONGEST_DELAY =>
            {
                decisions.set_aside.push(idx);
            }
            Seen::Failed { sessions, .. } => suspects.push((sessions, idx)),
        }
    }
    suspects.sort_unstable();
    decisions.suspects = suspects.into_iter().map(|(_, idx)| idx).collect();
    if let Some(most) = select.fetch_limit {
        let most = most as usize;
        decisions.fetch.truncate(most);
        decisions.suspects.truncate(most - decisions.fetch.len());
    }
    if select.limit_flush {
        decisions.discard = std::mem::take(&mut decisions.too_large);
    }
    decisions
}

/// What the account's owner says about fetching and keeping.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) keep: Keep,
    pub(crate) select: Select,
    /// When the poll began, in all sessions of it but the first: what was fetched since is not
    /// fetched again, whatever else is.
    pub(crate) before: Option<SystemTime>,
}

impl Select {
    /// Whether a message that was fetched at a time is fetched again.
    fn comes_again(
        &self,
        keep: Keep,
        fetched: SystemTime,
        kept: bool,
        before: Option<SystemTime>,
    ) -> bool {
        if kept && self.kept == KeptMail::ComesAgain {
            // By a poll that does not keep it, it counts as kept no more.
            if fetched == taken_over() || keep == Keep::Never {
                return true;
            }
        }
        let is_of_this_poll = || before.is_some_and(|poll| fetched >= to_the_minute(poll));
        self.fetch_all && (fetched == taken_over() || !is_of_this_poll())
    }

    /// Whether a message stays because it was kept when it was fetched.
    fn spares(&self, kept: bool) -> bool {
        kept && self.kept != KeptMail::AsKeepSays
    }
}

/// Whether a message of a listing that was fetched at a time may be deleted now.
pub(crate) fn may_go(
    keep: Keep,
    listing: &Listing,
    idx: u32,
    fetched: SystemTime,
    now: SystemTime,
) -> bool {
    // What another program has fetched and left there is left there.
    if fetched == taken_over() {
        return false;
    }
    // What nobody wants does not stay for anybody.
    if fetched == unwanted() {
        return true;
    }
    match keep {
        Keep::Always => false,
        Keep::Never => true,
        // By a clock that was not set, nobody knows how old it is.
        Keep::For(_) if fetched < UNIX_EPOCH + SET_CLOCKS => false,
        Keep::For(duration) => now.duration_since(fetched).is_ok_and(|age| age >= duration),
        Keep::Newest(count) => listing.len_u32() - idx > count,
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
    /// Too large to be fetched; to delete without being fetched.
    pub(crate) discard: Vec<u32>,
    /// Too large to be fetched; they stay.
    pub(crate) too_large: Vec<u32>,
    /// Failed too often to be tried again yet.
    pub(crate) set_aside: Vec<u32>,
}

impl Decisions {
    /// Leaves for another session whatever comes after so many deletions, and says whether that is
    /// anything. `goes` is whether a message is deleted once it is fetched.
    pub(crate) fn cut_after(&mut self, most: usize, goes: impl Fn(u32) -> bool) -> bool {
        let before = self.len();
        let mut room = most;
        for known in [&mut self.delete, &mut self.discard] {
            known.truncate(room);
            room -= known.len();
        }
        for new in [&mut self.fetch, &mut self.suspects] {
            let mut kept = new.len();
            for (place, &idx) in new.iter().enumerate() {
                if goes(idx) {
                    if room == 0 {
                        kept = place;
                        break;
                    }
                    room -= 1;
                }
            }
            new.truncate(kept);
        }
        self.len() < before
    }

    fn len(&self) -> usize {
        let Self {
            fetch,
            suspects,
            delete,
            discard,
            too_large: _,
            set_aside: _,
        } = self;
        fetch.len() + suspects.len() + delete.len() + discard.len()
    }
}

/// What the records say about a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Seen {
    /// It was delivered.
    Delivered {
        /// When.
        at: SystemTime,
        /// Whether it was to stay on the server at the time.
        kept: bool,
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
/// four octets each, in minutes since the epoch with a bit for what was kept, and the few others on
/// the side.
#[derive(Clone, Debug)]
pub(crate) struct Standings {
    delivered: Vec<u32>,
    failed: hashbrown::HashMap<u32, (u32, SystemTime)>,
    strangers: Option<Strangers>,
}

/// What is on record where the server calls no message by a name that is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strangers {
    /// How many messages were there at the last poll and are not now.
    pub(crate) recorded: usize,
    /// How many of them cannot be recognised by anything else.
    pub(crate) unmarked: usize,
}

impl Standings {
    /// Standings that say nothing about any of `len` messages.
    pub(crate) fn all_new(len: usize) -> Self {
        Self {
            delivered: vec![NOT_DELIVERED; len],
            failed: hashbrown::HashMap::new(),
            strangers: None,
        }
    }

    /// Notes what the records say; a delivery outweighs everything else.
    pub(crate) fn set(&mut self, idx: u32, seen: Seen) {
        match seen {
            Seen::Delivered { at, kept } => {
                // Only what was marked so is unwanted, and nothing for a clock that was not set.
                let minutes = match minutes(at) {
                    _ if at == unwanted() => UNWANTED,
                    minutes => minutes.max(UNWANTED + 1),
                };
                self.delivered[idx as usize] = minutes | if kept { KEPT } else { 0 };
            }
            Seen::Failed { sessions, retry_at } => {
                self.failed.insert(idx, (sessions, retry_at));
            }
            Seen::New => {}
        }
    }

    /// Notes that the server calls every message by a new name.
    pub(crate) fn set_strangers(&mut self, strangers: Strangers) {
        self.strangers = Some(strangers);
    }

    /// What is on record, if the server calls every message by a new name.
    pub(crate) fn strangers(&self) -> Option<Strangers> {
        self.strangers
    }

    /// What the records say about a message.
    pub(crate) fn get(&self, idx: u32) -> Seen {
        match self.delivered[idx as usize] {
            NOT_DELIVERED => match self.failed.get(&idx) {
                Some(&(sessions, retry_at)) => Seen::Failed { sessions, retry_at },
                None => Seen::New,
            },
            delivered => Seen::Delivered {
                at: UNIX_EPOCH + Duration::from_secs(u64::from(delivered & !KEPT) * 60),
                kept: delivered & KEPT != 0,
            },
        }
    }
}

/// Whole minutes since the epoch, which leave the highest bit free.
fn minutes(time: SystemTime) -> u32 {
    let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_epoch.as_secs() / 60).map_or(KEPT - 1, |minutes| minutes.min(KEPT - 1))
}

/// A time as exact as [`Standings`] have it.
fn to_the_minute(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::from(minutes(time)) * 60)
}

const NOT_DELIVERED: u32 = 0;
/// The minute of [`unwanted`].
const UNWANTED: u32 = 1;

/// The year 2020; a clock that shows an earlier time was not set since the machine started.
const SET_CLOCKS: Duration = Duration::from_secs(1_577_836_800);

/// Marks what was to stay on the server when it was delivered.
const KEPT: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ListingBuilder;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now() -> SystemTime {
        UNIX_EPOCH + 500_000 * HOUR
    }

    /// It was to be deleted at the time, and was not.
    fn known_since(at: SystemTime) -> Seen {
        Seen::Delivered { at, kept: false }
    }

    fn kept_since(at: SystemTime) -> Seen {
        Seen::Delivered { at, kept: true }
    }

    fn decide_for(keep: Keep, seen: &[Seen]) -> Decisions {
        let select = Select::default();
        decide_by(keep, select, seen)
    }

    /// Message `n`, counted from one, has `n` octets.
    fn decide_by(keep: Keep, select: Select, seen: &[Seen]) -> Decisions {
        let rules = Rules {
            keep,
            select,
            before: None,
        };
        let mut builder = ListingBuilder::default();
        let mut standings = Standings::all_new(seen.len());
        for (idx, seen) in (0u32..).zip(seen) {
            builder
                .scan_listing((idx + 1).try_into().unwrap(), u64::from(idx + 1))
                .unwrap();
            standings.set(idx, *seen);
        }
        decide(&builder.finish(), &standings, rules, now())
    }

    #[test]
    fn what_a_clock_that_was_not_set_saw_delivered_is_deleted_by_no_later_one() {
        for seconds in [0, 1, 59, 61, 100, 119, 120, 5_000] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds);
            for keep in [Keep::Always, Keep::For(HOUR)] {
                let decisions = decide_for(keep, &[known_since(at)]);
                assert_eq!(decisions, Decisions::default(), "{seconds} s, {keep:?}");
            }
        }
    }

    #[test]
    fn new_messages_are_fetched_and_known_ones_never_again() {
        let known = known_since(now() - HOUR);
        for keep in [Keep::Always, Keep::Never, Keep::For(HOUR)] {
            let decisions = decide_for(keep, &[Seen::New, known, Seen::New]);
            assert_eq!(decisions.fetch, [0, 2], "{keep:?}");
        }
    }

    #[test]
    fn what_another_program_has_fetched_is_left_there_unless_it_is_asked_for() {
        let adopted = kept_since(taken_over());
        let seen = [adopted, adopted, known_since(now() - HOUR)];
        let select = Select::default();
        for keep in [Keep::Always, Keep::Never, Keep::For(HOUR), Keep::Newest(0)] {
            let decisions = decide_by(keep, select, &seen);
            assert!(!decisions.delete.contains(&0), "{keep:?}");
            assert!(decisions.fetch.is_empty(), "{keep:?}");
        }
        let select = Select {
            kept: KeptMail::ComesAgain,
            ..select
        };
        let decisions = decide_by(Keep::Never, select, &seen);
        assert_eq!((decisions.fetch, decisions.delete), (vec![0, 1], vec![2]));
    }

    #[test]
    fn what_was_kept_on_purpose_is_not_deleted_when_keep_is_taken_out_of_an_rc_file() {
        let kept = kept_since(now() - HOUR);
        let unconfirmed = known_since(now() - HOUR);
        let seen = [kept, unconfirmed, Seen::New, known_since(unwanted())];
        let by = |select| {
            let decisions = decide_by(Keep::Never, select, &seen);
            (decisions.fetch, decisions.delete)
        };
        let select = |kept| Select {
            kept,
            ..Select::default()
        };
        assert_eq!(by(select(KeptMail::AsKeepSays)), (vec![2], vec![0, 1, 3]));
        assert_eq!(by(select(KeptMail::Stays)), (vec![2], vec![1, 3]));
        assert_eq!(by(select(KeptMail::ComesAgain)), (vec![0, 2], vec![1, 3]));
        let flushing = Select {
            flush: true,
            ..select(KeptMail::Stays)
        };
        assert_eq!(by(flushing), (vec![2], vec![0, 1, 3]));
        // Larger than the limit, each of them.
        let limited = |kept| Select {
            limit: Some(0),
            limit_flush: true,
            ..select(kept)
        };
        let decisions = decide_by(Keep::Never, limited(KeptMail::Stays), &seen);
        assert_eq!((decisions.delete, decisions.discard), (vec![1, 3], vec![2]));
        let decisions = decide_by(Keep::Never, limited(KeptMail::ComesAgain), &seen);
        assert_eq!(
            (decisions.delete, decisions.discard),
            (vec![1, 3], vec![0, 2])
        );
    }

    #[test]
    fn what_nobody_wants_goes_whatever_is_kept() {
        let seen = [known_since(unwanted())];
        for keep in [Keep::Always, Keep::For(HOUR), Keep::Newest(9)] {
            let decisions = decide_by(keep, Select::default(), &seen);
            assert_eq!(decisions.delete, [0], "{keep:?}");
        }
    }

    #[test]
    fn a_clock_that_was_ahead_sets_nothing_aside_for_ever() {
        let failed = |after| Seen::Failed {
            sessions: SET_ASIDE_AFTER,
            retry_at: now() + after,
        };
        let decisions = decide_for(Keep::Always, &[failed(HOUR), failed(9000 * HOUR)]);
        assert_eq!(
            (decisions.set_aside, decisions.suspects),
            (vec![0], vec![1])
        );
    }

    #[test]
    fn a_later_session_of_a_poll_fetches_nothing_of_it_again() {
        let poll = now() + Duration::from_secs(59);
        let select = Select {
            fetch_all: true,
            ..Select::default()
        };
        // Delivered in the minute in which the poll began, which records do not tell from it.
        assert!(!select.comes_again(Keep::Never, now(), false, Some(poll)));
        assert!(select.comes_again(Keep::Never, now() - HOUR, false, Some(poll)));
        assert!(select.comes_again(Keep::Never, now(), false, None));
    }

    #[test]
    fn known_messages_are_deleted_as_keep_says() {
        let seen = [known_since(now() - 2 * HOUR), known_since(now() - HOUR / 2)];
        let deleted = |keep| decide_for(keep, &seen).delete;
        assert!(deleted(Keep::Always).is_empty());
        assert_eq!(deleted(Keep::Never), [0, 1]);
        assert_eq!(deleted(Keep::For(HOUR)), [0]);
        let future = [known_since(now() + HOUR)];
        assert!(
            decide_for(Keep::For(HOUR), &future).delete.is_empty(),
            "the clock went back"
        );
    }

    #[test]
    fn the_newest_messages_are_kept_whether_or_not_they_were_fetched() {
        let known = known_since(now());
        let seen = [known, Seen::New, known, known, Seen::New];
        let deleted = |count| decide_for(Keep::Newest(count), &seen).delete;
        assert_eq!(deleted(0), [0, 2, 3]);
        assert_eq!(deleted(2), [0, 2]);
        assert_eq!(deleted(4), [0]);
        assert!(deleted(5).is_empty());
        assert!(deleted(u32::MAX).is_empty());
    }

    #[test]
    fn a_message_above_the_limit_stays_or_is_deleted_but_is_never_fetched() {
        let failed = Seen::Failed {
            sessions: 1,
            retry_at: now(),
        };
        let known = known_since(now());
        let seen = [Seen::New, Seen::New, Seen::New, failed, known];
        let decide = |limit_flush| {
            let select = Select {
                limit: Some(2),
                limit_flush,
                ..Select::default()
            };
            let keep = Keep::Always;
            decide_by(keep, select, &seen)
        };
        assert_eq!(decide(false).fetch, [0, 1]);
        assert!(decide(false).suspects.is_empty());
        assert_eq!(decide(false).too_large, [2, 3]);
        assert!(decide(false).discard.is_empty());
        assert!(decide(false).delete.is_empty());
        assert_eq!(decide(true).fetch, [0, 1]);
        assert_eq!(decide(true).discard, [2, 3]);
        assert_eq!(
            decide(true).delete,
            [4],
            "it may be there only because its deletion was never confirmed"
        );
        assert!(decide(true).too_large.is_empty());
    }

    #[test]
    fn a_limited_poll_fetches_the_oldest_and_those_that_failed_last() {
        let failed = Seen::Failed {
            sessions: 1,
            retry_at: now(),
        };
        let seen = [failed, Seen::New, failed, Seen::New];
        let fetched = |most| {
            let select = Select {
                fetch_limit: Some(most),
                ..Select::default()
            };
            let keep = Keep::Always;
            let decisions = decide_by(keep, select, &seen);
            (decisions.fetch, decisions.suspects)
        };
        assert_eq!(fetched(1), (vec![1], vec![]));
        assert_eq!(fetched(3), (vec![1, 3], vec![0]));
        assert_eq!(fetched(9), (vec![1, 3], vec![0, 2]));
    }

    #[test]
    fn what_was_fetched_before_is_flushed_or_fetched_again() {
        let (old, new) = (now() - HOUR, now() + HOUR);
        let seen = [old, new].map(known_since);
        let seen = [seen[0], Seen::New, seen[1]];
        let flush = Select {
            flush: true,
            fetch_all: true,
            ..Select::default()
        };
        for keep in [Keep::Always, Keep::Never] {
            let decisions = decide_by(keep, flush, &seen);
            assert_eq!((decisions.delete, decisions.fetch), (vec![0, 2], vec![1]));
            let all = Select {
                flush: false,
                ..flush
            };
            let decisions = decide_by(keep, all, &seen);
            assert_eq!((decisions.delete, decisions.fetch), (vec![], vec![0, 1, 2]));
            let limited = Select {
                limit: Some(1),
                ..all
            };
            let decisions = decide_by(keep, limited, &seen);
            assert_eq!(
                (decisions.fetch, decisions.too_large),
                (vec![0], vec![1, 2])
            );
        }
    }

    #[test]
    fn what_this_poll_has_fetched_is_not_fetched_again() {
        let mut builder = ListingBuilder::default();
        let mut standings = Standings::all_new(3);
        for (idx, at) in (0u32..).zip([now() - HOUR, now() + HOUR, now() + HOUR]) {
            builder
                .scan_listing((idx + 1).try_into().unwrap(), 1)
                .unwrap();
            standings.set(idx, known_since(at));
        }
        let select = Select {
            fetch_all: true,
            ..Select::default()
        };
        let rules = |keep| Rules {
            keep,
            select,
            before: Some(now()),
        };
        let listing = builder.finish();
        let kept = decide(&listing, &standings, rules(Keep::Always), now());
        assert_eq!((kept.fetch, kept.delete), (vec![0], vec![]));
        let gone = decide(&listing, &standings, rules(Keep::Newest(1)), now());
        assert_eq!((gone.fetch, gone.delete), (vec![0], vec![1]));
    }

    #[test]
    fn a_session_is_cut_after_so_many_deletions() {
        let all = || Decisions {
            delete: vec![0, 1],
            discard: vec![2],
            fetch: vec![3, 4, 5, 6],
            suspects: vec![7],
            ..Decisions::default()
        };
        // Even ones go at once.
        let cut = |most| {
            let mut decisions = all();
            let is_cut = decisions.cut_after(most, |idx| idx % 2 == 0);
            let Decisions {
                fetch,
                suspects,
                delete,
                discard,
                ..
            } = decisions;
            (is_cut, [delete, discard, fetch, suspects].concat())
        };
        assert_eq!(cut(1), (true, vec![0, 3, 7]));
        assert_eq!(cut(3), (true, vec![0, 1, 2, 3, 7]));
        assert_eq!(cut(4), (true, vec![0, 1, 2, 3, 4, 5, 7]));
        assert_eq!(cut(5), (false, vec![0, 1, 2, 3, 4, 5, 6, 7]));
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
        standings.set(0, known_since(now()));
        standings.set(
            0,
            Seen::Failed {
                sessions: 9,
                retry_at: now(),
            },
        );
        assert_eq!(standings.get(0), known_since(now()));
    }
}
