//! Where a vault lies: folders, and buckets of three providers.
//!
//! **Invariant**: opening a location makes no request; what is wrong with the words or the environment is told here,
//! what is wrong with the storage is told by the first call.

use std::sync::Arc;

use nightkeep_vault::store::Store;

use crate::cloud::CloudStore;
use crate::environment::Environment;
use crate::options::StorageOptions;
use crate::provider::{self, Place, Provider};

/// A location that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A folder's location is malformed.
    #[error(transparent)]
    Folder(#[from] nightkeep_vault::store::LocationError),
    /// The scheme is none that this version reaches.
    #[error(
        "cannot reach '{location}': a vault lies at a folder's path, file:///FOLDER, s3://BUCKET/PREFIX, \
         az://CONTAINER/PREFIX or gs://BUCKET/PREFIX"
    )]
    Scheme {
        /// The location as given.
        location: String,
    },
    /// No bucket is named.
    #[error("'{location}' names no bucket; write it as in s3://BUCKET/PREFIX")]
    Bucket {
        /// The location as given.
        location: String,
    },
    /// The prefix has letters that not every storage and tool treats alike.
    #[error("the prefix of '{location}' may hold letters, digits, '-', '_', '.' and single '/' only")]
    Prefix {
        /// The location as given.
        location: String,
    },
    /// The environment holds no credentials.
    #[error("no credentials for '{location}': set {variables}")]
    Credentials {
        /// The location as given.
        location: String,
        /// The variables that would do, in words.
        variables: &'static str,
    },
    /// The environment, or a file it names, makes no sense.
    #[error("'{location}' cannot be opened with what the environment says")]
    Environment {
        /// The location as given.
        location: String,
        /// What is wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether a location is reached over a network, so that its storage should be probed before a vault is made there.
pub fn is_remote(location: &str) -> bool {
    location.split_once("://").is_some_and(|(scheme, _)| scheme != "file")
}

/// Opens the store at a location, with credentials and settings from the process's environment.
pub fn open_location(location: &str) -> Result<Arc<dyn Store>, LocationError> {
    open_location_with(location, &StorageOptions::from_environment(Environment::of_process()))
}

/// Opens the store at a location with these settings.
pub fn open_location_with(location: &str, options: &StorageOptions) -> Result<Arc<dyn Store>, LocationError> {
    let Some((scheme, rest)) = location.split_once("://") else {
        return Ok(nightkeep_vault::store::open_location(location)?);
    };
    let provider = match scheme {
        "file" => return Ok(nightkeep_vault::store::open_location(location)?),
        "s3" => Provider::S3,
        "az" => Provider::Azure,
        "gs" => Provider::Google,
        _ => return Err(LocationError::Scheme { location: location.to_owned() }),
    };
    let place = place(location, rest)?;
    let backend = provider::open(provider, &place, &options.environment)?;
    let environment = |source| LocationError::Environment { location: location.to_owned(), source };
    let runtime = crate::runtime::handle().map_err(|error| environment(error.into()))?;
    Ok(Arc::new(CloudStore::new(backend, &place, provider, options.clone(), runtime)))
}

fn place(location: &str, rest: &str) -> Result<Place, LocationError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err(LocationError::Bucket { location: location.to_owned() });
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(letter);
    if !prefix.is_empty() && !prefix.split('/').all(part) {
        return Err(LocationError::Prefix { location: location.to_owned() });
    }
    let base = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    Ok(Place { location: location.strip_suffix('/').unwrap_or(location).to_owned(), bucket: bucket.to_owned(), base })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot open a good location has failed")]
    use super::*;

    fn parts(location: &str) -> Result<(String, String), String> {
        let rest = location.split_once("://").unwrap().1;
        place(location, rest).map(|place| (place.bucket, place.base)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_location_names_a_bucket_and_a_prefix() {
        let check = |location: &str, bucket: &str, base: &str| {
            assert_eq!(parts(location), Ok((bucket.to_owned(), base.to_owned())), "{location}");
        };
        check("s3://bucket", "bucket", "");
        check("s3://bucket/", "bucket", "");
        check("s3://bucket/a", "bucket", "a/");
        check("az://box/a/b-c.d_E/", "box", "a/b-c.d_E/");
    }

    #[test]
    fn what_would_be_misunderstood_is_refused() {
        for location in ["s3://", "s3:///prefix"] {
            assert!(parts(location).unwrap_err().contains("names no bucket"), "{location}");
        }
        for location in ["s3://b/a//b", "s3://b/../c", "s3://b/a b", "s3://b/ä", "s3://b/a?x"] {
            assert!(parts(location).unwrap_err().contains("may hold"), "{location}");
        }
        let unknown = open_location("ftp://server/vault").err().unwrap().to_string();
        assert!(unknown.contains("s3://BUCKET/PREFIX"), "{unknown}");
    }

    #[test]
    fn folders_are_opened_as_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().display().to_string();
        assert_eq!(open_location(&path).unwrap().location(), format!("file://{path}"));
        assert_eq!(open_location(&format!("file://{path}")).unwrap().location(), format!("file://{path}"));
        assert!(is_remote("s3://b/p") && !is_remote(&path) && !is_remote(&format!("file://{path}")));
    }
}
