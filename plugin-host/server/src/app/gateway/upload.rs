//! Storing what is uploaded to a granted address.
//!
//! Invariant: the bytes are counted and hashed while they go to a temporary file; only when both fit are they synced and
//! given their name, by a hard link that fails when the name is taken; then the folder is synced, then the answer goes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use nightkeep_database::GrantRecord;
use nightkeep_vault::crypto::random;
use nightkeep_wire::gateway::ObjectName;
use nightkeep_wire::problem::ProblemCode;
use tokio::sync::mpsc;

use super::super::{App, AppError};
use super::{TEMPORARY, space};

/// Pieces between the network and the disk, at most 64 KiB or so each.
const PIECES_MAX: usize = 16;

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    Created,
    Exists,
}

/// Why the bytes were not stored.
enum StoreError {
    Mismatch(String),
    Io(io::Error),
}

impl App {
    /// Takes the bytes of a granted object.
    pub(crate) async fn upload<E>(
        &self,
        token: &str,
        announced_len: Option<u64>,
        body: impl Stream<Item = Result<Bytes, E>> + Send,
    ) -> Result<(), AppError>
    where
        E: std::error::Error,
    {
        let (token_hash, grant) = self.find_grant(token).await?;
        let invalid = |detail| AppError::new(ProblemCode::GrantInvalid, detail);
        if announced_len.is_some_and(|len| len != grant.bytes) {
            let detail = format!("{} was granted with {} bytes, {announced_len:?} come", grant.object, grant.bytes);
            return Err(AppError::new(ProblemCode::ContentMismatch, detail));
        }
        let name: ObjectName = grant.object.parse().map_err(|_| invalid("the grant names no object".to_owned()))?;
        let root = self.data.vault(grant.vault);
        space::check(self.data.path(), grant.bytes)?;
        let stored = receive(&root, &name, &grant, body).await?;
        let bytes = if stored == Stored::Created { grant.bytes } else { 0 };
        self.database.settle_grant(token_hash, grant.vault, bytes).await?;
        match stored {
            Stored::Created => Ok(()),
            Stored::Exists => Err(AppError::new(ProblemCode::Exists, format!("{name} is in the vault already"))),
        }
    }

    async fn find_grant(&self, token: &str) -> Result<([u8; 32], GrantRecord), AppError> {
        let invalid = || {
            let detail = "this upload address is unknown, used or older than 15 minutes: ask for a new grant";
            AppError::new(ProblemCode::GrantInvalid, detail)
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(token, &mut bytes).map_err(|_| invalid())?;
        let hash = *blake3::hash(&bytes).as_bytes();
        let grant = self.database.grant(hash, self.now()).await?.ok_or_else(invalid)?;
        Ok((hash, grant))
    }
}

/// Moves pieces from the network to a thread that writes them.
async fn receive<E: std::error::Error>(
    root: &Path,
    name: &ObjectName,
    grant: &GrantRecord,
    body: impl Stream<Item = Result<Bytes, E>> + Send,
) -> Result<Stored, AppError> {
    let (sender, receiver) = mpsc::channel::<Bytes>(PIECES_MAX);
    let job = WriteJob {
        root: root.to_owned(),
        target: root.join(name.as_str()),
        len: grant.bytes,
        hash: *grant.hash.as_bytes(),
    };
    let writer = tokio::task::spawn_blocking(move || job.run(receiver));
    let mut body = std::pin::pin!(body);
    let mut broken = None;
    while let Some(piece) = body.next().await {
        match piece {
            Ok(piece) => {
                // A writer that ended early says why itself.
                if sender.send(piece).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                broken = Some(format!("the upload of {name} broke off: {error}; send it again"));
                break;
            }
        }
    }
    drop(sender);
    let written = writer.await.map_err(AppError::internal)?;
    match (written, broken) {
        (Ok(stored), _) => Ok(stored),
        (Err(StoreError::Io(error)), _) => Err(AppError::storage(error)),
        (Err(StoreError::Mismatch(_)), Some(detail)) => Err(AppError::new(ProblemCode::ContentMismatch, detail)),
        (Err(StoreError::Mismatch(detail)), None) => {
            Err(AppError::new(ProblemCode::ContentMismatch, format!("{name}: {detail}")))
        }
    }
}

struct WriteJob {
    root: PathBuf,
    target: PathBuf,
    len: u64,
    hash: [u8; 32],
}

impl WriteJob {
    fn run(self, receiver: mpsc::Receiver<Bytes>) -> Result<Stored, StoreError> {
        let temporary = self.root.join(TEMPORARY).join(format!("up-{}", hex::encode(random::<16>())));
        let stored =
            self.write(&temporary, receiver).and_then(|()| link(&temporary, &self.target).map_err(StoreError::Io));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, "A temporary file stays behind")
            }
            Ok(()) | Err(_) => {}
        }
        stored
    }

    fn write(&self, temporary: &Path, mut receiver: mpsc::Receiver<Bytes>) -> Result<(), StoreError> {
        let mut file = create(temporary).map_err(StoreError::Io)?;
        let mut hasher = blake3::Hasher::new();
        let mut written = 0u64;
        while let Some(piece) = receiver.blocking_recv() {
            written += piece.len() as u64;
            if written > self.len {
                return Err(StoreError::Mismatch(format!("more than the announced {} bytes came", self.len)));
            }
            hasher.update(&piece);
            file.write_all(&piece).map_err(StoreError::Io)?;
        }
        if written != self.len {
            return Err(StoreError::Mismatch(format!("{written} bytes came, {} were announced", self.len)));
        }
        if hasher.finalize().as_bytes() != &self.hash {
            return Err(StoreError::Mismatch("the bytes do not have the announced hash; send them again".to_owned()));
        }
        file.sync_data().map_err(StoreError::Io)
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    match (options.open(path), path.parent()) {
        (Err(error), Some(parent)) if error.kind() == ErrorKind::NotFound => {
            fs::create_dir_all(parent)?;
            options.open(path)
        }
        (opened, _) => opened,
    }
}

/// Gives a durable file its name, unless the name is taken, and makes the name durable.
fn link(temporary: &Path, target: &Path) -> io::Result<Stored> {
    let parent = target.parent().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    create_folders(parent)?;
    let stored = match fs::hard_link(temporary, target) {
        Ok(()) => Stored::Created,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Stored::Exists,
        Err(error) => return Err(error),
    };
    // Also when it exists: who created it may still be syncing, and "exists" promises durable.
    File::open(parent)?.sync_all()?;
    Ok(stored)
}

/// Creates missing folders and makes each new name durable.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_folders(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    File::open(parent)?.sync_all()
}
