//! Copying live segments of old packs into a new one: the pruner's part, which needs no key to content.
use std::collections::HashSet;

use holdfast_engine as engine;
use holdfast_engine::pack::{FinishedPack, read_pack};
use holdfast_engine::repack::RepackBuilder;
use holdfast_engine::{Error, Origin, PackNonce};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::errors;
use crate::keys::{ClassKeys, fixed};

/// A whole pack, and which of its segments are wanted: (origin, ordinal).
type Source = (PyBackedBytes, Vec<(PyBackedBytes, u32)>);
type Packed<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);
type Wanted = HashSet<(Origin, u32)>;

/// One new pack with the wanted segments of whole packs: its name, its bytes, its record.
#[pyfunction]
fn repack<'py>(
    py: Python<'py>,
    keys: &ClassKeys,
    nonce: &[u8],
    sources: Vec<Source>,
) -> PyResult<Packed<'py>> {
    let nonce = PackNonce(fixed(nonce, "nonce")?);
    let wanted = sources
        .iter()
        .map(|(_, segments)| {
            let named = |(origin, ordinal): &(PyBackedBytes, u32)| {
                Ok((Origin(fixed(origin, "origin")?), *ordinal))
            };
            segments.iter().map(named).collect::<PyResult<Wanted>>()
        })
        .collect::<PyResult<Vec<_>>>()?;
    let packs: Vec<(&[u8], Wanted)> = sources
        .iter()
        .map(|(pack, _)| &pack[..])
        .zip(wanted)
        .collect();
    let finished = py
        .detach(|| copy(&keys.inner, nonce, packs))
        .map_err(errors::engine)?;
    Ok((
        PyBytes::new(py, &finished.name.0),
        PyBytes::new(py, &finished.bytes),
        PyBytes::new(py, &finished.record.encode()),
    ))
}

fn copy(
    keys: &std::sync::Arc<engine::ClassKeys>,
    nonce: PackNonce,
    sources: Vec<(&[u8], Wanted)>,
) -> Result<FinishedPack, Error> {
    let mut builder: Option<RepackBuilder> = None;
    for (pack, mut wanted) in sources {
        let contents = read_pack(keys, pack)?;
        let builder = builder
            .get_or_insert_with(|| RepackBuilder::new(keys.clone(), contents.header.kind, nonce));
        for segment in &contents.record.directory.segments {
            let origin = contents.header.segment_head(segment)?.nonce.origin();
            if wanted.remove(&(origin, segment.ordinal)) {
                let range = segment.offset as usize..segment.end() as usize;
                let sealed = pack.get(range).ok_or(Error::Damaged {
                    what: "pack is cut short",
                })?;
                builder.add(&contents.header, segment, sealed)?;
            }
        }
        if !wanted.is_empty() {
            return Err(Error::Missing {
                what: "a segment to be copied",
            });
        }
    }
    builder
        .ok_or(Error::Misuse {
            what: "a pack of nothing",
        })?
        .finish(0)
}

/// Adds the function to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(repack, module)?)
}
