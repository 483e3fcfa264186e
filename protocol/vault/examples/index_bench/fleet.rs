//! A vault of many machines and points: opened, listed, and written to by one machine.
//!
//! A run here is all that the vault does for a backup, without its files: session, generation, index, points, one pack,
//! one segment, the point.

use crate::chunks::folder_bytes;
use crate::memory::measure;
use crate::{Outcome, root};
use nightkeep_vault::codec::Time;
use nightkeep_vault::id::{BlobId, MachineId, PackId, SessionId, VaultId};
use nightkeep_vault::pack::{Area, BlockType, Codec, GroupKey, Member, PackWriter, PreparedBlock};
use nightkeep_vault::record::config::Custody;
use nightkeep_vault::record::point::{BackupSet, CivilTime, PointBody, PointHeader, Totals};
use nightkeep_vault::session::Session;
use nightkeep_vault::store::{CountedStore, Counts, DiskStore, MemoryStore, Store};
use nightkeep_vault::vault::{Local, Pins, Vault};
use std::path::Path;
use std::sync::Arc;

const VAULT: VaultId = VaultId([2; 16]);

fn open_vault(dir: &Path) -> Outcome<(Arc<Vault>, Arc<Counts>)> {
    let (store, counts) = CountedStore::new(Arc::new(DiskStore::new(dir.join("vault"))));
    let vault = Vault::open_owner(store, VAULT, root(dir, VAULT)?)?.with_local(Local::in_dir(dir.join("cache")));
    Ok((Arc::new(vault), counts))
}

/// Writes the vault as the machines' runs would, in memory, and then to the disk without waiting for each object.
pub(crate) fn write(dir: &Path, points: u32, machines: u32) -> Outcome {
    let memory = MemoryStore::new();
    let vault = Vault::create(Arc::new(memory.clone()), root(dir, VAULT)?, VAULT, Custody::Owner, Time::default())?;
    let vault = Arc::new(vault);
    for n in 0..points {
        run(&vault, &format!("machine-{:04}", n % machines), n)?;
    }
    let (store, to): (&dyn Store, _) = (&memory, dir.join("vault"));
    for info in store.list_all("")? {
        let path = to.join(info.name.as_str());
        std::fs::create_dir_all(path.parent().unwrap_or(&to))?;
        std::fs::write(path, store.get(&info.name, info.bytes)?)?;
    }
    Ok(())
}

fn run(vault: &Arc<Vault>, machine: &str, n: u32) -> Outcome {
    let session = Session::open(vault.clone(), vault.writer(machine)?, Time::default())?;
    let (epoch, public) = vault.sealing_key();
    let key = GroupKey::for_data(VAULT, public, epoch).map_err(|_| "the vault's key seals nothing")?;
    let mut writer = PackWriter::new(VAULT, vec![key], 0);
    let id = BlobId(*blake3::hash(&n.to_le_bytes()).as_bytes());
    let (block_type, codec, members) = (BlockType::Chunk, Codec::Stored, vec![Member { id, bytes: 4 }]);
    writer.append(0, PreparedBlock { block_type, codec, payload: n.to_le_bytes().to_vec(), plain_bytes: 4, members });
    session.put_pack(Area::Data, &writer.finish(&vault.keys().index))?;
    session.commit(header(session.machine().id, machine), &PointBody::default(), Time::default())?;
    Ok(())
}

fn header(machine: MachineId, name: &str) -> PointHeader {
    let civil = CivilTime {
        at: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        offset_minutes: 60,
        zone: "Europe/Berlin".into(),
    };
    PointHeader {
        machine,
        sequence: 0,
        previous: [0; 32],
        session: SessionId([0; 16]),
        base: 0,
        plan: Some([3; 16]),
        plan_name: "Entire machine".into(),
        set: BackupSet::Daily,
        occurrence: Some(civil.clone()),
        started: civil.clone(),
        finished: civil,
        totals: Totals { files: 300_000, bytes: 200 << 30, ..Totals::default() },
        references: BlobId([4; 32]),
        meta_packs: vec![PackId([5; 32]); 8],
        machine_name: name.into(),
        agent_version: "0.1.0".into(),
        bootable: false,
        snapshot_method: String::new(),
        meta_epoch: 1,
        complete: true,
        source: [6; 16],
    }
}

fn forget(dir: &Path) -> Outcome {
    let cache = dir.join("cache");
    if cache.exists() { Ok(std::fs::remove_dir_all(cache)?) } else { Ok(()) }
}

/// Opens and lists all points of all machines.
pub(crate) fn list(dir: &Path, what: &str, is_cold: bool) -> Outcome {
    if is_cold {
        forget(dir)?;
    }
    let (result, took) = measure(|| -> Outcome<_> {
        let (vault, counts) = open_vault(dir)?;
        let opened = counts.now();
        let (machines, mut points) = (vault.machines()?, 0);
        vault.points_of(&machines, &mut |_, of| points += of.visible().count())?;
        Ok((opened, counts.now().since(&opened), points))
    });
    let (opened, listed, points) = result?;
    println!(
        "  {what:<24} {:>7.2} s  {:>6.1} MiB at peak; {points} points; to open {opened}; then {listed}",
        took.seconds, took.peak_mib
    );
    println!(
        "  {:<24} {:>7.1} MiB on disk",
        "kept by then",
        folder_bytes(&dir.join("cache"))? as f64 / f64::from(1 << 20)
    );
    Ok(())
}

/// One run of one machine of the owner's, on a computer that keeps nothing yet, or that ran before.
pub(crate) fn back_up(dir: &Path, what: &str, is_cold: bool) -> Outcome {
    if is_cold {
        forget(dir)?;
    }
    let (result, took) = measure(|| -> Outcome<_> {
        let (vault, counts) = open_vault(dir)?;
        one_run(&vault, "machine-0007")?;
        Ok(counts.now())
    });
    println!("  {what:<24} {:>7.2} s  {:>6.1} MiB at peak; {}", took.seconds, took.peak_mib, result?);
    Ok(())
}

fn one_run(vault: &Arc<Vault>, machine: &str) -> Outcome {
    let machine_id = vault.writer(machine)?.id;
    let index = vault.load_index(&vault.newest_generation()?, Some(machine_id))?;
    let points = vault.points(machine_id)?;
    assert!(points.visible().next().is_some() && index.chunks() > 0, "the machine was backed up before");
    run(vault, machine, u32::MAX)
}

/// A run of a machine that a host enrolled: it sees its own points and segments only.
pub(crate) fn back_up_enrolled(dir: &Path) -> Outcome {
    let (owner, _) = open_vault(dir)?;
    let keys = owner.writer("machine-0008")?;
    let config = owner.config();
    let pins = Pins { vault: VAULT, vault_public: config.vault_public, maintenance_public: config.maintenance_public };
    for (what, is_cold) in [("an enrolled one, cold", true), ("an enrolled one, warm", false)] {
        if is_cold {
            forget(dir)?;
        }
        let (result, took) = measure(|| -> Outcome<_> {
            let (store, counts) = CountedStore::new(Arc::new(DiskStore::new(dir.join("vault"))));
            let vault = Vault::open_machine(store, &pins, root(dir, VAULT)?.vault_keys(VAULT), keys.clone())?;
            let vault = Arc::new(vault.with_local(Local::in_dir(dir.join("cache"))));
            one_run(&vault, "machine-0008")?;
            Ok(counts.now())
        });
        println!("  {what:<24} {:>7.2} s  {:>6.1} MiB at peak; {}", took.seconds, took.peak_mib, result?);
    }
    Ok(())
}
