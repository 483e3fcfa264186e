//! Makes the client of a provider from what the environment says.
//!
//! **Invariant**: a machine without credentials is told so at once; no metadata service is asked that nobody named, since
//! outside of its cloud it answers with minutes of silence.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::RetryConfig;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::list::PaginatedListStore;

use crate::environment::Environment;
use crate::location::LocationError;
use crate::profile::ProfileFile;
use crate::transport::Transport;

/// Whose storage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provider {
    /// Amazon S3 and what speaks its protocol.
    S3,
    /// Azure Blob Storage.
    Azure,
    /// Google Cloud Storage.
    Google,
}

/// Where in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The whole location, for messages.
    pub(crate) location: String,
    /// The bucket, or the container.
    pub(crate) bucket: String,
    /// What every object's name begins with: nothing, or a prefix that ends in `/`.
    pub(crate) base: String,
}

/// What a provider's client can do for us.
pub(crate) trait Backend: ObjectStore + PaginatedListStore {}

impl<T: ObjectStore + PaginatedListStore> Backend for T {}

const S3_VARIABLES: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (with AWS_SESSION_TOKEN for temporary ones), or \
     AWS_PROFILE and a credentials file, or AWS_METADATA_ENDPOINT=http://169.254.169.254 for an instance's role";
const AZURE_VARIABLES: &str = "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, or \
     AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID, or AZURE_MSI_ENDPOINT for a managed identity";
const GOOGLE_VARIABLES: &str =
    "GOOGLE_APPLICATION_CREDENTIALS to the path of a key file, or GOOGLE_SERVICE_ACCOUNT_KEY";

/// The client of a provider. Its own retries are off: ours sign anew, and know what may be repeated.
pub(crate) fn open(
    provider: Provider,
    place: &Place,
    environment: &Environment,
) -> Result<Arc<dyn Backend>, LocationError> {
    let transport = Transport::new().map_err(|error| strange(place, error))?;
    let once = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    match provider {
        Provider::S3 => s3(place, environment, transport, once),
        Provider::Azure => azure(place, environment, transport, once),
        Provider::Google => google(place, environment, transport, once),
    }
}

fn strange(place: &Place, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> LocationError {
    LocationError::Environment { location: place.location.clone(), source: error.into() }
}

/// Refuses when none of these variables is set.
fn one_of(
    place: &Place,
    environment: &Environment,
    names: &[&str],
    variables: &'static str,
) -> Result<(), LocationError> {
    if names.iter().any(|name| environment.get(name).is_some()) {
        return Ok(());
    }
    Err(LocationError::Credentials { location: place.location.clone(), variables })
}

fn s3(
    place: &Place,
    environment: &Environment,
    transport: Transport,
    once: RetryConfig,
) -> Result<Arc<dyn Backend>, LocationError> {
    let mut builder = AmazonS3Builder::new();
    for (name, value) in environment.beginning("AWS_") {
        // The provider's tools know more variables than matter here.
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder
        .with_bucket_name(&place.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // Not every storage that speaks S3 knows the request that deletes many; one by one all do.
        .with_disable_bulk_delete(true)
        .with_http_connector(transport)
        .with_retry(once);
    let file = ProfileFile::named_by(environment).map_err(|error| strange(place, error))?;
    match file {
        Some(file) if environment.get("AWS_ACCESS_KEY_ID").is_none() => {
            builder = builder.with_credentials(Arc::new(file))
        }
        Some(_) | None => one_of(
            place,
            environment,
            &[
                "AWS_ACCESS_KEY_ID",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_METADATA_ENDPOINT",
            ],
            S3_VARIABLES,
        )?,
    }
    Ok(Arc::new(builder.build().map_err(|error| strange(place, error))?))
}

fn azure(
    place: &Place,
    environment: &Environment,
    transport: Transport,
    once: RetryConfig,
) -> Result<Arc<dyn Backend>, LocationError> {
    one_of(
        place,
        environment,
        &[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_STORAGE_TOKEN",
            "AZURE_CLIENT_ID",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_MSI_ENDPOINT",
        ],
        AZURE_VARIABLES,
    )?;
    let mut builder = MicrosoftAzureBuilder::new();
    for (name, value) in environment.beginning("AZURE_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_container_name(&place.bucket).with_http_connector(transport).with_retry(once);
    Ok(Arc::new(builder.build().map_err(|error| strange(place, error))?))
}

fn google(
    place: &Place,
    environment: &Environment,
    transport: Transport,
    once: RetryConfig,
) -> Result<Arc<dyn Backend>, LocationError> {
    one_of(
        place,
        environment,
        &[
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_BEARER_TOKEN",
            "GOOGLE_SKIP_SIGNATURE",
        ],
        GOOGLE_VARIABLES,
    )?;
    let mut builder = GoogleCloudStorageBuilder::new();
    for (name, value) in environment.beginning("GOOGLE_") {
        if let Ok(key) = name.to_ascii_lowercase().parse() {
            builder = builder.with_config(key, value);
        }
    }
    builder = builder.with_bucket_name(&place.bucket).with_http_connector(transport).with_retry(once);
    Ok(Arc::new(builder.build().map_err(|error| strange(place, error))?))
}
