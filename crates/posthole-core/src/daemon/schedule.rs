//! When which account is polled.
//!
//! Pure: the time and the chance are given, and nothing here waits. Each account has an interval
//! of its own, with some jitter, so that a thousand accounts do not march in step. One in trouble
//! backs off alone, and how depends on what the trouble is ([`Trouble`]): what heals by itself is
//! tried again soon, what needs a person rarely or not at all. Of those that are due, the longest
//! overdue comes first; nobody waits behind an account whose host has enough to do.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// The accounts and when they are due.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    accounts: HashMap<Arc<str>, Account>,
    /// Those that wait for their time, and in which order those came in that have the same.
    queue: BTreeSet<(Instant, u64, Arc<str>)>,
    counter: u64,
    running: usize,
    running_at: HashMap<Arc<str>, usize>,
}

/// How much is done at a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Limits {
    /// Accounts.
    pub(super) jobs: usize,
    /// Accounts at one host.
    pub(super) per_host: usize,
}

/// Why a poll did not go well, as far as it matters for the next one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trouble {
    /// The server or the network, or this machine: it may be over soon.
    Temporary,
    /// Somebody else has the mailbox, or the server wants more time between logins.
    Busy,
    /// Nothing that heals quickly: the configuration, a host key, a certificate.
    Permanent,
    /// The login was refused. Servers lock accounts over this.
    Authentication,
    /// A password or a passphrase is wanted that nobody has typed in.
    Unanswered,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ended {
    /// It went well.
    Well,
    /// It did not.
    Badly(Trouble),
    /// It was told to stop, or it was given up for what was not its fault.
    Interrupted,
}

/// What an account is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    /// Its turn comes at this time, or came, and others are before it.
    Waiting(Instant),
    /// It is being polled.
    Polling,
    /// It is not polled until somebody has done something about it.
    Stuck(Trouble),
}

#[derive(Debug)]
struct Account {
    every: Duration,
    host: Arc<str>,
    state: State,
    /// Its number in the queue.
    ticket: u64,
    /// Polls that failed in a row.
    failures: u32,
    /// Whether a poll went well since the account was last changed.
    has_worked: bool,
    /// Before this the server does not want to see it.
    not_before: Option<Instant>,
    /// It is to be polled again right after this poll.
    again: bool,
}

impl Schedule {
    /// No accounts.
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            accounts: HashMap::new(),
            queue: BTreeSet::new(),
            counter: 0,
            running: 0,
            running_at: HashMap::new(),
        }
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Adds an account, which is due at once, or changes it: then it is due at once too, or after
    /// the poll that is going on, and its troubles are forgotten.
    pub(super) fn put(&mut self, name: &Arc<str>, every: Duration, host: &str, now: Instant) {
        let host: Arc<str> = host.into();
        if let Some(account) = self.accounts.get_mut(name) {
            account.every = every;
            account.failures = 0;
            account.has_worked = false;
            account.not_before = None;
            if account.state == State::Polling {
                let before = std::mem::replace(&mut account.host, Arc::clone(&host));
                account.again = true;
                self.leave(&before);
                *self.running_at.entry(host).or_default() += 1;
                return;
            }
            account.host = host;
        } else {
            let account = Account {
                every,
                host,
                state: State::Stuck(Trouble::Temporary),
                ticket: 0,
                failures: 0,
                has_worked: false,
                not_before: None,
                again: false,
            };
            self.accounts.insert(Arc::clone(name), account);
        }
        self.enqueue(name, now);
    }

    /// Forgets an account.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(account) = self.accounts.remove(name) else {
            return;
        };
        match account.state {
            State::Waiting(due) => {
                let found = self.queue.iter().find(|(at, ticket, queued)| {
                    *at == due && *ticket == account.ticket && **queued == *name
                });
                if let Some(entry) = found.cloned() {
                    self.queue.remove(&entry);
                }
            }
            State::Polling => {
                self.running -= 1;
                self.leave(&account.host);
            }
            State::Stuck(_) => {}
        }
    }

    /// The next account whose turn it is; it counts as being polled from now on.
    pub(super) fn start_next(&mut self, now: Instant) -> Option<Arc<str>> {
        if self.running >= self.limits.jobs {
            return None;
        }
        let (accounts, running_at) = (&self.accounts, &self.running_at);
        let has_room = |name: &Arc<str>| {
            let at_host = accounts
                .get(name)
                .and_then(|account| running_at.get(&account.host));
            at_host.is_none_or(|count| *count < self.limits.per_host)
        };
        let due = self.queue.iter().take_while(|(due, ..)| *due <= now);
        let entry = due
            .map(|entry| (entry, has_room(&entry.2)))
            .find(|(_, has_room)| *has_room)?
            .0
            .clone();
        self.queue.remove(&entry);
        let name = entry.2;
        let account = self.accounts.get_mut(&name)?;
        account.state = State::Polling;
        account.again = false;
        self.running += 1;
        *self
            .running_at
            .entry(Arc::clone(&account.host))
            .or_default() += 1;
        Some(name)
    }

    /// Takes note of the end of a poll. `delay` is the time that the server wants between logins
    /// (LOGIN-DELAY, RFC 2449 §6.5); `chance` is any number.
    pub(super) fn ended(
        &mut self,
        name: &Arc<str>,
        ended: Ended,
        delay: Option<Duration>,
        now: Instant,
        chance: u64,
    ) {
        let Some(account) = self.accounts.get_mut(name) else {
            return;
        };
        if account.state != State::Polling {
            return;
        }
        let host = Arc::clone(&account.host);
        account.not_before = delay.map(|delay| now + delay);
        let pause = match ended {
            Ended::Well => {
                account.failures = 0;
                account.has_worked = true;
                Some(jittered(account.every, chance))
            }
            Ended::Interrupted => Some(Duration::ZERO),
            Ended::Badly(trouble) => {
                account.failures = account.failures.saturating_add(1);
                account
                    .pause(trouble)
                    .map(|pause| longer_by_chance(pause, chance))
            }
        };
        if let Ended::Badly(Trouble::Busy) = ended {
            // Not even somebody who is in a hurry helps here.
            let least = now + BUSY_AT_LEAST;
            account.not_before = Some(account.not_before.map_or(least, |at| at.max(least)));
        }
        let again = std::mem::take(&mut account.again);
        let due = match (pause, ended) {
            _ if again => Some(now),
            (Some(pause), _) => Some(now + pause),
            (None, _) => None,
        };
        let due = due.map(|due| account.not_before.map_or(due, |least| due.max(least)));
        self.running -= 1;
        self.leave(&host);
        match (due, ended) {
            (Some(due), _) => self.enqueue(name, due),
            (None, Ended::Badly(trouble)) => self.set(name, State::Stuck(trouble)),
            (None, _) => self.enqueue(name, now),
        }
    }

    /// Has all accounts polled now, except those that a person has to do something about.
    pub(super) fn wake_all(&mut self, now: Instant) {
        let names: Vec<_> = self.accounts.keys().cloned().collect();
        for name in names {
            if !matches!(self.state(&name), Some(State::Stuck(_))) {
                self.hurry(&name, now);
            }
        }
    }

    /// Has one account polled now, whatever was wrong with it; false if there is none of this name.
    pub(super) fn wake(&mut self, name: &str, now: Instant) -> bool {
        let Some((name, _)) = self.accounts.get_key_value(name) else {
            return false;
        };
        let name = Arc::clone(name);
        self.hurry(&name, now);
        true
    }

    fn hurry(&mut self, name: &Arc<str>, now: Instant) {
        let Some(account) = self.accounts.get_mut(name) else {
            return;
        };
        let earliest = account.not_before.map_or(now, |least| least.max(now));
        match account.state {
            State::Polling => account.again = true,
            State::Waiting(due) if due <= earliest => {}
            State::Waiting(due) => {
                let ticket = account.ticket;
                self.queue.remove(&(due, ticket, Arc::clone(name)));
                self.enqueue(name, earliest);
            }
            State::Stuck(_) => self.enqueue(name, earliest),
        }
    }

    /// When something is to be done next, unless a poll ends before.
    ///
    /// None if nobody waits for a time, or if those who are due wait for others to end.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        if self.running >= self.limits.jobs {
            return None;
        }
        // Those that are due already have not been started because their host has no room.
        self.queue
            .iter()
            .map(|(due, ..)| *due)
            .find(|due| *due > now)
    }

    pub(super) fn state(&self, name: &str) -> Option<State> {
        Some(self.accounts.get(name)?.state)
    }

    /// How many accounts are being polled.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    fn enqueue(&mut self, name: &Arc<str>, due: Instant) {
        let ticket = self.counter;
        let Some(account) = self.accounts.get_mut(name) else {
            return;
        };
        if let State::Waiting(before) = account.state {
            self.queue
                .remove(&(before, account.ticket, Arc::clone(name)));
        }
        account.state = State::Waiting(due);
        account.ticket = ticket;
        self.counter += 1;
        self.queue.insert((due, ticket, Arc::clone(name)));
    }

    fn set(&mut self, name: &str, state: State) {
        if let Some(account) = self.accounts.get_mut(name) {
            account.state = state;
        }
    }

    fn leave(&mut self, host: &str) {
        if let Some(count) = self.running_at.get_mut(host) {
            *count -= 1;
            if *count == 0 {
                self.running_at.remove(host);
            }
        }
    }
}

impl Account {
    /// How long to wait after this many failures; none is until somebody has done something.
    fn pause(&self, trouble: Trouble) -> Option<Duration> {
        match trouble {
            Trouble::Temporary => Some(doubled(
                TEMPORARY_FIRST.min(self.every),
                self.failures,
                TEMPORARY_LONGEST.max(self.every),
            )),
            Trouble::Busy => Some(self.every.max(BUSY_AT_LEAST)),
            Trouble::Permanent => {
                Some(doubled(PERMANENT_FIRST, self.failures, PERMANENT_LONGEST).max(self.every))
            }
            // What a server has accepted before it may have refused for a trouble of its own; once
            // more, and late, is not what locks an account.
            Trouble::Authentication if self.has_worked && self.failures == 1 => {
                Some(self.every.max(SECOND_CHANCE))
            }
            Trouble::Authentication | Trouble::Unanswered => None,
        }
    }
}

fn doubled(first: Duration, failures: u32, longest: Duration) -> Duration {
    let factor = 1_u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(longest)
}

/// Up to a tenth shorter or longer.
fn jittered(pause: Duration, chance: u64) -> Duration {
    longer_by_chance(pause - pause / 10, chance) + pause / 20
}

/// Up to a tenth longer: a server that asked for more time must not get less.
fn longer_by_chance(pause: Duration, chance: u64) -> Duration {
    let share = u32::try_from(chance % 1024).unwrap_or(0);
    pause + pause / 10 * share / 1024
}

const TEMPORARY_FIRST: Duration = Duration::from_secs(30);
const TEMPORARY_LONGEST: Duration = Duration::from_secs(15 * 60);
const PERMANENT_FIRST: Duration = Duration::from_secs(10 * 60);
const PERMANENT_LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
const SECOND_CHANCE: Duration = Duration::from_secs(10 * 60);
/// Many servers free a mailbox only some time after a connection to it was lost.
const BUSY_AT_LEAST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    struct World {
        schedule: Schedule,
        now: Instant,
    }

    impl World {
        fn new(jobs: usize, per_host: usize) -> Self {
            Self {
                schedule: Schedule::new(Limits { jobs, per_host }),
                now: Instant::now(),
            }
        }

        fn add(&mut self, name: &str, host: &str) -> Arc<str> {
            let name = Arc::from(name);
            self.schedule.put(&name, 5 * MINUTE, host, self.now);
            name
        }

        fn start(&mut self) -> Vec<String> {
            let mut started = Vec::new();
            while let Some(name) = self.schedule.start_next(self.now) {
                started.push(name.to_string());
            }
            started
        }

        fn end(&mut self, name: &Arc<str>, ended: Ended) {
            self.schedule.ended(name, ended, None, self.now, 512);
        }

        /// The pause after each of these ends in a row.
        fn pauses(&mut self, name: &Arc<str>, ends: &[Ended]) -> Vec<Option<Duration>> {
            let pause = |ended: &Ended| {
                assert_eq!(self.start(), [name.to_string()]);
                self.end(name, *ended);
                let due = self.schedule.next_due(self.now)?;
                let pause = due - self.now;
                self.now = due;
                Some(pause)
            };
            ends.iter().map(pause).collect()
        }
    }

    fn minutes(pauses: &[Option<Duration>]) -> Vec<f64> {
        let minutes = |pause: &Option<Duration>| pause.map_or(-1.0, |p| p.as_secs_f64() / 60.0);
        pauses.iter().map(minutes).collect()
    }

    #[test]
    fn an_account_is_polled_at_its_interval_give_or_take_a_tenth() {
        for chance in [0, 1, 511, 1023, u64::MAX] {
            let pause = jittered(10 * MINUTE, chance);
            assert!(pause >= 9 * MINUTE && pause <= 11 * MINUTE, "{pause:?}");
        }
        assert_ne!(jittered(MINUTE, 0), jittered(MINUTE, 1023));
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        let pauses = world.pauses(&work, &[Ended::Well, Ended::Well]);
        let allowed = 4.5..=5.5;
        assert!(minutes(&pauses).iter().all(|pause| allowed.contains(pause)));
    }

    #[test]
    fn temporary_trouble_is_tried_again_soon_and_then_ever_less_often() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        let pauses = world.pauses(&work, &[Ended::Badly(Trouble::Temporary); 8]);
        let pauses = minutes(&pauses);
        for (pause, expected) in pauses.iter().zip([0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]) {
            assert!(
                (expected..expected * 1.1 + 0.01).contains(pause),
                "{pauses:?}"
            );
        }
        let after = world.pauses(&work, &[Ended::Well, Ended::Badly(Trouble::Temporary)]);
        assert!(minutes(&after)[1] < 0.6, "a success forgets the failures");
    }

    #[test]
    fn a_refused_login_is_not_hammered() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        let refused = Ended::Badly(Trouble::Authentication);
        assert_eq!(world.pauses(&work, &[refused]), [None]);
        let stuck = Some(State::Stuck(Trouble::Authentication));
        assert_eq!(world.schedule.state("work"), stuck);
        // A hook that wakes everybody is no reason to try it again; a person who names it is.
        world.schedule.wake_all(world.now);
        world.now += 1000 * MINUTE;
        assert!(world.start().is_empty());
        assert!(world.schedule.wake("work", world.now));
        // It works; then the server refuses what it took before: once more, later, and no more.
        let pauses = world.pauses(&work, &[Ended::Well, refused, refused]);
        let pauses = minutes(&pauses);
        assert!(pauses[1] >= 10.0 && pauses[2] < 0.0, "{pauses:?}");
    }

    #[test]
    fn a_changed_account_is_due_at_once() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        world.pauses(&work, &[Ended::Badly(Trouble::Authentication)]);
        world.add("work", "b");
        assert_eq!(world.start(), ["work"]);
        // While it is polled: afterwards.
        world.add("work", "c");
        assert!(world.start().is_empty());
        world.end(&work, Ended::Badly(Trouble::Authentication));
        assert_eq!(world.start(), ["work"]);
        world.end(&work, Ended::Well);
        assert!(world.schedule.running_at.is_empty());
    }

    #[test]
    fn what_is_permanent_is_looked_at_rarely() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        let pauses = world.pauses(&work, &[Ended::Badly(Trouble::Permanent); 9]);
        let pauses = minutes(&pauses);
        assert!(pauses[0] >= 10.0 && pauses[8] >= 360.0 && pauses[8] <= 400.0);
    }

    #[test]
    fn a_server_gets_the_time_it_wants_between_logins() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        assert_eq!(world.start(), ["work"]);
        let delay = Some(30 * MINUTE);
        world
            .schedule
            .ended(&work, Ended::Well, delay, world.now, 0);
        world.schedule.wake("work", world.now);
        world.now += 29 * MINUTE;
        assert!(world.start().is_empty());
        world.now += MINUTE;
        assert_eq!(world.start(), ["work"]);
        // Nor is a mailbox that somebody else has open asked for at once.
        world.end(&work, Ended::Badly(Trouble::Busy));
        world.schedule.wake_all(world.now);
        assert!(world.start().is_empty());
        world.now += MINUTE;
        assert_eq!(world.start(), ["work"]);
    }

    #[test]
    fn a_host_that_has_enough_to_do_keeps_nobody_else_waiting() {
        let mut world = World::new(3, 2);
        let names: Vec<_> = (0..4).map(|n| world.add(&format!("a{n}"), "a")).collect();
        world.add("b", "b");
        world.add("c", "c");
        assert_eq!(world.start(), ["a0", "a1", "b"]);
        assert_eq!(world.schedule.next_due(world.now), None);
        world.end(&names[0], Ended::Well);
        assert_eq!(world.start(), ["a2"]);
        world.schedule.remove("b");
        assert_eq!(world.start(), ["c"]);
        world.schedule.remove("a1");
        world.schedule.remove("a2");
        assert_eq!(world.start(), ["a3"]);
    }

    #[test]
    fn an_account_that_is_removed_is_gone() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        world.add("home", "a");
        world.schedule.remove("work");
        assert_eq!(world.start(), ["home"]);
        world.end(&work, Ended::Well);
        world.schedule.remove("home");
        world.now += 100 * MINUTE;
        assert!(world.start().is_empty() && !world.schedule.wake("work", world.now));
        assert_eq!(world.schedule.running(), 0);
    }

    #[test]
    fn who_is_woken_while_polled_is_polled_again() {
        let mut world = World::new(16, 8);
        let work = world.add("work", "a");
        world.start();
        world.schedule.wake_all(world.now);
        world.end(&work, Ended::Well);
        assert_eq!(world.start(), ["work"]);
    }
}
