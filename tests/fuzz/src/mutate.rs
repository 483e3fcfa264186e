//! Changes to inputs, from a seed that is printed.

/// Longest input a change makes.
const BYTES_MAX: usize = 64 << 10;

/// Numbers that lie at the edges of what parsers check.
const EDGES: [u64; 12] =
    [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000, 0x7fff_ffff, 0xffff_ffff, u64::MAX >> 1, u64::MAX];

/// A stream of numbers (SplitMix64): the same seed gives the same inputs on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, 0 for no bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

/// Changes `bytes` in a few places; `other` lends parts of itself.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    for _ in 0..=dice.below(4) {
        change(bytes, other, dice);
    }
    bytes.truncate(BYTES_MAX);
}

fn change(bytes: &mut Vec<u8>, other: &[u8], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = (at + 1 + dice.below(16)).min(bytes.len());
    match dice.below(9) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = dice.next() as u8,
        2 if at < bytes.len() => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let from = dice.below(other.len());
            let part = &other[from..(from + dice.below(64)).min(other.len())];
            bytes.splice(at..at, part.iter().copied());
        }
        5 if at < bytes.len() => {
            let part = bytes[at..end].to_vec();
            bytes.splice(at..at, part);
        }
        6 => drop(bytes.splice(at..at, varint(EDGES[dice.below(EDGES.len())]))),
        7 => overwrite(bytes, at, &EDGES[dice.below(EDGES.len())].to_le_bytes()[..1 << dice.below(4)]),
        _ => drop(bytes.splice(at..at, (0..dice.below(8)).map(|_| dice.next() as u8).collect::<Vec<_>>())),
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (byte, new) in bytes.iter_mut().skip(at).zip(with) {
        *byte = *new;
    }
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

#[cfg(test)]
mod tests {
    use super::{Dice, mutate};

    #[test]
    fn the_same_seed_makes_the_same_inputs() {
        let run = |seed| {
            let (mut dice, mut bytes) = (Dice(seed), b"a seed to begin with".to_vec());
            (0..50).for_each(|_| mutate(&mut bytes, b"another", &mut dice));
            bytes
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
