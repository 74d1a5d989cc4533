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
        // At one layer only: the request that needs the credential is tried again as a whole.
        max_retries: 0,
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

#[cfg(test)]
mod tests {
    //! Each account signs as its service wants it, or says why it cannot; no text repeats a secret.
    use super::*;

    fn sign(signer: &Signer, address: &str) -> Result<(Uri, HeaderMap), Error> {
        let mut uri: Uri = address.parse().expect("an address");
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("store.example"));
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(signer.sign(&Method::PUT, &mut uri, &mut headers, Some(&[7; 32])))?;
        Ok((uri, headers))
    }

    fn given(id: &str, secret: &str, token: &str) -> Account {
        Account::Given {
            id: id.to_owned(),
            secret: secret.to_owned(),
            token: token.to_owned(),
        }
    }

    fn refused(signer: Result<Signer, Error>) -> String {
        let error = signer.err().expect("refused");
        assert_eq!(error.code(), "net-settings");
        let text = error.to_string();
        assert!(!text.contains("hunter2"));
        text
    }

    #[test]
    fn nobody_and_a_name_with_a_password() {
        let (_, headers) = sign(&Signer::None, "http://store.example/a").expect("nothing to do");
        assert!(headers.get(AUTHORIZATION).is_none());
        let basic = Signer::basic("YTpi").expect("plain text");
        let (_, headers) = sign(&basic, "http://store.example/a").expect("a header");
        assert_eq!(headers.get(AUTHORIZATION).expect("set"), "Basic YTpi");
        refused(Signer::basic("hunter2\n"));
    }

    #[test]
    fn s3_signs_with_a_key_and_its_token() {
        let signer = Signer::aws(given("AKID", "secret", "token"), "eu-1").expect("a key");
        let (_, headers) = sign(&signer, "http://store.example/bucket/pack").expect("signed");
        let proof = headers.get(AUTHORIZATION).expect("set").to_str();
        let proof = proof.expect("text");
        assert!(proof.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"));
        assert!(proof.contains("/eu-1/s3/aws4_request"));
        assert_eq!(headers.get("x-amz-security-token").expect("set"), "token");
        refused(Signer::aws(Account::Shared("hunter2".to_owned()), "eu-1"));
    }

    #[test]
    fn azure_signs_with_a_key_or_a_shared_signature() {
        let signer = Signer::azure(given("", "c2VjcmV0", ""), "site").expect("a key");
        let (_, headers) = sign(&signer, "http://store.example/c/pack").expect("signed");
        let proof = headers.get(AUTHORIZATION).expect("set").to_str();
        assert!(proof.expect("text").starts_with("SharedKey site:"));
        let shared = Account::Shared("sv=2024-01-01&sig=abc".to_owned());
        let signer = Signer::azure(shared, "site").expect("a signature");
        let (uri, _) = sign(&signer, "http://store.example/c/pack").expect("signed");
        assert!(uri.query().expect("a query").contains("sig=abc"));
        refused(Signer::azure(
            given("", "hunter2 is no base64!", ""),
            "site",
        ));
    }

    #[test]
    fn google_wants_the_json_of_an_account() {
        refused(Signer::gcp(given("", "hunter2", "")));
        refused(Signer::gcp(Account::Shared("hunter2".to_owned())));
    }
}
