//! How many machines are in which bucket.

use nightkeep_wire::status::Bucket;

/// Machines per bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Bucket::ALL.len()],
}

impl Tally {
    /// Machines in a bucket.
    pub fn of(&self, bucket: Bucket) -> u64 {
        self.counts[slot(bucket)]
    }

    /// Machines in all.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}

impl FromIterator<Bucket> for Tally {
    fn from_iter<I: IntoIterator<Item = Bucket>>(buckets: I) -> Self {
        let mut tally = Self::default();
        for bucket in buckets {
            tally.counts[slot(bucket)] += 1;
        }
        tally
    }
}

const fn slot(bucket: Bucket) -> usize {
    match bucket {
        Bucket::WithoutAgent => 0,
        Bucket::WithoutPlan => 1,
        Bucket::NotProtected => 2,
        Bucket::Error => 3,
        Bucket::Warning => 4,
        Bucket::Ok => 5,
    }
}
