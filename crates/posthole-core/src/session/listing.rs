//! The messages of a mailbox as the server lists them, packed tightly.
//!
//! A mailbox may hold a million messages, so nothing here is allocated per message: unique-ids
//! stand one behind the other in one buffer. The server's numbers may come in any order, twice, or
//! in one list only; what comes out is ordered by number, each once.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};

use hashbrown::{HashMap, HashTable};
use posthole_proto::pop3::{MessageNumber, UniqueId};

/// A message of the current session.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct MessageRef {
    /// Its place in the [`Listing`].
    pub(crate) idx: u32,
    /// Its number in this session.
    pub(crate) number: MessageNumber,
}

/// The messages of a mailbox in this session, in the order of their numbers.
#[derive(Debug)]
pub(crate) struct Listing {
    numbers: Vec<MessageNumber>,
    sizes: Vec<u64>,
    uids: Uids,
    index: Index,
    complete: bool,
}

impl Listing {
    /// How many messages there are.
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    /// [`Listing::len`] as the type of an index.
    pub(crate) fn len_u32(&self) -> u32 {
        // The builder refuses more messages than an index can count.
        u32::try_from(self.numbers.len()).unwrap_or(u32::MAX)
    }

    /// The message at an index.
    pub(crate) fn message(&self, idx: u32) -> MessageRef {
        MessageRef {
            idx,
            number: self.numbers[idx as usize],
        }
    }

    /// The message's octets as the server lists them: advice, zero when it did not say.
    pub(crate) fn size(&self, idx: u32) -> u64 {
        self.sizes[idx as usize]
    }

    /// The octets of all messages as the server lists them.
    pub(crate) fn total_size(&self) -> u64 {
        self.sizes
            .iter()
            .fold(0, |sum, &size| sum.saturating_add(size))
    }

    /// The message's unique-id; empty when the server gave none.
    pub(crate) fn uid(&self, idx: u32) -> &[u8] {
        self.uids.get(idx)
    }

    /// The message's unique-id as a person may read it.
    pub(crate) fn shown_uid(&self, idx: u32) -> String {
        UniqueId::new(self.uid(idx)).to_string()
    }

    /// The how-many-eth message with its unique-id this is, counted from zero.
    pub(crate) fn occurrence(&self, idx: u32) -> u32 {
        match &self.index {
            Index::Ascending => 0,
            Index::Hashed(index) => index.occurrences.get(&idx).copied().unwrap_or(0),
        }
    }

    /// How many messages have this message's unique-id; the first of them stands for all.
    pub(crate) fn namesakes(&self, idx: u32) -> (u32, u32) {
        match &self.index {
            Index::Ascending => (idx, 1),
            Index::Hashed(index) => {
                let first = index.first(&self.uids, self.uid(idx)).unwrap_or(idx);
                let further = index.counts.get(&first).copied().unwrap_or(0);
                (first, further + 1)
            }
        }
    }

    /// Finds a message by its unique-id.
    pub(crate) fn find(&self, uid: &[u8], occurrence: u32) -> Option<u32> {
        match &self.index {
            Index::Ascending if occurrence == 0 => self.uids.search(uid),
            Index::Ascending => None,
            Index::Hashed(index) => {
                let first = index.first(&self.uids, uid)?;
                match occurrence {
                    0 => Some(first),
                    _ => index.repeats.get(&(first, occurrence)).copied(),
                }
            }
        }
    }

    /// [`Listing::find`], looking at `guess` first.
    pub(crate) fn find_near(&self, guess: u32, uid: &[u8], occurrence: u32) -> Option<u32> {
        let is_it = guess < self.len_u32()
            && self.uid(guess) == uid
            && !uid.is_empty()
            && self.occurrence(guess) == occurrence;
        if is_it {
            Some(guess)
        } else {
            self.find(uid, occurrence)
        }
    }

    /// Whether a message that is not listed is not there, as far as the server can be believed.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Whether the server gave no message a unique-id.
    pub(crate) fn has_no_uids(&self) -> bool {
        self.uids.text.is_empty()
    }
}

/// Collects the lines of LIST and UIDL.
#[derive(Debug, Default)]
pub(crate) struct ListingBuilder {
    list_numbers: Vec<MessageNumber>,
    list_sizes: Vec<u64>,
    uid_numbers: Vec<MessageNumber>,
    uids: Uids,
    malformed: bool,
}

impl ListingBuilder {
    /// Takes a line of LIST.
    pub(crate) fn scan_listing(&mut self, number: MessageNumber, size: u64) -> Result<(), TooMany> {
        if self.list_numbers.len() >= MAX_MESSAGES {
            return Err(TooMany);
        }
        self.list_numbers.push(number);
        self.list_sizes.push(size);
        Ok(())
    }

    /// Takes a line of UIDL.
    pub(crate) fn unique_id_listing(
        &mut self,
        number: MessageNumber,
        uid: &[u8],
    ) -> Result<(), TooMany> {
        if self.uid_numbers.len() >= MAX_MESSAGES || self.uids.text.len() + uid.len() > MAX_UIDS {
            return Err(TooMany);
        }
        self.uid_numbers.push(number);
        self.uids.push(uid);
        Ok(())
    }

    /// Takes note that a line could not be read, or a whole list.
    pub(crate) fn malformed(&mut self) {
        self.malformed = true;
    }

    /// Puts both lists together.
    pub(crate) fn finish(self) -> Listing {
        let complete = !self.malformed;
        let ascending = |numbers: &[MessageNumber]| numbers.is_sorted_by(|a, b| a < b);
        let (numbers, sizes, uids) =
            if self.list_numbers == self.uid_numbers && ascending(&self.uid_numbers) {
                (self.uid_numbers, self.list_sizes, self.uids)
            } else {
                self.merge()
            };
        let index = Index::of(&uids);
        Listing {
            numbers,
            sizes,
            uids,
            index,
            complete,
        }
    }

    /// The long way, for a server whose lists are out of order or differ.
    fn merge(self) -> (Vec<MessageNumber>, Vec<u64>, Uids) {
        let by_number = |numbers: &[MessageNumber]| {
            let mut lines = (0u32..)
                .zip(numbers)
                .map(|(line, &n)| (n, line))
                .collect::<Vec<_>>();
            // The sort is stable, so of two lines about one message the first is kept.
            lines.sort_by_key(|&(number, _)| number);
            lines.dedup_by_key(|&mut (number, _)| number);
            lines
        };
        let scans = by_number(&self.list_numbers);
        let uids = by_number(&self.uid_numbers);
        let mut all = scans
            .iter()
            .chain(&uids)
            .map(|&(number, _)| number)
            .collect::<Vec<_>>();
        all.sort_unstable();
        all.dedup();

        let mut merged = (
            Vec::with_capacity(all.len()),
            Vec::with_capacity(all.len()),
            Uids::default(),
        );
        let (mut scans, mut uids) = (scans.into_iter().peekable(), uids.into_iter().peekable());
        for number in all {
            let scan = scans.next_if(|&(listed, _)| listed == number);
            let uid = uids.next_if(|&(listed, _)| listed == number);
            merged.0.push(number);
            merged
                .1
                .push(scan.map_or(0, |(_, line)| self.list_sizes[line as usize]));
            merged
                .2
                .push(uid.map_or(&[], |(_, line)| self.uids.get(line)));
        }
        merged
    }
}

/// A server lists more messages, or longer unique-ids, than we are ready to remember.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooMany;

/// Unique-ids, one behind the other.
#[derive(Debug, Default)]
struct Uids {
    text: Vec<u8>,
    ends: Vec<u32>,
}

impl Uids {
    fn push(&mut self, uid: &[u8]) {
        self.text.extend_from_slice(uid);
        // MAX_UIDS keeps the text below 4 GiB.
        self.ends
            .push(u32::try_from(self.text.len()).unwrap_or(u32::MAX));
    }

    fn get(&self, idx: u32) -> &[u8] {
        let idx = idx as usize;
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        &self.text[start as usize..self.ends[idx] as usize]
    }

    /// Whether each is greater than the one before it, and so none is empty or there twice.
    fn is_ascending(&self) -> bool {
        let mut last: &[u8] = &[];
        (0u32..).take(self.ends.len()).all(|idx| {
            let uid = self.get(idx);
            std::mem::replace(&mut last, uid) < uid
        })
    }

    /// Finds one among many that are ascending.
    fn search(&self, uid: &[u8]) -> Option<u32> {
        let mut found = 0..u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        while !found.is_empty() {
            let middle = found.start + (found.end - found.start) / 2;
            match self.get(middle).cmp(uid) {
                Ordering::Less => found.start = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => found.end = middle,
            }
        }
        None
    }
}

/// Finds messages by unique-id.
#[derive(Debug)]
enum Index {
    /// Not needed: they are ascending, as with the servers that make them of growing numbers.
    Ascending,
    /// They are in any order, or some messages share one, or have none.
    Hashed(HashedIndex),
}

impl Index {
    fn of(uids: &Uids) -> Self {
        if uids.is_ascending() {
            Self::Ascending
        } else {
            Self::Hashed(HashedIndex::of(uids))
        }
    }
}

/// Finds messages by the hash of their unique-ids. Messages without one are not in it.
#[derive(Debug)]
struct HashedIndex {
    hasher: RandomState,
    /// The first message with each unique-id.
    table: HashTable<u32>,
    /// The further ones, by the first and how many came before.
    repeats: HashMap<(u32, u32), u32>,
    /// How many came before each of the further ones.
    occurrences: HashMap<u32, u32>,
    /// How many further ones there are, by the first.
    counts: HashMap<u32, u32>,
}

impl HashedIndex {
    fn of(uids: &Uids) -> Self {
        let hasher = RandomState::new();
        let mut index = Self {
            table: HashTable::with_capacity(uids.ends.len()),
            repeats: HashMap::new(),
            occurrences: HashMap::new(),
            counts: HashMap::new(),
            hasher,
        };
        for idx in (0u32..).take(uids.ends.len()) {
            let uid = uids.get(idx);
            if uid.is_empty() {
                continue;
            }
            let hash = |&idx: &u32| index.hasher.hash_one(uids.get(idx));
            let entry = index.table.entry(
                index.hasher.hash_one(uid),
                |&first| uids.get(first) == uid,
                hash,
            );
            match entry {
                hashbrown::hash_table::Entry::Occupied(first) => {
                    let first = *first.get();
                    let count = index.counts.entry(first).or_insert(0);
                    *count += 1;
                    index.repeats.insert((first, *count), idx);
                    index.occurrences.insert(idx, *count);
                }
                hashbrown::hash_table::Entry::Vacant(slot) => {
                    slot.insert(idx);
                }
            }
        }
        index
    }

    fn first(&self, uids: &Uids, uid: &[u8]) -> Option<u32> {
        self.table
            .find(self.hasher.hash_one(uid), |&idx| uids.get(idx) == uid)
            .copied()
    }
}

/// Messages in a listing. At the worst, with lists in disorder, each takes about 60 octets besides
/// its unique-id until the lists are merged, and half of that afterwards.
pub(crate) const MAX_MESSAGES: usize = 4_000_000;

/// Octets of all unique-ids together. At the worst, with lists in disorder, they are held twice. A
/// million of the usual length take twenty million octets.
pub(crate) const MAX_UIDS: usize = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn number(n: u32) -> MessageNumber {
        MessageNumber::try_from(n).unwrap()
    }

    fn listing(scans: &[(u32, u64)], uids: &[(u32, &str)]) -> Listing {
        let mut builder = ListingBuilder::default();
        for &(n, size) in scans {
            builder.scan_listing(number(n), size).unwrap();
        }
        for &(n, uid) in uids {
            builder
                .unique_id_listing(number(n), uid.as_bytes())
                .unwrap();
        }
        builder.finish()
    }

    fn shown(listing: &Listing) -> Vec<(u32, u64, String)> {
        (0..listing.len_u32())
            .map(|idx| {
                let uid = String::from_utf8_lossy(listing.uid(idx)).into_owned();
                (listing.message(idx).number.get(), listing.size(idx), uid)
            })
            .collect()
    }

    #[test]
    fn lists_in_any_order_are_mapped_by_number() {
        let listing = listing(
            &[(3, 30), (1, 10), (2, 20)],
            &[(2, "b"), (3, "c"), (1, "a")],
        );
        let expected = [(1, 10, "a"), (2, 20, "b"), (3, 30, "c")];
        assert_eq!(
            shown(&listing),
            expected.map(|(n, size, uid)| (n, size, uid.to_owned()))
        );
    }

    #[test]
    fn a_message_listed_twice_is_one_message() {
        let listing = listing(
            &[(1, 10), (1, 11), (2, 20)],
            &[(1, "a"), (2, "b"), (2, "x")],
        );
        let expected = [(1, 10, "a"), (2, 20, "b")];
        assert_eq!(
            shown(&listing),
            expected.map(|(n, size, uid)| (n, size, uid.to_owned()))
        );
    }

    #[test]
    fn a_message_in_one_list_only_is_not_lost() {
        let listing = listing(&[(1, 10), (2, 20)], &[(2, "b"), (9, "z")]);
        let expected = [(1, 10, ""), (2, 20, "b"), (9, 0, "z")];
        assert_eq!(
            shown(&listing),
            expected.map(|(n, size, uid)| (n, size, uid.to_owned()))
        );
        assert_eq!(listing.find(b"", 0), None, "no unique-id is no identity");
    }

    #[test]
    fn messages_are_found_whatever_the_order_of_their_unique_ids() {
        let uids = ["", "1", "10", "11", "2", "x"];
        let ascending = [(1, "1"), (2, "10"), (3, "11"), (4, "2")];
        let mut descending = ascending;
        descending.reverse();
        for lines in [&ascending[..], &descending[..], &ascending[..1], &[][..]] {
            let listing = listing(&[], lines);
            for uid in uids {
                let listed = lines.iter().find(|&&(_, listed)| listed == uid);
                let expected = listed.map(|&(n, _)| n - 1);
                for guess in 0..5 {
                    let found = listing.find_near(guess, uid.as_bytes(), 0);
                    assert_eq!(found, expected, "{uid:?} near {guess} in {lines:?}");
                }
                assert_eq!(listing.find(uid.as_bytes(), 1), None);
            }
        }
    }

    #[test]
    fn an_empty_unique_id_is_never_found() {
        for lines in [&[(1, ""), (2, "b")][..], &[(1, "a"), (2, "")][..]] {
            let listing = listing(&[], lines);
            for guess in 0..2 {
                assert_eq!(listing.find_near(guess, b"", 0), None);
            }
        }
    }

    #[test]
    fn messages_with_the_same_unique_id_are_told_apart_by_their_order() {
        let listing = listing(&[], &[(1, "a"), (2, "b"), (3, "a"), (4, "a")]);
        let occurrences = (0..4)
            .map(|idx| listing.occurrence(idx))
            .collect::<Vec<_>>();
        assert_eq!(occurrences, [0, 0, 1, 2]);
        assert_eq!(listing.find(b"a", 0), Some(0));
        assert_eq!(listing.find(b"a", 1), Some(2));
        assert_eq!(listing.find(b"a", 2), Some(3));
        assert_eq!(listing.find(b"a", 3), None);
        assert_eq!(listing.find(b"b", 1), None);
        for guess in 0..4 {
            assert_eq!(listing.find_near(guess, b"a", 1), Some(2));
        }
        assert_eq!(
            [0, 1, 2, 3].map(|idx| listing.namesakes(idx)),
            [(0, 3), (1, 1), (0, 3), (0, 3)]
        );
    }

    #[test]
    fn unique_ids_have_an_end_together() {
        let mut builder = ListingBuilder::default();
        let uid = vec![b'x'; 1 << 20];
        for n in 1..=128 {
            assert!(builder.unique_id_listing(number(n), &uid).is_ok(), "{n}");
        }
        assert!(builder.unique_id_listing(number(129), b"x").is_err());
    }
}
