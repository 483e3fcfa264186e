//! Where large files are cut: keyed Gear (FORMAT.md, "Chunks").
//!
//! **Invariant**: a cut depends on the 64 bytes before it and on the chunk's length, never on how the bytes arrived.

use nightkeep_vault::crypto::Secret;
use nightkeep_vault::record::config::ChunkerParams;

const WINDOW: usize = 64;
const STRICT_SHIFT: u32 = 43;
const LOOSE_SHIFT: u32 = 47;

/// The cutter of one vault.
pub struct Chunker {
    table: Box<[u64; 256]>,
    params: ChunkerParams,
}

impl Chunker {
    /// The cutter that `K_chunk` gives.
    pub fn new(chunk_key: &Secret, params: ChunkerParams) -> Self {
        let mut bytes = [0u8; 2048];
        let mut hasher = blake3::Hasher::new_keyed(chunk_key.expose());
        hasher.update(b"gear table").finalize_xof().fill(&mut bytes);
        let mut table = Box::new([0u64; 256]);
        for (entry, bytes) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        Self { table, params }
    }

    /// The longest chunk in bytes: with this many at hand a cut is always found.
    pub fn bytes_max(&self) -> usize {
        self.params.max as usize
    }

    /// The length of the chunk at the start of `bytes`. `bytes` holds the longest chunk, or all that is left.
    pub fn cut(&self, bytes: &[u8]) -> usize {
        let (min, normal) = (self.params.min as usize, self.params.normal as usize);
        let end = bytes.len().min(self.params.max as usize);
        if end <= min {
            return end;
        }
        // A byte leaves the hash after 64 shifts, so warming up over the window gives the hash of the whole prefix.
        let mut hash = 0u64;
        for byte in &bytes[min - WINDOW..min - 1] {
            hash = self.step(hash, *byte);
        }
        let strict_end = end.min(normal - 1);
        let (hash, found) = self.scan(hash, bytes, min - 1, strict_end, STRICT_SHIFT);
        if let Some(length) = found {
            return length;
        }
        self.scan(hash, bytes, strict_end.max(min - 1), end, LOOSE_SHIFT).1.unwrap_or(end)
    }

    fn step(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.table[usize::from(byte)])
    }

    fn scan(&self, mut hash: u64, bytes: &[u8], from: usize, to: usize, shift: u32) -> (u64, Option<usize>) {
        for (at, byte) in bytes[..to].iter().enumerate().skip(from) {
            hash = self.step(hash, *byte);
            if hash >> shift == 0 {
                return (hash, Some(at + 1));
            }
        }
        (hash, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn chunker() -> Chunker {
        Chunker::new(&Secret::new([7; 32]), ChunkerParams { min: 128 << 10, normal: 512 << 10, max: 2 << 20 })
    }

    fn noise(bytes: usize, seed: u8) -> Vec<u8> {
        let mut out = vec![0; bytes];
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut out);
        out
    }

    fn cuts(chunker: &Chunker, mut bytes: &[u8]) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !bytes.is_empty() {
            let length = chunker.cut(bytes);
            lengths.push(length);
            bytes = &bytes[length..];
        }
        lengths
    }

    /// FORMAT.md word for word: the sum over the last 64 bytes.
    fn reference_cut(chunker: &Chunker, bytes: &[u8]) -> usize {
        let params = chunker.params;
        for at in params.min as usize - 1..bytes.len().min(params.max as usize) {
            let hash = (0..64).fold(0u64, |hash, j| hash.wrapping_add(chunker.table[usize::from(bytes[at - j])] << j));
            let length = at + 1;
            let shift = if length < params.normal as usize { 43 } else { 47 };
            if hash >> shift == 0 {
                return length;
            }
        }
        bytes.len().min(params.max as usize)
    }

    #[test]
    fn cuts_are_those_of_the_format() {
        let chunker = chunker();
        for seed in 0..4 {
            let bytes = noise(3 << 20, seed);
            assert_eq!(chunker.cut(&bytes), reference_cut(&chunker, &bytes), "seed {seed}");
        }
        assert_eq!(chunker.cut(&vec![0; 3 << 20]), reference_cut(&chunker, &vec![0; 3 << 20]));
    }

    #[test]
    fn an_insertion_moves_only_the_cuts_near_it() {
        let chunker = chunker();
        let mut bytes = noise(24 << 20, 1);
        let before = cuts(&chunker, &bytes);
        bytes.splice(12 << 20..12 << 20, [1, 2, 3]);
        let after = cuts(&chunker, &bytes);
        let same_start = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        let same_end = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
        assert!(same_start + same_end + 4 >= before.len(), "{same_start} + {same_end} of {}", before.len());
        let mean = bytes.len() / after.len();
        assert!((300 << 10..900 << 10).contains(&mean), "mean chunk {mean}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn chunks_join_to_the_whole_and_keep_their_bounds(length in 0usize..5_000_000, seed: u8) {
            let bytes = noise(length, seed);
            let lengths = cuts(&chunker(), &bytes);
            prop_assert_eq!(lengths.iter().sum::<usize>(), length);
            for (n, chunk) in lengths.iter().enumerate() {
                prop_assert!(*chunk <= 2 << 20 && (*chunk >= 128 << 10 || n + 1 == lengths.len()));
            }
        }
    }
}
