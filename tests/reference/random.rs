//! A small generator of numbers: the same seed gives the same world on every machine.

use jiff::{SignedDuration, Timestamp};

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def0)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    /// True in so many of a hundred.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }

    /// Each of the items with a chance, at least one of them.
    pub fn some<T: Clone>(&mut self, items: &[T], percent: usize) -> Vec<T> {
        let mut picked: Vec<T> = items.iter().filter(|_| self.chance(percent)).cloned().collect();
        if picked.is_empty() {
            picked.push(self.pick(items));
        }
        picked
    }

    /// A moment just before, at or just after another, or some days away.
    pub fn beside(&mut self, moment: Timestamp) -> Timestamp {
        let day = 86_400_000;
        let away = match self.below(6) {
            0 => -1,
            1 => 0,
            2 => 1,
            3 => -day * (1 + i64::try_from(self.below(60)).unwrap()),
            _ => day * (1 + i64::try_from(self.below(60)).unwrap()),
        };
        moment + SignedDuration::from_millis(away)
    }
}
