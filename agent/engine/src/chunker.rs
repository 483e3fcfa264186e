//! Where large files are cut: keyed Gear (FORMAT.md, "Chunks"), four stretches of a buffer at once.
//!
//! **Invariant**: a cut depends on the 64 bytes before it and on the chunk's length, never on how the bytes arrived.
//!
//! The hash at a byte depends on the 64 bytes up to it and nothing else, so where a cut *may* be is independent of where
//! the chunk began. Four lanes look for such candidates in the four quarters of what is new in a buffer, which keeps four
//! chains of additions in flight where one would wait for itself; then the cuts are chosen among them in order.

use nightkeep_vault::crypto::Secret;
use nightkeep_vault::record::config::ChunkerParams;
use std::collections::VecDeque;

const WINDOW: usize = 64;
const STRICT_SHIFT: u32 = 43;
const LOOSE_SHIFT: u32 = 47;
const LANES: usize = 4;
/// Less than this is scanned in one lane: warming up the others would cost more than they save.
const LANE_BYTES_MIN: usize = 4096;

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

    /// Begins to cut one stretch of data.
    pub fn cutter(&self) -> Cutter<'_> {
        Cutter { chunker: self, candidates: VecDeque::new(), scanned: 0 }
    }

    #[inline(always)]
    fn step(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.table[usize::from(byte)])
    }

    /// The hash of the 63 bytes before `at`, or of as many as there are.
    fn warm(&self, bytes: &[u8], at: usize) -> u64 {
        bytes[at.saturating_sub(WINDOW - 1)..at].iter().fold(0, |hash, byte| self.step(hash, *byte))
    }

    /// Adds the candidates at `from..bytes.len()` to `found`.
    fn scan(&self, bytes: &[u8], from: usize, found: &mut VecDeque<Candidate>) {
        let lane = (bytes.len() - from) / LANES;
        if lane < LANE_BYTES_MIN {
            return self.scan_one(bytes, from, found);
        }
        let starts: [usize; LANES] = std::array::from_fn(|n| from + n * lane);
        let quarters: [&[u8]; LANES] = starts.map(|start| &bytes[start..start + lane]);
        let mut hashes = starts.map(|start| self.warm(bytes, start));
        // The later lanes' candidates wait until the earlier lanes' are all there; there are a few in a buffer.
        let mut later: [Vec<Candidate>; LANES] = Default::default();
        for at in 0..lane {
            let mut least = u64::MAX;
            for (hash, quarter) in hashes.iter_mut().zip(quarters) {
                *hash = self.step(*hash, quarter[at]);
                least = least.min(*hash);
            }
            if least >> LOOSE_SHIFT == 0 {
                for (n, hash) in hashes.iter().enumerate().filter(|(_, hash)| **hash >> LOOSE_SHIFT == 0) {
                    later[n].push(Candidate::new(starts[n] + at, *hash));
                }
            }
        }
        found.extend(later.into_iter().flatten());
        self.scan_one(bytes, from + LANES * lane, found);
    }

    fn scan_one(&self, bytes: &[u8], from: usize, found: &mut VecDeque<Candidate>) {
        let mut hash = self.warm(bytes, from);
        for (at, byte) in bytes.iter().enumerate().skip(from) {
            hash = self.step(hash, *byte);
            if hash >> LOOSE_SHIFT == 0 {
                found.push_back(Candidate::new(at, hash));
            }
        }
    }
}

/// A byte behind which a chunk may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Candidate {
    /// Its index, from the start of the current chunk.
    at: usize,
    /// Whether it also ends a chunk that is shorter than normal.
    strict: bool,
}

impl Candidate {
    fn new(at: usize, hash: u64) -> Self {
        Self { at, strict: hash >> STRICT_SHIFT == 0 }
    }
}

/// Cuts one stretch of data, chunk by chunk.
pub struct Cutter<'c> {
    chunker: &'c Chunker,
    candidates: VecDeque<Candidate>,
    /// How far the bytes behind the last cut were looked at.
    scanned: usize,
}

impl Cutter<'_> {
    /// The length of the chunk at the start of `bytes`, which begin where the chunk before ended, and hold the longest
    /// chunk or all that is left. What an earlier call was shown of them is not looked at again.
    pub fn cut(&mut self, bytes: &[u8]) -> usize {
        let params = self.chunker.params;
        let (min, normal, max) = (params.min as usize, params.normal as usize, params.max as usize);
        if bytes.len() > self.scanned {
            self.chunker.scan(bytes, self.scanned, &mut self.candidates);
            self.scanned = bytes.len();
        }
        let end = bytes.len().min(max);
        let lengths = self.candidates.iter().map(|candidate| (candidate.at + 1, candidate.strict));
        let mut ends = lengths.take_while(|(length, _)| *length <= end);
        let found = ends.find(|(length, strict)| *length >= min && (*strict || *length >= normal));
        let length = found.map_or(end, |(length, _)| length);
        self.candidates.retain_mut(|candidate| {
            let behind = candidate.at >= length;
            candidate.at = candidate.at.saturating_sub(length);
            behind
        });
        self.scanned -= length;
        length
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a list that was just added to has a last item")]
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
        let (mut lengths, mut cutter) = (Vec::new(), chunker.cutter());
        while !bytes.is_empty() {
            let length = cutter.cut(bytes);
            lengths.push(length);
            bytes = &bytes[length..];
        }
        lengths
    }

    /// As a backup does: from windows, each filled up when less than the longest chunk is left.
    fn cuts_of_windows(chunker: &Chunker, bytes: &[u8], window: usize) -> Vec<usize> {
        let (mut lengths, mut cutter) = (Vec::new(), chunker.cutter());
        let (mut start, mut end) = (0, 0);
        while start < bytes.len() {
            if end - start < chunker.bytes_max() {
                end = bytes.len().min(start + window);
            }
            lengths.push(cutter.cut(&bytes[start..end]));
            start += lengths.last().unwrap();
        }
        lengths
    }

    /// One lane, and nothing remembered from chunk to chunk.
    fn scalar_cuts(chunker: &Chunker, mut bytes: &[u8]) -> Vec<usize> {
        let (params, mut lengths) = (chunker.params, Vec::new());
        while !bytes.is_empty() {
            let end = bytes.len().min(params.max as usize);
            let mut hash = 0;
            let found = bytes[..end].iter().enumerate().position(|(at, byte)| {
                hash = chunker.step(hash, *byte);
                let shift = if at + 1 < params.normal as usize { 43 } else { 47 };
                at + 1 >= params.min as usize && hash >> shift == 0
            });
            lengths.push(found.map_or(end, |at| at + 1));
            bytes = &bytes[*lengths.last().unwrap()..];
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
            assert_eq!(chunker.cutter().cut(&bytes), reference_cut(&chunker, &bytes), "seed {seed}");
        }
        assert_eq!(chunker.cutter().cut(&vec![0; 3 << 20]), reference_cut(&chunker, &vec![0; 3 << 20]));
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
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Few different bytes at a time, in stretches: many candidates, runs, and repetitions.
        #[test]
        fn four_lanes_cut_where_one_does(
            stretches in prop::collection::vec((0usize..900_000, any::<u8>(), 0u8..4), 0..8),
            window in (2usize << 20)..(5 << 20),
        ) {
            let mut bytes = Vec::new();
            for (length, seed, masked) in stretches {
                let mask = [255, 15, 1, 0][usize::from(masked)];
                bytes.extend(noise(length, seed).into_iter().map(|byte| byte & mask));
            }
            let chunker = chunker();
            let expected = scalar_cuts(&chunker, &bytes);
            prop_assert_eq!(&cuts(&chunker, &bytes), &expected);
            prop_assert_eq!(&cuts_of_windows(&chunker, &bytes, window), &expected);
        }

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
