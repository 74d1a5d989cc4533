//! One request, from its parts to its whole answer; blocking, on the process's one runtime.
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use holdfast_pipeline::limits::Limits;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use http_body_util::BodyExt;
use tokio::runtime::Runtime;

use crate::activity::Activity;
use crate::pace::{Pace, Paced, Way};
use crate::{Error, Signer};

/// Idle connections are kept so long.
const IDLE: Duration = Duration::from_secs(30);
const THREADS: usize = 2;

/// How a store is reached.
#[derive(Clone, Default)]
pub struct Connection {
    /// Certificates (PEM) that alone are trusted; `None`: the system's.
    pub trusted: Option<Vec<u8>>,
    /// The URL of a proxy; `None`: none, whatever the environment says.
    pub proxy: Option<String>,
    /// Longest time to connect.
    pub connect: Duration,
    /// Longest time without any movement.
    pub stall: Duration,
}

/// A request.
pub struct Request<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its whole URL, encoded.
    pub url: &'a str,
    /// Its headers; length and authorization are added.
    pub headers: &'a [(String, String)],
    /// Its body.
    pub body: Bytes,
    /// The SHA-256 of the body, where the signature is over it; not looked at without a body.
    pub sha256: Option<&'a [u8]>,
    /// Longest answer that is taken.
    pub answer_bytes_max: usize,
}

/// An answer, whatever its status.
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers that are text; names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// Sends requests to one store. Connections are kept between them.
pub struct Client {
    http: reqwest::Client,
    signer: Signer,
    pace: Pace,
    stall: Duration,
}

fn runtime() -> Result<&'static Runtime, Error> {
    static RUNTIME: OnceLock<Result<Runtime, Error>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(THREADS)
                .thread_name("holdfast-net")
                .enable_io()
                .enable_time()
                .build()
                .map_err(|_| Error::Settings("no threads for the network".to_owned()))
        })
        .as_ref()
        .map_err(Clone::clone)
}

impl Client {
    /// A client that keeps to all of the limits: those of runs, and the store's own.
    pub fn new(
        signer: Signer,
        runs: &[Arc<Limits>],
        own: &Arc<Limits>,
        connection: &Connection,
    ) -> Result<Self, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("holdfast/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .no_proxy()
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(connection.connect)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true);
        if let Some(pem) = &connection.trusted {
            let unfit = |_| Error::Settings("the file of certificates holds none".to_owned());
            let trusted = reqwest::Certificate::from_pem_bundle(pem).map_err(unfit)?;
            if trusted.is_empty() {
                return Err(Error::Settings(
                    "the file of certificates holds none".to_owned(),
                ));
            }
            builder = builder.tls_certs_only(trusted);
        }
        if let Some(proxy) = &connection.proxy {
            let unfit = |_| Error::Settings("the proxy's URL makes no sense".to_owned());
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(unfit)?);
        }
        let http = builder.build().map_err(|_| {
            Error::Settings("no TLS for the store: is a certificate unreadable?".to_owned())
        })?;
        Ok(Self {
            http,
            signer,
            pace: Pace::new(runs, own),
            stall: connection.stall,
        })
    }

    /// Sends a request once and returns the whole answer. Blocks; not to be called from the runtime itself.
    pub fn request(&self, request: &Request<'_>) -> Result<Response, Error> {
        let activity = Activity::new();
        runtime()?.block_on(async {
            tokio::select! {
                answer = self.send(request, &activity) => answer,
                () = activity.stall(self.stall) => Err(Error::Stalled(self.stall.as_secs())),
            }
        })
    }

    async fn send(&self, request: &Request<'_>, activity: &Activity) -> Result<Response, Error> {
        let method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| Error::Settings("no method of HTTP".to_owned()))?;
        let mut uri: Uri = request
            .url
            .parse()
            .map_err(|_| Error::Settings("the address of the store makes no request".to_owned()))?;
        let mut headers = headers_of(request)?;
        self.signer
            .sign(
                &method,
                &mut uri,
                &mut headers,
                request.sha256.filter(|_| !request.body.is_empty()),
            )
            .await?;
        let is_head = method == Method::HEAD;
        let mut sending = self.http.request(method, uri.to_string()).headers(headers);
        if !request.body.is_empty() {
            let body = Paced::new(request.body.clone(), self.pace.clone(), activity.clone());
            sending = sending.body(reqwest::Body::wrap(body));
        }
        let answer = sending.send().await.map_err(|error| Error::of(&error))?;
        activity.touch();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let body = if is_head {
            Vec::new()
        } else {
            self.read(answer.into(), &headers, request.answer_bytes_max, activity)
                .await?
        };
        let headers = headers
            .iter()
            .filter_map(|(name, value)| {
                Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
            })
            .collect();
        Ok(Response {
            status,
            headers,
            body,
        })
    }

    async fn read(
        &self,
        answer: http::Response<reqwest::Body>,
        headers: &HeaderMap,
        longest: usize,
        activity: &Activity,
    ) -> Result<Vec<u8>, Error> {
        let told: Option<usize> = headers
            .get(CONTENT_LENGTH)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        if told.is_some_and(|told| told > longest) {
            return Err(Error::TooLong(longest));
        }
        let mut found = Vec::with_capacity(told.unwrap_or(0));
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Error::of(&error))?;
            activity.touch();
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if found.len() + data.len() > longest {
                return Err(Error::TooLong(longest));
            }
            self.pace.wait(Way::Down, data.len(), activity).await;
            found.extend_from_slice(&data);
        }
        // An answer that ends with its connection could end anywhere.
        let bounded = told.is_some() || headers.contains_key(TRANSFER_ENCODING) || found.is_empty();
        if !bounded || told.is_some_and(|told| told != found.len()) {
            return Err(Error::Broken("the answer has no end of its own".to_owned()));
        }
        Ok(found)
    }
}

fn headers_of(request: &Request<'_>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 8);
    for (name, value) in request.headers {
        let unfit = || Error::Settings("a header that cannot be sent".to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| unfit())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| unfit())?);
    }
    if !request.body.is_empty() || matches!(request.method, "PUT" | "POST") {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    }
    Ok(headers)
}
