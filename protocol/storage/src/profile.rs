//! Credentials from AWS's own file, for machines where its tools are set up.
//!
//! **Invariant**: the file is read anew for every request, so that renewed credentials count at once, also in the middle
//! of a run.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;

use crate::environment::Environment;

/// A credentials file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProfileError {
    /// There is a profile's name and no file.
    #[error("AWS_PROFILE is '{0}', and AWS_SHARED_CREDENTIALS_FILE names no file")]
    NoFile(String),
    /// The file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The profile is not in it, or lacks a key.
    #[error("{} has no profile '{profile}' with aws_access_key_id and aws_secret_access_key", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// The profile.
        profile: String,
    },
}

/// A profile in a credentials file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileFile {
    path: PathBuf,
    profile: String,
}

impl ProfileFile {
    /// The profile the environment names: by `AWS_PROFILE`, by `AWS_SHARED_CREDENTIALS_FILE`, or by a file at the usual
    /// place.
    pub(crate) fn named_by(environment: &Environment) -> Result<Option<Self>, ProfileError> {
        let home = environment.get("HOME").or_else(|| environment.get("USERPROFILE")).map(PathBuf::from);
        let usual = home.map(|home| home.join(".aws").join("credentials")).filter(|path| path.exists());
        let path = environment.get("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from).or(usual);
        let profile = environment.get("AWS_PROFILE").map(str::to_owned);
        match (path, profile) {
            (Some(path), profile) => Ok(Some(Self { path, profile: profile.unwrap_or_else(|| "default".to_owned()) })),
            (None, Some(profile)) => Err(ProfileError::NoFile(profile)),
            (None, None) => Ok(None),
        }
    }

    fn read(&self) -> Result<AwsCredential, ProfileError> {
        let text = std::fs::read_to_string(&self.path)
            .map_err(|source| ProfileError::Read { path: self.path.clone(), source })?;
        credential(&text, &self.profile)
            .ok_or_else(|| ProfileError::Profile { path: self.path.clone(), profile: self.profile.clone() })
    }
}

#[async_trait::async_trait]
impl CredentialProvider for ProfileFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let read = self.read();
        read.map(Arc::new)
            .map_err(|source| object_store::Error::Generic { store: "credentials", source: Box::new(source) })
    }
}

/// The credential of a profile, in a text of `[sections]` with `key = value` lines.
fn credential(text: &str, profile: &str) -> Option<AwsCredential> {
    let mut inside = false;
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = name.trim() == profile;
        } else if inside && let Some((key, value)) = line.split_once('=') {
            let value = Some(value.trim().to_owned());
            match key.trim() {
                "aws_access_key_id" => key_id = value,
                "aws_secret_access_key" => secret_key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(AwsCredential { key_id: key_id?, secret_key: secret_key?, token })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that finds nothing has failed")]
    use super::credential;

    const TEXT: &str = "# ours\n[default]\naws_access_key_id = A\naws_secret_access_key=B=\n\n[ other ]\n\
        aws_access_key_id = C\naws_secret_access_key = D\naws_session_token = E\nregion = x\n[half]\naws_access_key_id = F\n";

    #[test]
    fn the_named_profile_counts_and_only_whole() {
        let found = credential(TEXT, "default").unwrap();
        assert_eq!((found.key_id.as_str(), found.secret_key.as_str(), found.token), ("A", "B=", None));
        let found = credential(TEXT, "other").unwrap();
        assert_eq!((found.key_id.as_str(), found.token.as_deref()), ("C", Some("E")));
        assert!(credential(TEXT, "half").is_none());
        assert!(credential(TEXT, "none").is_none());
    }
}
