//! A wheel of coarse deadlines. Pure: ticks are arguments, it knows no clock and no socket. The reactor turns it.
//!
//! Think of a clock face with one list of deadlines a tick. A connection that keeps moving its deadline later (each request does) only
//! writes a number: its entry stays in the old list, and when the hand gets there the entry is carried on to the list of the new time.
//! So the usual case costs one store, and an entry is moved at most once per turn of the time-out it stands for.
//!
//! Entries are nodes of one slab, linked by index: 32 bytes a deadline, no allocation of its own, unlinked in O(1).

#![expect(
    clippy::indexing_slicing,
    reason = "indices come from `insert` or are taken modulo the number of lists"
)]

use std::task::Waker;

/// Lists on the face. With ticks of 100 ms a turn takes 102 s, so the usual time-outs (up to 90 s) are carried at most once.
const LISTS: u32 = 1024;
const WORDS: usize = LISTS as usize / 64;
/// No node, no tick: the end of a list, or a deadline that is not armed or not linked.
const NONE: u32 = u32::MAX;

/// Deadlines of one shard, by [`Wheel::insert`]'s index.
pub(super) struct Wheel {
    nodes: Vec<Node>,
    free: Vec<u32>,
    heads: Vec<u32>,
    /// One bit a list that has entries.
    occupied: [u64; WORDS],
    /// All lists up to this tick have been emptied.
    hand: u32,
    /// Never later than the first occupied list; earlier only after an unlink.
    next: u32,
    linked: u32,
}

struct Node {
    /// The tick from which on the deadline has passed.
    due: u32,
    /// The tick whose list holds this node. Invariant: at most one turn of the face ahead of the hand, never later than a `due` that was
    /// set after linking.
    list: u32,
    previous: u32,
    following: u32,
    waker: Option<Waker>,
}

impl Wheel {
    pub(super) fn new() -> Self {
        Wheel {
            nodes: Vec::new(),
            free: Vec::new(),
            heads: Vec::new(),
            occupied: [0; WORDS],
            hand: 0,
            next: NONE,
            linked: 0,
        }
    }

    /// A new deadline, not armed.
    pub(super) fn insert(&mut self) -> u32 {
        let node = Node { due: NONE, list: NONE, previous: NONE, following: NONE, waker: None };
        if let Some(index) = self.free.pop() {
            self.nodes[index as usize] = node;
            return index;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// Gives the deadline back. Its waker is returned so that the caller drops it outside of any borrow.
    pub(super) fn remove(&mut self, index: u32) -> Option<Waker> {
        self.unlink(index);
        self.free.push(index);
        self.nodes[index as usize].waker.take()
    }

    /// The deadline passes at tick `due`.
    pub(super) fn arm(&mut self, index: u32, due: u32) {
        let due = due.min(NONE - 1);
        let node = &mut self.nodes[index as usize];
        node.due = due;
        if node.list == NONE || due < node.list {
            self.unlink(index);
            self.link(index);
        }
    }

    /// The deadline never passes. Its entry goes away when the hand gets to it.
    pub(super) fn disarm(&mut self, index: u32) {
        self.nodes[index as usize].due = NONE;
    }

    pub(super) fn is_due(&self, index: u32, tick: u32) -> bool {
        let due = self.nodes[index as usize].due;
        due != NONE && due <= tick
    }

    /// Who is woken when the deadline passes. Returns the waker that was replaced, to be dropped outside of any borrow.
    pub(super) fn register(&mut self, index: u32, waker: &Waker) -> Option<Waker> {
        let node = &mut self.nodes[index as usize];
        if node.waker.as_ref().is_some_and(|w| w.will_wake(waker)) {
            return None;
        }
        node.waker.replace(waker.clone())
    }

    /// A tick at which the wheel wants to be turned; none while it is empty.
    pub(super) fn next_tick(&self) -> Option<u32> {
        (self.linked > 0).then_some(self.next)
    }

    /// Moves the hand to `tick` and returns the next waker whose deadline has passed. To be called until it returns nothing.
    pub(super) fn expire(&mut self, tick: u32) -> Option<Waker> {
        while self.linked > 0 && self.next <= tick {
            let list = self.next;
            let index = self.heads[(list % LISTS) as usize];
            if index == NONE {
                self.hand = self.hand.max(list);
                self.next = self.first_occupied();
                continue;
            }
            // The list is emptied before the hand moves on, so that what is carried on lands beyond it.
            self.unlink(index);
            self.hand = self.hand.max(list);
            if self.is_due(index, tick) {
                if let Some(waker) = self.nodes[index as usize].waker.take() {
                    return Some(waker);
                }
            } else if self.nodes[index as usize].due != NONE {
                self.link(index);
            }
        }
        self.hand = self.hand.max(tick);
        None
    }

    fn link(&mut self, index: u32) {
        if self.heads.is_empty() {
            self.heads = vec![NONE; LISTS as usize];
        }
        let due = self.nodes[index as usize].due;
        let list = due.clamp(self.hand.saturating_add(1), self.hand.saturating_add(LISTS - 1));
        let place = (list % LISTS) as usize;
        let head = std::mem::replace(&mut self.heads[place], index);
        if head != NONE {
            self.nodes[head as usize].previous = index;
        }
        let node = &mut self.nodes[index as usize];
        (node.list, node.previous, node.following) = (list, NONE, head);
        self.occupied[place / 64] |= 1 << (place % 64);
        self.next = if self.linked == 0 { list } else { self.next.min(list) };
        self.linked += 1;
    }

    fn unlink(&mut self, index: u32) {
        let node = &mut self.nodes[index as usize];
        if node.list == NONE {
            return;
        }
        let place = (node.list % LISTS) as usize;
        let (previous, following) = (node.previous, node.following);
        (node.list, node.previous, node.following) = (NONE, NONE, NONE);
        if following != NONE {
            self.nodes[following as usize].previous = previous;
        }
        if previous != NONE {
            self.nodes[previous as usize].following = following;
        } else {
            self.heads[place] = following;
            if following == NONE {
                self.occupied[place / 64] &= !(1 << (place % 64));
            }
        }
        self.linked -= 1;
    }

    /// The first tick after the hand whose list has entries.
    fn first_occupied(&self) -> u32 {
        let start = self.hand.wrapping_add(1) % LISTS;
        // The word of `start` is looked at twice: above the bit first, below it at the very end.
        for step in 0..=WORDS {
            let word = (start as usize / 64 + step) % WORDS;
            let mut bits = self.occupied[word];
            match step {
                0 => bits &= u64::MAX << (start % 64),
                WORDS => bits &= !(u64::MAX << (start % 64)),
                _ => {}
            }
            if bits != 0 {
                let place = word as u32 * 64 + bits.trailing_zeros();
                let ahead = (place + LISTS - start) % LISTS;
                return self.hand.saturating_add(1).saturating_add(ahead);
            }
        }
        NONE
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn turn(wheel: &mut Wheel, tick: u32) -> usize {
        let mut woken = 0;
        while let Some(waker) = wheel.expire(tick) {
            waker.wake();
            woken += 1;
        }
        woken
    }

    #[test]
    fn a_node_stays_small() {
        assert_eq!(size_of::<Node>(), 32);
    }

    #[test]
    fn a_wheel_without_deadlines_asks_for_nothing_and_owns_nothing() {
        let mut wheel = Wheel::new();
        let a = wheel.insert();
        assert_eq!(wheel.next_tick(), None);
        assert!(!wheel.is_due(a, u32::MAX));
        assert_eq!(wheel.heads.capacity(), 0);
    }

    #[test]
    fn a_deadline_wakes_at_its_tick_and_not_before() {
        let mut wheel = Wheel::new();
        let a = wheel.insert();
        let count = Arc::new(Count::default());
        wheel.register(a, &count.clone().into());
        wheel.arm(a, 7);
        assert_eq!(wheel.next_tick(), Some(7));
        assert_eq!((turn(&mut wheel, 6), wheel.is_due(a, 6)), (0, false));
        assert_eq!((turn(&mut wheel, 7), wheel.is_due(a, 7)), (1, true));
        assert_eq!(wheel.next_tick(), None);
    }

    #[test]
    fn moving_a_deadline_later_leaves_its_entry_where_it_is() {
        let mut wheel = Wheel::new();
        let a = wheel.insert();
        wheel.register(a, &Arc::new(Count::default()).into());
        wheel.arm(a, 10);
        for later in 11..500 {
            wheel.arm(a, later);
            assert_eq!(wheel.next_tick(), Some(10));
        }
        assert_eq!(turn(&mut wheel, 498), 0);
        assert_eq!(wheel.next_tick(), Some(499));
        assert_eq!(turn(&mut wheel, 499), 1);
    }

    #[test]
    fn moving_a_deadline_earlier_moves_its_entry() {
        let mut wheel = Wheel::new();
        let a = wheel.insert();
        wheel.register(a, &Arc::new(Count::default()).into());
        wheel.arm(a, 900);
        wheel.arm(a, 3);
        assert_eq!(turn(&mut wheel, 3), 1);
    }

    #[test]
    fn a_disarmed_or_removed_deadline_never_wakes() {
        let mut wheel = Wheel::new();
        let (a, b) = (wheel.insert(), wheel.insert());
        for index in [a, b] {
            wheel.register(index, &Arc::new(Count::default()).into());
            wheel.arm(index, 5);
        }
        wheel.disarm(a);
        assert!(wheel.remove(b).is_some());
        assert_eq!(turn(&mut wheel, 100), 0);
        assert_eq!(wheel.next_tick(), None);
        assert_eq!(wheel.insert(), b, "its place is used again");
    }

    #[test]
    fn a_deadline_beyond_the_face_is_carried_on() {
        let mut wheel = Wheel::new();
        let a = wheel.insert();
        wheel.register(a, &Arc::new(Count::default()).into());
        wheel.arm(a, 5 * LISTS + 3);
        let mut turns = 0;
        loop {
            let tick = wheel.next_tick().unwrap();
            turns += 1;
            if turn(&mut wheel, tick) == 1 {
                assert_eq!(tick, 5 * LISTS + 3);
                break;
            }
        }
        assert!(turns <= 7, "{turns} turns");
    }

    #[test]
    fn an_already_passed_deadline_wakes_at_the_next_tick() {
        let mut wheel = Wheel::new();
        turn(&mut wheel, 1000);
        let a = wheel.insert();
        wheel.register(a, &Arc::new(Count::default()).into());
        wheel.arm(a, 10);
        assert!(wheel.is_due(a, 1000));
        assert_eq!(turn(&mut wheel, 1001), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Arm(usize, u32),
        Disarm(usize),
        Replace(usize),
        Advance(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..8usize, 0..4000u32).prop_map(|(i, t)| Step::Arm(i, t)),
            (0..8usize).prop_map(Step::Disarm),
            (0..8usize).prop_map(Step::Replace),
            (1..1500u32).prop_map(Step::Advance),
        ]
    }

    proptest! {
        /// The model is a plain list of due ticks, looked through at every advance.
        #[test]
        fn it_wakes_exactly_what_a_plain_list_would(steps in proptest::collection::vec(step(), 1..200)) {
            let mut wheel = Wheel::new();
            let mut tick = 0;
            let counts: Vec<_> = (0..8).map(|_| Arc::new(Count::default())).collect();
            let mut places: Vec<_> = (0..8).map(|_| wheel.insert()).collect();
            let mut due = [None::<u32>; 8];
            for s in steps {
                match s {
                    Step::Arm(i, t) => {
                        wheel.register(places[i], &counts[i].clone().into());
                        counts[i].0.store(0, Ordering::Relaxed);
                        wheel.arm(places[i], tick + t);
                        due[i] = Some(tick + t);
                    }
                    Step::Disarm(i) => { wheel.disarm(places[i]); due[i] = None; }
                    Step::Replace(i) => { wheel.remove(places[i]); places[i] = wheel.insert(); due[i] = None; }
                    Step::Advance(by) => {
                        // As the reactor does it: never past the tick the wheel asks for without a turn there.
                        let end = tick + by;
                        loop {
                            tick = wheel.next_tick().map_or(end, |t| t.clamp(tick, end));
                            turn(&mut wheel, tick);
                            if tick == end { break }
                        }
                    }
                }
                for i in 0..8 {
                    prop_assert_eq!(wheel.is_due(places[i], tick), due[i].is_some_and(|d| d <= tick));
                    let woken = counts[i].0.load(Ordering::Relaxed);
                    match due[i] {
                        Some(d) if d < tick => prop_assert_eq!(woken, 1, "late at {}", tick),
                        Some(d) if d > tick => prop_assert_eq!(woken, 0, "early at {}", tick),
                        _ => {}
                    }
                }
                prop_assert!(wheel.next_tick().is_none_or(|next| next > tick));
            }
        }
    }
}
