//! A failed command as people and scripts see it: a code, what happened, what to do.

use nightkeep_vault::vault::VaultError;

use super::exit::Exit;

/// Why a command failed. As an error it may be returned from anywhere below [`super::main`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What scripts decide by: lower-case words with dashes.
    pub(crate) code: &'static str,
    /// What happened, naming the input.
    pub(crate) message: String,
    /// What to do, when that is not in the message.
    pub(crate) remedy: Option<String>,
}

impl Failure {
    /// A plain failure (exit code 1).
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, code, message: message.into(), remedy: None }
    }

    /// Arguments that do not make sense (exit code 2).
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new("usage", message) }
    }

    /// With advice.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The failure an error stands for: its own where it is one, else by the vault's error in its chain.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(failure) = error.downcast_ref::<Self>() {
            return failure.clone();
        }
        let (exit, code) = error.chain().find_map(known_cause).unwrap_or((Exit::Failed, "failed"));
        Self { exit, code, message: format!("{error:#}"), remedy: None }
    }
}

fn known_cause(cause: &(dyn std::error::Error + 'static)) -> Option<(Exit, &'static str)> {
    match cause.downcast_ref::<VaultError>()? {
        VaultError::NoVault { .. } => Some((Exit::NoVault, "no-vault")),
        VaultError::WrongPassphrase { .. } => Some((Exit::WrongPassphrase, "wrong-passphrase")),
        VaultError::WrongKey { .. } => Some((Exit::WrongPassphrase, "wrong-key")),
        VaultError::Exists { .. } => Some((Exit::Failed, "vault-exists")),
        VaultError::Forged { .. }
        | VaultError::NotOwner { .. }
        | VaultError::Object { .. }
        | VaultError::Pack { .. }
        | VaultError::Missing { .. }
        | VaultError::Conflict { .. }
        | VaultError::Fenced { .. }
        | VaultError::Slot(_)
        | VaultError::Index(_)
        | VaultError::Store(_) => Some((Exit::Failed, "vault")),
    }
}
