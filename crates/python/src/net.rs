//! Requests to stores: the stores' client behind a blocking call that gives the interpreter away.
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_stores as stores;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::errors;
use crate::files::{Limits, lend};

/// Who signs requests.
#[pyclass(module = "holdfast._core")]
pub struct NetSigner {
    inner: Option<stores::Signer>,
}

fn account(id: String, secret: String, token: String, shared: Option<String>) -> stores::Account {
    match shared {
        Some(shared) => stores::Account::Shared(shared),
        None if secret.is_empty() => stores::Account::Machine,
        None => stores::Account::Given { id, secret, token },
    }
}

fn signer(found: Result<stores::Signer, stores::Error>) -> PyResult<NetSigner> {
    found
        .map(|inner| NetSigner { inner: Some(inner) })
        .map_err(errors::net)
}

#[pymethods]
impl NetSigner {
    #[staticmethod]
    fn none() -> Self {
        Self {
            inner: Some(stores::Signer::None),
        }
    }

    #[staticmethod]
    fn basic(encoded: &str) -> PyResult<Self> {
        signer(stores::Signer::basic(encoded))
    }

    #[staticmethod]
    #[pyo3(signature = (region, key_id=String::new(), secret=String::new(), token=String::new()))]
    fn aws(
        py: Python<'_>,
        region: &str,
        key_id: String,
        secret: String,
        token: String,
    ) -> PyResult<Self> {
        signer(py.detach(|| stores::Signer::aws(account(key_id, secret, token, None), region)))
    }

    #[staticmethod]
    #[pyo3(signature = (name, key=String::new(), shared=None))]
    fn azure(py: Python<'_>, name: &str, key: String, shared: Option<String>) -> PyResult<Self> {
        signer(py.detach(|| {
            stores::Signer::azure(account(String::new(), key, String::new(), shared), name)
        }))
    }

    #[staticmethod]
    #[pyo3(signature = (service_account=String::new()))]
    fn gcp(py: Python<'_>, service_account: String) -> PyResult<Self> {
        signer(py.detach(|| {
            stores::Signer::gcp(account(String::new(), service_account, String::new(), None))
        }))
    }
}

/// Sends requests to one store.
#[pyclass(frozen, module = "holdfast._core")]
pub struct NetClient {
    inner: stores::Client,
}

type Answer = (u16, Vec<(String, String)>, Py<PyBytes>);

#[pymethods]
impl NetClient {
    #[new]
    #[allow(clippy::too_many_arguments, reason = "as Python calls it")]
    #[pyo3(signature = (signer, limits, own=None, *, trusted=None, proxy=None, connect_seconds=10.0, stall_seconds=60.0))]
    fn new(
        py: Python<'_>,
        signer: &mut NetSigner,
        limits: Vec<PyRef<'_, Limits>>,
        own: Option<PyRef<'_, Limits>>,
        trusted: Option<Vec<u8>>,
        proxy: Option<String>,
        connect_seconds: f64,
        stall_seconds: f64,
    ) -> PyResult<Self> {
        let used = || stores::Error::Settings("a signer serves one client".to_owned());
        let signer = signer.inner.take().ok_or_else(|| errors::net(used()))?;
        let runs: Vec<_> = limits
            .iter()
            .map(|limits| Arc::clone(&limits.inner))
            .collect();
        let own = own.map_or_else(Arc::default, |own| Arc::clone(&own.inner));
        let connection = stores::Connection {
            trusted,
            proxy,
            connect: Duration::from_secs_f64(connect_seconds.clamp(0.001, 3600.0)),
            stall: Duration::from_secs_f64(stall_seconds.clamp(0.001, 86_400.0)),
        };
        py.detach(|| stores::Client::new(signer, &runs, &own, &connection))
            .map(|inner| Self { inner })
            .map_err(errors::net)
    }

    #[pyo3(signature = (method, url, headers, body=None, *, sha256=None, answer_bytes_max=1 << 20))]
    #[allow(clippy::too_many_arguments, reason = "as Python calls it")]
    fn request(
        &self,
        py: Python<'_>,
        method: &str,
        url: &str,
        headers: Vec<(String, String)>,
        body: Option<&Bound<'_, PyAny>>,
        sha256: Option<Vec<u8>>,
        answer_bytes_max: usize,
    ) -> PyResult<Answer> {
        let body = match body {
            Some(data) => Bytes::from_owner(lend(data)?),
            None => Bytes::new(),
        };
        let request = stores::Request {
            method,
            url,
            headers: &headers,
            body,
            sha256: sha256.as_deref(),
            answer_bytes_max,
        };
        let answer = py
            .detach(|| self.inner.request(&request))
            .map_err(errors::net)?;
        Ok((
            answer.status,
            answer.headers,
            PyBytes::new(py, &answer.body).unbind(),
        ))
    }
}

/// Adds the classes to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<NetSigner>()?;
    module.add_class::<NetClient>()
}
