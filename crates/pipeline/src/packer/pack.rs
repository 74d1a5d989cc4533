//! A pack that segments are still on their way to.
use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use holdfast_engine::compress::Codec;
use holdfast_engine::directory::ChunkInfo;
use holdfast_engine::pack::{FinishedPack, PackBuilder};
use holdfast_engine::segment::SegmentHead;
use holdfast_engine::{Origin, PackKey, PackKind};
use parking_lot::Mutex;

use super::ClassSetup;
use crate::Error;

struct Inner {
    builder: Option<PackBuilder>,
    /// Upper bound of what is reserved and has not arrived.
    promised: usize,
    /// Sealed bytes that have arrived.
    arrived: usize,
    pending: u32,
    closed: bool,
}

/// A pack with reservations.
pub(crate) struct OpenPack {
    /// Names the pack in locations.
    pub origin: Origin,
    /// Position of its class.
    pub class: usize,
    key: Arc<PackKey>,
    inner: Mutex<Inner>,
}

const DONE: Error = Error::Internal("the pack is finished");

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Error::Internal("no randomness"))?;
    Ok(bytes)
}

impl OpenPack {
    pub fn new(
        setup: &ClassSetup,
        class: usize,
        kind: PackKind,
        bytes: usize,
    ) -> Result<Self, Error> {
        let (run_key, envelope) = match kind {
            PackKind::Map => (&setup.map_run_key, &setup.map_envelope),
            _ => (&setup.run_key, &setup.envelope),
        };
        let nonce = run_key.pack_nonce(&random()?);
        // Metadata rarely fills a pack; what is set aside and never touched costs nothing.
        let keys = Arc::clone(&setup.keys);
        let builder = PackBuilder::new(
            keys,
            run_key,
            envelope.clone(),
            kind,
            nonce,
            bytes + (64 << 10),
        )?;
        let key = builder.key();
        let inner = Inner {
            builder: Some(builder),
            promised: 0,
            arrived: 0,
            pending: 0,
            closed: false,
        };
        Ok(Self {
            origin: nonce.origin(),
            class,
            key,
            inner: Mutex::new(inner),
        })
    }

    pub fn has_room(&self, promised: usize, bytes_target: usize) -> bool {
        let inner = self.inner.lock();
        let held = inner.builder.as_ref().map_or(0, PackBuilder::bytes_len);
        (inner.pending == 0 && held < bytes_target / 2)
            || held + inner.promised + promised <= bytes_target
    }

    pub fn reserve(&self, promised: usize) -> Result<u32, Error> {
        let mut inner = self.inner.lock();
        let ordinal = inner.builder.as_mut().ok_or(DONE)?.reserve()?;
        inner.promised += promised;
        inner.pending += 1;
        Ok(ordinal)
    }

    pub fn seal_with(
        &self,
        ordinal: u32,
        codec: Codec,
        plain_len: u32,
    ) -> Result<(Arc<PackKey>, SegmentHead), Error> {
        let inner = self.inner.lock();
        let head = inner
            .builder
            .as_ref()
            .ok_or(DONE)?
            .head(ordinal, codec, plain_len);
        Ok((Arc::clone(&self.key), head))
    }

    pub fn add(
        &self,
        ordinal: u32,
        promised: usize,
        sealed: &[u8],
        codec: Codec,
        plain_len: u32,
        chunks: Vec<ChunkInfo>,
    ) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        let builder = inner.builder.as_mut().ok_or(DONE)?;
        builder.add(ordinal, sealed, codec, plain_len, chunks)?;
        inner.promised = inner.promised.saturating_sub(promised);
        inner.arrived += sealed.len();
        inner.pending = inner.pending.saturating_sub(1);
        Ok(())
    }

    pub fn bytes_len(&self) -> usize {
        self.inner
            .lock()
            .builder
            .as_ref()
            .map_or(0, PackBuilder::bytes_len)
    }

    /// Takes no more reservations.
    pub fn close(&self) {
        self.inner.lock().closed = true;
    }

    /// Finishes the pack once it is closed and everything reserved has arrived; also how many bytes of segments it held.
    #[allow(clippy::type_complexity)]
    pub fn finish_if_complete(&self) -> Result<Option<(Option<FinishedPack>, usize)>, Error> {
        let mut inner = self.inner.lock();
        if !inner.closed || inner.pending > 0 {
            return Ok(None);
        }
        let Some(builder) = inner.builder.take() else {
            return Ok(None);
        };
        let held = inner.arrived;
        drop(inner);
        if builder.segments_len() == 0 {
            return Ok(Some((None, 0)));
        }
        let most = builder.padding_max() as u64 + 1;
        let padding = u64::from_le_bytes(random()?) % most;
        Ok(Some((Some(builder.finish(padding as usize)?), held)))
    }
}
