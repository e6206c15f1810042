//! Drawing by weight: a binary indexed tree of weights, so that a draw and a change both cost the logarithm of the size.

/// Weights by slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Draw {
    weights: Vec<u32>,
    /// `sums[i]` is the sum of the weights of the `i & -i` slots that end before slot `i`; `sums[0]` is not used. A sum of fewer
    /// than 2^32 weights of 32 bits fits 64.
    sums: Vec<u64>,
}

impl Draw {
    /// Sum of all weights.
    pub fn total(&self) -> u64 {
        let mut at = self.weights.len();
        let mut total = 0;
        while at > 0 {
            total += self.sums[at];
            at &= at - 1;
        }
        total
    }

    /// Weight of a slot.
    pub fn weight(&self, slot: usize) -> u32 {
        self.weights[slot]
    }

    /// Appends a slot.
    pub fn push(&mut self, weight: u32) {
        if self.sums.is_empty() {
            self.sums.push(0);
        }
        self.weights.push(weight);
        let at = self.weights.len();
        // The new sum covers slots that are there already: those between its parent and itself.
        let mut sum = u64::from(weight);
        let mut below = at - 1;
        let parent = at & (at - 1);
        while below > parent {
            sum += self.sums[below];
            below &= below - 1;
        }
        self.sums.push(sum);
    }

    /// Takes the last slot away.
    pub fn pop(&mut self) {
        if self.weights.pop().is_some() {
            self.sums.pop();
        }
    }

    /// Gives a slot another weight.
    pub fn set(&mut self, slot: usize, weight: u32) {
        let before = core::mem::replace(&mut self.weights[slot], weight);
        let mut at = slot + 1;
        while at < self.sums.len() {
            // First the addition: the sum holds the weight before, so neither step leaves the range.
            self.sums[at] = self.sums[at] + u64::from(weight) - u64::from(before);
            at += at & at.wrapping_neg();
        }
    }

    /// The slot whose share of `0..total` holds `point`.
    pub fn slot(&self, mut point: u64) -> usize {
        let mut at = 0;
        let mut step = self.weights.len().checked_ilog2().map_or(0, |bits| 1 << bits);
        while step > 0 {
            if let Some(sum) = self.sums.get(at + step)
                && *sum <= point
            {
                point -= sum;
                at += step;
            }
            step >>= 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Random;

    #[test]
    fn slots_are_those_of_a_plain_scan_whatever_changes() {
        let mut random = Random::new(1);
        let (mut draw, mut plain) = (Draw::default(), Vec::<u32>::new());
        for _ in 0..4_000 {
            match random.below(4) {
                0 | 1 => {
                    let weight = if random.below(5) == 0 { 0 } else { random.below(1 << 32) as u32 };
                    draw.push(weight);
                    plain.push(weight);
                }
                2 => {
                    draw.pop();
                    plain.pop();
                }
                _ if !plain.is_empty() => {
                    let (slot, weight) = (random.below(plain.len() as u64) as usize, random.below(9) as u32);
                    draw.set(slot, weight);
                    plain[slot] = weight;
                }
                _ => {}
            }
            let total = plain.iter().map(|weight| u64::from(*weight)).sum::<u64>();
            assert_eq!(draw.total(), total);
            if total > 0 {
                let point = random.below(total);
                let mut left = point;
                let scanned = plain.iter().position(|weight| {
                    let here = left < u64::from(*weight);
                    left = left.wrapping_sub(u64::from(*weight));
                    here
                });
                assert_eq!(Some(draw.slot(point)), scanned);
            }
        }
    }
}
