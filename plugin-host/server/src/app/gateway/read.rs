//! Listing and reading a vault's objects for a machine.

use std::sync::Arc;

use nightkeep_database::Machine;
use nightkeep_vault::id::MachineId;
use nightkeep_vault::pack::{HEADER_READ_BYTES, PackHeader};
use nightkeep_vault::store::{DiskStore, ObjectName as StoreName, Store};
use nightkeep_wire::gateway::{LIST_LIMIT_MAX, ListQuery, ListResponse, ObjectEntry, ObjectName};
use nightkeep_wire::problem::ProblemCode;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::super::{App, AppError};
use super::{name_part, not_allowed, policy};

/// An object that may be read, open.
pub(crate) struct OpenObject {
    pub(crate) file: File,
    pub(crate) len: u64,
}

impl App {
    /// A page of a machine's view of the vault.
    pub(crate) async fn list_objects(&self, machine: &Machine, query: ListQuery) -> Result<ListResponse, AppError> {
        let vault = self.vault_of_machine(machine).await?;
        policy::may_list(&name_part(machine), &query.prefix).map_err(not_allowed)?;
        let limit = query.limit.unwrap_or(LIST_LIMIT_MAX).clamp(1, LIST_LIMIT_MAX);
        let limit = usize::try_from(limit).map_err(AppError::internal)?;
        let bad = |detail: String| AppError::new(ProblemCode::BadRequest, detail);
        let after = query.after.as_ref().map(|after| StoreName::new(after.as_str())).transpose();
        let after = after.map_err(|error| bad(error.to_string()))?;
        let store = Arc::new(DiskStore::new(self.data.vault(vault.id)));
        let prefix = query.prefix;
        let list = move || store.list(&prefix, after.as_ref(), limit + 1);
        let found = tokio::task::spawn_blocking(list).await.map_err(AppError::internal)?.map_err(AppError::internal)?;
        let more = found.len() > limit;
        let entry = |info: &nightkeep_vault::store::ObjectInfo| {
            Some(ObjectEntry { name: info.name.as_str().parse().ok()?, len: info.bytes })
        };
        Ok(ListResponse { objects: found.iter().take(limit).filter_map(entry).collect(), more })
    }

    /// Opens an object for reading.
    pub(crate) async fn open_object(&self, machine: &Machine, name: &str) -> Result<OpenObject, AppError> {
        let vault = self.vault_of_machine(machine).await?;
        let name = parse(name)?;
        policy::may_read(&name_part(machine), name.as_str()).map_err(not_allowed)?;
        let opened = File::open(self.object_path(&vault, &name)).await;
        let mut file = opened.map_err(|error| missing_or(error, &name))?;
        if name.as_str().starts_with("m/") {
            own_catalogue(machine, &name, &mut file).await?;
        }
        let metadata = file.metadata().await.map_err(AppError::storage)?;
        match metadata.is_file() {
            true => Ok(OpenObject { file, len: metadata.len() }),
            false => Err(AppError::new(ProblemCode::NotFound, format!("{name} is not in the vault"))),
        }
    }

    /// The length of an object.
    pub(crate) async fn object_len(&self, machine: &Machine, name: &str) -> Result<u64, AppError> {
        let vault = self.vault_of_machine(machine).await?;
        let name = parse(name)?;
        policy::may_look(&name_part(machine), name.as_str()).map_err(not_allowed)?;
        let looked = tokio::fs::metadata(self.object_path(&vault, &name)).await;
        match looked.map_err(|error| missing_or(error, &name))? {
            metadata if metadata.is_file() => Ok(metadata.len()),
            _ => Err(AppError::new(ProblemCode::NotFound, format!("{name} is not in the vault"))),
        }
    }
}

/// Refuses a metadata pack with another machine's catalogue: names of packs do not tell whose they are, envelopes do.
async fn own_catalogue(machine: &Machine, name: &ObjectName, file: &mut File) -> Result<(), AppError> {
    let mut start = Vec::new();
    (&mut *file).take(HEADER_READ_BYTES).read_to_end(&mut start).await.map_err(AppError::storage)?;
    file.rewind().await.map_err(AppError::storage)?;
    let own = MachineId(*machine.id.as_bytes());
    let header = PackHeader::decode_start(&start);
    match header.is_ok_and(|header| header.catalogue_machines().all(|machine| machine == own)) {
        true => Ok(()),
        false => Err(not_allowed(format!(
            "{name} holds another machine's catalogue: it is read under a restore grant, ask a technician to start the restore"
        ))),
    }
}

fn parse(name: &str) -> Result<ObjectName, AppError> {
    name.parse().map_err(|error: nightkeep_wire::gateway::ObjectNameError| {
        AppError::new(ProblemCode::BadRequest, error.to_string())
    })
}

fn missing_or(error: std::io::Error, name: &ObjectName) -> AppError {
    if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) {
        return AppError::new(ProblemCode::NotFound, format!("{name} is not in the vault"));
    }
    AppError::storage(error)
}
