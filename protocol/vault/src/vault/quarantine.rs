//! What repairs found: objects that writers must not count on, and that readers use only where nothing else is left.
//!
//! **Invariant**: only a record that the maintenance key signed withdraws an object.

use super::{Vault, VaultError};
use crate::codec::Time;
use crate::id::PackId;
use crate::object::OBJECT_BYTES_MAX;
use crate::record::generation::Keeper;
use crate::record::number_of;
use crate::record::quarantine::{self, OBJECTS_MAX, QuarantineRecord, Verdict};
use crate::store::{ObjectName, Put};
use std::collections::BTreeMap;

/// How often another repair may take the number of a record first.
const ATTEMPTS_MAX: usize = 16;

/// The objects in quarantine.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    objects: BTreeMap<ObjectName, Verdict>,
    /// The number of the next record.
    next: u64,
}

impl Quarantine {
    /// What is the matter with an object, if anything.
    pub fn verdict(&self, name: &ObjectName) -> Option<Verdict> {
        self.objects.get(name).copied().filter(|verdict| *verdict != Verdict::Sound)
    }

    /// Whether an object is in quarantine.
    pub fn holds(&self, name: &ObjectName) -> bool {
        self.verdict(name).is_some()
    }

    /// Every object in quarantine.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectName, Verdict)> {
        self.objects.iter().map(|(name, verdict)| (name, *verdict)).filter(|(_, verdict)| *verdict != Verdict::Sound)
    }

    /// The packs among them.
    pub fn packs(&self) -> Vec<PackId> {
        self.objects().filter_map(|(name, _)| pack_of(name)).map(|(_, id)| id).collect()
    }
}

/// The pack that has this name, and its area.
pub fn pack_of(name: &ObjectName) -> Option<(crate::pack::Area, PackId)> {
    use crate::pack::Area;
    let area = [Area::Data, Area::Meta].into_iter().find(|area| name.as_str().starts_with(area.letter()))?;
    let id: PackId = name.as_str().rsplit('/').next()?.parse().ok()?;
    (area.name(id) == *name).then_some((area, id))
}

impl Vault {
    /// What is in quarantine.
    pub fn quarantine(&self) -> Result<Quarantine, VaultError> {
        let mut quarantine = Quarantine::default();
        let keeper = Keeper { vault: self.id(), keys: &self.keys };
        for info in self.store.list_all(quarantine::PREFIX)? {
            let Some(number) = number_of(&info.name) else { continue };
            quarantine.next = quarantine.next.max(number.saturating_add(1));
            let bytes = self.store.get(&info.name, OBJECT_BYTES_MAX)?;
            match QuarantineRecord::open(keeper, &info.name, &bytes, self.config.maintenance_public) {
                Ok(record) => quarantine.objects.extend(record.objects),
                // FORMAT.md: as if absent. What it withdrew counts again until the next repair.
                Err(error) => tracing::warn!(name = %info.name, %error, "A quarantine record is ignored"),
            }
        }
        Ok(quarantine)
    }

    /// Records verdicts; nothing else happens to the objects.
    pub fn put_in_quarantine(&self, objects: &[(ObjectName, Verdict)], at: Time) -> Result<(), VaultError> {
        let maintenance = self.maintenance("quarantining objects")?;
        let keeper = Keeper { vault: self.id(), keys: &self.keys };
        for objects in objects.chunks(OBJECTS_MAX) {
            let mut number = self.quarantine()?.next;
            let mut attempts = 0;
            loop {
                let record = QuarantineRecord { number, at, objects: objects.to_vec() };
                let name = QuarantineRecord::name_of(number);
                match self.store.put_create(&name, &record.seal(keeper, &maintenance))? {
                    Put::Created => break,
                    Put::Exists if attempts >= ATTEMPTS_MAX => return Err(VaultError::Conflict { name }),
                    // Another repair was first; its verdicts and ours stand side by side.
                    Put::Exists => (number, attempts) = (number + 1, attempts + 1),
                }
            }
        }
        Ok(())
    }
}
