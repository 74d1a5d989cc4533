//! Index runs and the local index: sorted files, mapped, looked up together.
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use holdfast_engine::index_set::IndexSet;
use holdfast_engine::pack::read_pack;
use holdfast_engine::record::{IndexRecord, encode_run, parse_run};
use holdfast_engine::refs::RefSet;
use holdfast_engine::repack::RepackBuilder;
use holdfast_engine::sorted::{SortedIndex, write_sorted};
use holdfast_engine::{ClassId, Error, Generation, Origin, PackNonce, merge};
use memmap2::Mmap;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::affected::{Row, rows};
use crate::errors;
use crate::keys::{ClassKeys, fixed, pack_names};

/// A pack as the index knows it.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct PackRow {
    name: Py<PyBytes>,
    size: u64,
    kind: u8,
    class_id: u16,
    generation: u32,
    segments: u32,
    plain_bytes: u64,
}

/// Where a segment is.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct SegmentPlace {
    pack: Py<PyBytes>,
    pack_bytes: u64,
    offset: u64,
    sealed_len: u32,
    plain_len: u32,
    ordinal: u32,
    kind: u8,
    class_id: u16,
    generation: u32,
    chunks: usize,
}

/// How much an index lists.
#[pyclass(frozen, get_all, module = "holdfast._core")]
pub struct IndexCounts {
    packs: u64,
    segments: u64,
    chunks: u64,
}

/// Sorted runs, looked up together.
#[pyclass(frozen, module = "holdfast._core")]
pub struct Index {
    /// The engine's own.
    pub inner: Arc<IndexSet>,
}

#[pymethods]
impl Index {
    #[new]
    fn new(py: Python<'_>, members: Vec<(String, bool)>) -> PyResult<Self> {
        py.detach(|| {
            let inner = IndexSet::new();
            for (path, dedup) in members {
                inner.add(open_sorted(Path::new(&path))?, dedup);
            }
            Ok(Self {
                inner: Arc::new(inner),
            })
        })
        .map_err(errors::engine)
    }

    /// Adds one more sorted file; lookups under way see it or not.
    fn add(&self, py: Python<'_>, path: String, dedup: bool) -> PyResult<()> {
        let member = py
            .detach(|| open_sorted(Path::new(&path)))
            .map_err(errors::engine)?;
        self.inner.add(member, dedup);
        Ok(())
    }

    #[staticmethod]
    #[pyo3(signature = (run_payloads, class_id, generation, out))]
    fn write_sorted(
        py: Python<'_>,
        run_payloads: Vec<PyBackedBytes>,
        class_id: u16,
        generation: u32,
        out: &str,
    ) -> PyResult<()> {
        py.detach(|| {
            let mut records = Vec::new();
            for payload in &run_payloads {
                records.extend(parse_run(payload)?);
            }
            write_whole(Path::new(out), |file| {
                write_sorted(&records, ClassId(class_id), Generation(generation), file)
            })
        })
        .map_err(errors::engine)
    }

    #[staticmethod]
    #[pyo3(name = "merge")]
    fn merge_files(
        py: Python<'_>,
        paths: Vec<String>,
        out: &str,
        drop: Vec<Vec<u8>>,
    ) -> PyResult<()> {
        let dropped: HashSet<_> = pack_names(&drop)?.into_iter().collect();
        py.detach(|| {
            let members = paths
                .iter()
                .map(|path| open_sorted(Path::new(path)))
                .collect::<Result<Vec<_>, _>>()?;
            let inputs: Vec<&SortedIndex> = members.iter().collect();
            write_whole(Path::new(out), |file| merge::merge(&inputs, &dropped, file))
        })
        .map_err(errors::engine)
    }

    fn exclude(&self, packs: Vec<Vec<u8>>) -> PyResult<()> {
        self.inner.exclude(&pack_names(&packs)?);
        Ok(())
    }

    fn packs(&self, py: Python<'_>) -> PyResult<Vec<PackRow>> {
        let rows = py.detach(|| self.inner.packs()).map_err(errors::engine)?;
        Ok(rows.iter().map(|row| pack_row(py, row)).collect())
    }

    fn packs_between(
        &self,
        py: Python<'_>,
        origin: &[u8],
        first: u64,
        end: u64,
    ) -> PyResult<Vec<PackRow>> {
        let origin = Origin(fixed(origin, "origin")?);
        let rows = py
            .detach(|| self.inner.packs_between(&origin, first..end))
            .map_err(errors::engine)?;
        Ok(rows.into_iter().map(|row| pack_row(py, &row)).collect())
    }

    fn segments_of(&self, py: Python<'_>, packs: Vec<Vec<u8>>) -> PyResult<Vec<Row>> {
        let packs = pack_names(&packs)?.into_iter().collect();
        let found = py
            .detach(|| self.inner.segments_of(&packs))
            .map_err(errors::engine)?;
        Ok(rows(py, &found))
    }

    fn counts(&self) -> IndexCounts {
        let counts = self.inner.counts();
        IndexCounts {
            packs: counts.packs,
            segments: counts.segments,
            chunks: counts.chunks,
        }
    }

    fn has_segment(&self, origin: &[u8], ordinal: u32) -> PyResult<bool> {
        self.inner
            .has_segment(&Origin(fixed(origin, "origin")?), ordinal)
            .map_err(errors::engine)
    }

    fn find_segment(
        &self,
        py: Python<'_>,
        origin: &[u8],
        ordinal: u32,
    ) -> PyResult<Option<SegmentPlace>> {
        let places = self
            .inner
            .lookup_segment(&Origin(fixed(origin, "origin")?), ordinal)
            .map_err(errors::engine)?;
        Ok(places.into_iter().next().map(|place| SegmentPlace {
            pack: PyBytes::new(py, &place.pack.0).unbind(),
            pack_bytes: place.pack_bytes,
            offset: place.offset,
            sealed_len: place.sealed_len,
            plain_len: place.plain_len,
            ordinal: place.ordinal,
            kind: place.kind as u8,
            class_id: place.class.0,
            generation: place.generation.0,
            chunks: place.chunks.len(),
        }))
    }
}

fn pack_row(py: Python<'_>, row: &holdfast_engine::sorted::PackRow) -> PackRow {
    PackRow {
        name: PyBytes::new(py, &row.name.0).unbind(),
        size: row.size,
        kind: row.kind as u8,
        class_id: row.class.0,
        generation: row.generation.0,
        segments: row.segments,
        plain_bytes: row.plain_bytes,
    }
}

/// Maps a sorted file.
// Sorted files are written whole, renamed into place and never changed, so a mapping does not shift under its reader.
#[allow(unsafe_code)]
pub fn open_sorted(path: &Path) -> Result<SortedIndex, Error> {
    let file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return SortedIndex::open(Box::new(Vec::new()));
    }
    // SAFETY: see above; the file is private to this user's state folder.
    let mapped = unsafe { Mmap::map(&file)? };
    SortedIndex::open(Box::new(mapped))
}

/// Writes a file under a temporary name and renames it when it is whole.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> Result<(), Error>,
) -> Result<(), Error> {
    let temporary = path.with_extension("new");
    let mut file = BufWriter::with_capacity(1 << 20, File::create(&temporary)?);
    write(&mut file)?;
    file.flush()?;
    drop(file);
    std::fs::rename(&temporary, path)?;
    Ok(())
}

/// One pack's record as in an index run, from the pack itself.
#[pyfunction]
fn read_directory<'py>(
    py: Python<'py>,
    keys: &ClassKeys,
    pack: PyBackedBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let contents = py
        .detach(|| read_pack(&keys.inner, &pack))
        .map_err(errors::engine)?;
    Ok(PyBytes::new(py, &contents.record.encode()))
}

/// An index run's plaintext from records.
#[pyfunction(name = "encode_run")]
fn encode_run_py(py: Python<'_>, records: Vec<PyBackedBytes>) -> PyResult<Bound<'_, PyBytes>> {
    let parsed = records
        .iter()
        .map(|record| IndexRecord::parse(record))
        .collect::<Result<Vec<_>, _>>()
        .map_err(errors::engine)?;
    Ok(PyBytes::new(py, &encode_run(&parsed)))
}

type RepackSource = (PyBackedBytes, Vec<(Vec<u8>, u32)>);
type Repacked = (Py<PyBytes>, Py<PyBytes>, Py<PyBytes>);

/// Copies sealed segments of whole packs, in order, into a new pack: (name, bytes, record). Needs no key to content.
#[pyfunction]
fn repack(
    py: Python<'_>,
    keys: &ClassKeys,
    nonce: &[u8],
    sources: Vec<RepackSource>,
) -> PyResult<Repacked> {
    let nonce = PackNonce(fixed(nonce, "nonce")?);
    let wanted = sources
        .iter()
        .map(|(_, segments)| {
            let parsed = segments
                .iter()
                .map(|(origin, ordinal)| Ok((Origin(fixed(origin, "origin")?), *ordinal)));
            parsed.collect::<PyResult<HashSet<_>>>()
        })
        .collect::<PyResult<Vec<_>>>()?;
    let done = py
        .detach(|| {
            let mut builder: Option<RepackBuilder> = None;
            for ((pack, _), wanted) in sources.iter().zip(&wanted) {
                copy_segments(keys, nonce, pack, wanted, &mut builder)?;
            }
            builder
                .ok_or(Error::Misuse {
                    what: "a repack of nothing",
                })?
                .finish(0)
        })
        .map_err(errors::engine)?;
    Ok((
        PyBytes::new(py, &done.name.0).unbind(),
        PyBytes::new(py, &done.bytes).unbind(),
        PyBytes::new(py, &done.record.encode()).unbind(),
    ))
}

fn copy_segments(
    keys: &ClassKeys,
    nonce: PackNonce,
    pack: &[u8],
    wanted: &HashSet<(Origin, u32)>,
    builder: &mut Option<RepackBuilder>,
) -> Result<(), Error> {
    let contents = read_pack(&keys.inner, pack)?;
    let target = builder.get_or_insert_with(|| {
        RepackBuilder::new(Arc::clone(&keys.inner), contents.header.kind, nonce)
    });
    let mut found = 0;
    for segment in &contents.record.directory.segments {
        let nonce = contents
            .record
            .nonces
            .get(usize::from(segment.origin_index));
        let origin = nonce
            .ok_or(Error::Damaged {
                what: "origin of a segment",
            })?
            .origin();
        if !wanted.contains(&(origin, segment.ordinal)) {
            continue;
        }
        let start = segment.offset as usize;
        let sealed =
            pack.get(start..start + segment.sealed_len as usize)
                .ok_or(Error::Damaged {
                    what: "pack is cut short",
                })?;
        target.add(&contents.header, segment, sealed)?;
        found += 1;
    }
    if found == wanted.len() {
        Ok(())
    } else {
        Err(Error::Missing {
            what: "a segment that was to be copied",
        })
    }
}

type RunRow = (Py<PyBytes>, u64, u8, Py<PyBytes>);

/// The records of an index run: (name, size, kind, record).
#[pyfunction]
fn split_run(py: Python<'_>, payload: PyBackedBytes) -> PyResult<Vec<RunRow>> {
    let records = py.detach(|| parse_run(&payload)).map_err(errors::engine)?;
    Ok(records
        .into_iter()
        .map(|record| {
            (
                PyBytes::new(py, &record.name.0).unbind(),
                record.size,
                record.kind as u8,
                PyBytes::new(py, &record.encode()).unbind(),
            )
        })
        .collect())
}

/// What each pack of an index run holds: (name, plaintext of the full reference set of its segments).
#[pyfunction]
fn run_segments(
    py: Python<'_>,
    payload: PyBackedBytes,
) -> PyResult<Vec<(Py<PyBytes>, Py<PyBytes>)>> {
    let sets = py
        .detach(|| {
            let records = parse_run(&payload)?;
            let set_of = |record: &IndexRecord| {
                let mut set = RefSet::new();
                for segment in &record.directory.segments {
                    if let Some(nonce) = record.nonces.get(usize::from(segment.origin_index)) {
                        set.add(nonce.origin(), segment.ordinal);
                    }
                }
                (record.name, set.encode_full())
            };
            Ok(records.iter().map(set_of).collect::<Vec<_>>())
        })
        .map_err(errors::engine)?;
    let rows = sets.into_iter().map(|(name, set)| {
        (
            PyBytes::new(py, &name.0).unbind(),
            PyBytes::new(py, &set).unbind(),
        )
    });
    Ok(rows.collect())
}

/// Adds the classes and functions to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Index>()?;
    module.add_class::<IndexCounts>()?;
    module.add_class::<PackRow>()?;
    module.add_class::<SegmentPlace>()?;
    module.add_function(wrap_pyfunction!(read_directory, module)?)?;
    module.add_function(wrap_pyfunction!(repack, module)?)?;
    module.add_function(wrap_pyfunction!(encode_run_py, module)?)?;
    module.add_function(wrap_pyfunction!(run_segments, module)?)?;
    module.add_function(wrap_pyfunction!(split_run, module)?)
}
