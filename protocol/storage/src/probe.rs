//! Finds out whether a storage keeps its word: of many who create one name at once, exactly one does.
//!
//! **Invariant**: a vault's safety stands on this promise alone (FORMAT.md I1), and storage that breaks it does so
//! without a sign. So it is tried before a vault is made, with as many writers as it takes.

use std::sync::Barrier;
use std::time::Duration;

use nightkeep_vault::store::{ObjectName, Put, Store, StoreError};

/// What the probe's objects begin with.
pub(crate) const PREFIX: &str = "probe/";

/// How long the second half of each racer's body is held back. Storage that looks at a condition when a request begins
/// and writes when it ends lets only one win as long as bodies come in an instant; so all racers must have begun before
/// the first ends.
pub(crate) const HOLD: Duration = Duration::from_millis(400);

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Races {
    /// Who creates at once.
    pub racers: u8,
    /// How often.
    pub rounds: u32,
}

impl Default for Races {
    /// Storage that fails was seen to let most of sixteen win, in each of a few rounds.
    fn default() -> Self {
        Self { racers: 16, rounds: 4 }
    }
}

/// Why a storage is not fit for a vault.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Several writers were told that they created the same object, or none was.
    #[error(
        "the storage at {location} is not fit for a vault: it let {winners} of {racers} writers create one and the same \
         object, so machines could destroy each other's backups without a sign; use storage that creates atomically \
         (If-None-Match: *), or a host with its storage gateway in front"
    )]
    NotAtomic {
        /// The storage.
        location: String,
        /// Who was told so.
        winners: usize,
        /// Of how many.
        racers: u8,
    },
    /// The object holds other bytes than those of the writer that was told it created it.
    #[error("the storage at {location} is not fit for a vault: {name} does not hold what the only writer put there")]
    NotKept {
        /// The storage.
        location: String,
        /// The object.
        name: ObjectName,
    },
    /// The storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Races writers for names of their own below `probe/`, which are deleted afterwards where the credentials may.
///
/// Costs `racers` x `rounds` puts, and a get and a delete for each round.
pub fn probe_create_only(store: &dyn Store, races: Races) -> Result<(), ProbeError> {
    let run = random_text()?;
    for round in 0..races.rounds {
        let name = format!("{PREFIX}{run}-{round}");
        let name = ObjectName::new(name).map_err(|error| StoreError::Failed {
            operation: "address",
            name: run.clone(),
            source: Box::new(error),
        })?;
        let raced = race(store, &name, races.racers);
        if let Err(error) = store.delete(&name) {
            tracing::debug!(%name, %error, "The probe's object stays");
        }
        raced?;
    }
    Ok(())
}

fn race(store: &dyn Store, name: &ObjectName, racers: u8) -> Result<(), ProbeError> {
    let start = Barrier::new(usize::from(racers));
    let puts: Vec<(u8, Result<Put, StoreError>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..racers)
            .map(|racer| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    (racer, store.put_create(name, &bytes_of(racer)))
                })
            })
            .collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut winners = Vec::new();
    for (racer, put) in puts {
        if put? == Put::Created {
            winners.push(racer);
        }
    }
    let [winner] = winners.as_slice() else {
        return Err(ProbeError::NotAtomic { location: store.location(), winners: winners.len(), racers });
    };
    let there = store.get(name, u64::from(u8::MAX));
    match there {
        Ok(bytes) if bytes == bytes_of(*winner) => Ok(()),
        // Some credentials write and do not read.
        Err(StoreError::Refused { .. }) => Ok(()),
        Ok(_) | Err(StoreError::NotFound { .. }) => {
            Err(ProbeError::NotKept { location: store.location(), name: name.clone() })
        }
        Err(error) => Err(error.into()),
    }
}

/// Each racer's bytes differ, so that none is taken for another's lost answer.
fn bytes_of(racer: u8) -> [u8; 32] {
    [racer; 32]
}

fn random_text() -> Result<String, StoreError> {
    let number = getrandom::u64().map_err(|error| StoreError::Failed {
        operation: "name",
        name: "probe".to_owned(),
        source: Box::new(error),
    })?;
    Ok(format!("{number:016x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nightkeep_vault::store::{MemoryStore, ObjectInfo};
    use std::ops::Range;

    /// Looks, then writes: what some storage calls a conditional put.
    struct Careless(MemoryStore);

    impl Store for Careless {
        fn put_create(&self, name: &ObjectName, bytes: &[u8]) -> Result<Put, StoreError> {
            self.0.damage(name, |there| *there = bytes.to_vec());
            Ok(Put::Created)
        }
        fn get_range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
            self.0.get_range(name, range)
        }
        fn head(&self, name: &ObjectName) -> Result<Option<u64>, StoreError> {
            self.0.head(name)
        }
        fn list(&self, prefix: &str, after: Option<&ObjectName>, limit: usize) -> Result<Vec<ObjectInfo>, StoreError> {
            self.0.list(prefix, after, limit)
        }
        fn delete(&self, name: &ObjectName) -> Result<(), StoreError> {
            self.0.delete(name)
        }
        fn location(&self) -> String {
            "careless:".to_owned()
        }
    }

    #[test]
    fn a_store_that_keeps_its_word_passes_and_nothing_is_left_behind() {
        let store = MemoryStore::new();
        let passed = probe_create_only(&store, Races::default());
        assert!(passed.is_ok(), "{passed:?}");
        let left = (&store as &dyn Store).list_all("").map(|left| left.len());
        assert_eq!(left.ok(), Some(0));
    }

    #[test]
    fn a_store_where_several_win_is_refused_in_words() {
        let refused = probe_create_only(&Careless(MemoryStore::new()), Races::default());
        let text = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.contains("let 16 of 16 writers create one and the same object"), "{text}");
    }
}
