//! Who signs a request, and where the credential is from. Signatures and credential services are `object_store`'s.
use std::sync::Arc;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Uri};
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential, AwsCredentialProvider};
use object_store::azure::{
    AzureAccessKey, AzureAuthorizer, AzureCredential, AzureCredentialProvider,
    MicrosoftAzureBuilder,
};
use object_store::client::{ClientOptions, HttpRequest, HttpRequestBody, StaticCredentialProvider};
use object_store::gcp::{GcpCredentialProvider, GoogleCloudStorageBuilder};
use object_store::{BackoffConfig, RetryConfig};

use crate::Error;

/// Longest wait for a service that gives out credentials.
const CREDENTIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// A credential, or where one is to be had.
pub enum Account {
    /// It is given.
    Given {
        /// The key's id (S3), or empty.
        id: String,
        /// The secret: an access key, an account key, the JSON of a service account.
        secret: String,
        /// The token of a temporary access key, or empty.
        token: String,
    },
    /// A shared access signature (Azure).
    Shared(String),
    /// The process's environment and the machine's own role, as the vendor's tools look for them.
    Machine,
}

/// Adds to a request what proves who sends it.
pub enum Signer {
    /// Nothing.
    None,
    /// A fixed `Authorization` header.
    Fixed(HeaderValue),
    /// AWS signature, version 4.
    Aws {
        /// Renews temporary keys by itself.
        keys: AwsCredentialProvider,
        /// The region that is signed.
        region: String,
    },
    /// Azure's shared key, shared access signature or token.
    Azure {
        /// Renews tokens by itself.
        keys: AzureCredentialProvider,
        /// The storage account.
        account: String,
    },
    /// A bearer token of Google Cloud.
    Gcp(GcpCredentialProvider),
}

fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 2,
        retry_timeout: CREDENTIAL_TIMEOUT,
    }
}

fn options() -> ClientOptions {
    ClientOptions::new().with_timeout(CREDENTIAL_TIMEOUT)
}

// What the vendor's credential said may repeat the credential: only its kind is told.
#[allow(clippy::needless_pass_by_value)]
fn unfit<E>(_: E) -> Error {
    Error::Settings(
        "the store's credential is not of the form that its service gives out".to_owned(),
    )
}

impl Signer {
    /// Basic authentication.
    pub fn basic(encoded: &str) -> Result<Self, Error> {
        HeaderValue::from_str(&format!("Basic {encoded}"))
            .map(|mut value| {
                value.set_sensitive(true);
                Self::Fixed(value)
            })
            .map_err(|_| Error::Settings("the name or password cannot be sent".to_owned()))
    }

    /// Signs for S3.
    pub fn aws(account: Account, region: &str) -> Result<Self, Error> {
        let keys = match account {
            Account::Given { id, secret, token } => {
                let credential = AwsCredential {
                    key_id: id,
                    secret_key: secret,
                    token: Some(token).filter(|token| !token.is_empty()),
                };
                Arc::new(StaticCredentialProvider::new(credential)) as AwsCredentialProvider
            }
            Account::Shared(_) => {
                return Err(Error::Settings("S3 has no shared signatures".to_owned()));
            }
            Account::Machine => Arc::clone(
                AmazonS3Builder::from_env()
                    .with_bucket_name("holdfast")
                    .with_region(region)
                    .with_retry(retry())
                    .with_client_options(options())
                    .build()
                    .map_err(unfit)?
                    .credentials(),
            ),
        };
        Ok(Self::Aws {
            keys,
            region: region.to_owned(),
        })
    }

    /// Signs for Azure.
    pub fn azure(given: Account, account: &str) -> Result<Self, Error> {
        let builder = MicrosoftAzureBuilder::new()
            .with_account(account)
            .with_container_name("holdfast");
        let keys = match given {
            Account::Given { secret, .. } => {
                let key =
                    AzureCredential::AccessKey(AzureAccessKey::try_new(&secret).map_err(unfit)?);
                Arc::new(StaticCredentialProvider::new(key)) as AzureCredentialProvider
            }
            Account::Shared(signature) => {
                let built = builder
                    .with_config(object_store::azure::AzureConfigKey::SasKey, signature)
                    .build()
                    .map_err(unfit)?;
                Arc::clone(built.credentials())
            }
            Account::Machine => Arc::clone(
                MicrosoftAzureBuilder::from_env()
                    .with_account(account)
                    .with_container_name("holdfast")
                    .with_retry(retry())
                    .with_client_options(options())
                    .build()
                    .map_err(unfit)?
                    .credentials(),
            ),
        };
        Ok(Self::Azure {
            keys,
            account: account.to_owned(),
        })
    }

    /// Signs for Google Cloud.
    pub fn gcp(account: Account) -> Result<Self, Error> {
        let builder = match account {
            Account::Given { secret, .. } => {
                GoogleCloudStorageBuilder::new().with_service_account_key(secret)
            }
            Account::Shared(_) => {
                return Err(Error::Settings(
                    "Google Cloud has no shared signatures".to_owned(),
                ));
            }
            Account::Machine => GoogleCloudStorageBuilder::from_env(),
        };
        let built = builder
            .with_bucket_name("holdfast")
            .with_retry(retry())
            .with_client_options(options())
            .build()
            .map_err(unfit)?;
        Ok(Self::Gcp(Arc::clone(built.credentials())))
    }

    /// Adds the proof. May change the URI (shared access signatures); a body is signed by its digest alone.
    pub(crate) async fn sign(
        &self,
        method: &Method,
        uri: &mut Uri,
        headers: &mut HeaderMap,
        sha256: Option<&[u8]>,
    ) -> Result<(), Error> {
        match self {
            Self::None => return Ok(()),
            Self::Fixed(value) => {
                headers.insert(AUTHORIZATION, value.clone());
                return Ok(());
            }
            Self::Gcp(keys) => {
                let key = keys.get_credential().await.map_err(|_| Error::Credential)?;
                let mut value = HeaderValue::from_str(&format!("Bearer {}", key.bearer))
                    .map_err(|_| Error::Credential)?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
                return Ok(());
            }
            Self::Aws { .. } | Self::Azure { .. } => {}
        }
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = std::mem::take(headers);
        match self {
            Self::Aws { keys, region } => {
                let key = keys.get_credential().await.map_err(|_| Error::Credential)?;
                AwsAuthorizer::new(&key, "s3", region)
                    .try_authorize(&mut request, sha256)
                    .map_err(|_| Error::Credential)?;
            }
            Self::Azure { keys, account } => {
                let key = keys.get_credential().await.map_err(|_| Error::Credential)?;
                AzureAuthorizer::new(&key, account)
                    .try_authorize(&mut request)
                    .map_err(|_| Error::Credential)?;
            }
            Self::None | Self::Fixed(_) | Self::Gcp(_) => {}
        }
        let (parts, _) = request.into_parts();
        *uri = parts.uri;
        *headers = parts.headers;
        Ok(())
    }
}
