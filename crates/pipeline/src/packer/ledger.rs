//! Finished packs: waiting to be stored, stored, in an index run. And the memory that all of it takes.
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_engine::pack::FinishedPack;
use holdfast_engine::record::{IndexRecord, encode_run};
use holdfast_engine::{Origin, PackKind, PackName};
use parking_lot::{Condvar, Mutex};

use crate::Error;
use crate::limits::Limits;

/// A pack to be stored.
pub struct PackReady {
    /// SHA-256 of `bytes`.
    pub name: PackName,
    /// What it is for.
    pub kind: PackKind,
    /// Position of its class.
    pub class: usize,
    /// The whole object.
    pub bytes: Arc<Vec<u8>>,
}

/// An index run over packs that are stored.
pub struct RunReady {
    /// Position of the class.
    pub class: usize,
    /// Plaintext of the run.
    pub payload: Vec<u8>,
    /// Packs in it.
    pub packs: usize,
}

/// Stored packs are to be made known.
pub struct CheckpointReady {
    /// Counts from 0.
    pub number: u32,
    /// One per class that has new packs.
    pub runs: Vec<RunReady>,
    /// Stored bytes of all packs in them.
    pub bytes: u64,
}

/// What the ledger tells.
pub enum LedgerEvent {
    /// Store this, then say [`Ledger::pack_stored`].
    Pack(PackReady),
    /// Write these runs, then say [`Ledger::checkpoint_done`].
    Checkpoint(CheckpointReady),
}

/// When stored packs are to be made known.
#[derive(Debug, Clone, Copy)]
pub struct CheckpointRule {
    /// New chunks.
    pub chunks: u64,
    /// Stored bytes.
    pub bytes: u64,
    /// Time since the last one, if anything was stored.
    pub every: Duration,
}

#[derive(Default)]
struct Book {
    waiting: HashMap<PackName, (usize, IndexRecord)>,
    waiting_bytes: usize,
    durable: Vec<(usize, IndexRecord)>,
    durable_chunks: u64,
    durable_bytes: u64,
    /// Origins of the packs in the checkpoint that is under way.
    under_way: Option<(u32, Vec<Origin>)>,
    next_number: u32,
    /// Packs begun and not finished.
    open: u32,
    packs: u64,
    bytes: u64,
    /// Bytes in open packs and in those not yet stored.
    held_bytes: usize,
}

/// Takes what the ledger tells.
pub type Tell = Box<dyn Fn(LedgerEvent) + Send + Sync>;

/// The books of a run's packs.
pub struct Ledger {
    book: Mutex<Book>,
    freed: Condvar,
    tell: Tell,
    rule: CheckpointRule,
    last: Mutex<Instant>,
    room_bytes: usize,
    limits: Option<Arc<Limits>>,
}

impl Ledger {
    /// Books that `tell`, and let `room_bytes` of packs be in memory.
    pub fn new(tell: Tell, rule: CheckpointRule, room_bytes: usize) -> Self {
        let last = Mutex::new(Instant::now());
        Self {
            book: Mutex::default(),
            freed: Condvar::new(),
            tell,
            rule,
            last,
            room_bytes,
            limits: None,
        }
    }

    /// Books whose room is also what the limits leave for packs, at any time.
    #[must_use]
    pub fn limited(mut self, limits: Arc<Limits>) -> Self {
        self.limits = Some(limits);
        self
    }

    pub(super) fn room_bytes(&self) -> usize {
        self.limits.as_ref().map_or(self.room_bytes, |limits| {
            limits.memory_room(self.room_bytes)
        })
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.book.lock().waiting_bytes
    }

    pub(super) fn is_tight(&self) -> bool {
        self.book.lock().held_bytes > self.room_bytes()
    }

    pub(super) fn grew(&self, bytes: usize) {
        self.book.lock().held_bytes += bytes;
    }

    /// Waits while packs not yet stored take too much memory.
    pub(super) fn wait_for_room(&self, stop: &AtomicBool) -> Result<(), Error> {
        let mut book = self.book.lock();
        while book.held_bytes > self.room_bytes() && !book.waiting.is_empty() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            self.freed.wait_for(&mut book, Duration::from_millis(100));
        }
        Ok(())
    }

    pub(super) fn finished(&self, class: usize, pack: FinishedPack, held: usize) {
        let mut book = self.book.lock();
        book.held_bytes = (book.held_bytes + pack.bytes.len()).saturating_sub(held);
        book.waiting_bytes += pack.bytes.len();
        book.open = book.open.saturating_sub(1);
        book.packs += 1;
        book.bytes += pack.bytes.len() as u64;
        book.waiting.insert(pack.name, (class, pack.record));
        drop(book);
        let ready = PackReady {
            name: pack.name,
            kind: pack.kind,
            class,
            bytes: Arc::new(pack.bytes),
        };
        (self.tell)(LedgerEvent::Pack(ready));
    }

    /// A pack is durable at its store.
    pub fn pack_stored(&self, name: &PackName) -> Result<(), Error> {
        let mut book = self.book.lock();
        let (class, record) = book
            .waiting
            .remove(name)
            .ok_or(Error::Internal("no such pack is waiting"))?;
        let size = record.size as usize;
        book.held_bytes = book.held_bytes.saturating_sub(size);
        book.waiting_bytes = book.waiting_bytes.saturating_sub(size);
        book.durable_chunks += record
            .directory
            .segments
            .iter()
            .map(|s| s.chunks.len() as u64)
            .sum::<u64>();
        book.durable_bytes += record.size;
        book.durable.push((class, record));
        drop(book);
        self.freed.notify_all();
        self.checkpoint_if_due();
        Ok(())
    }

    /// Begins a checkpoint if the rule says so and none is under way.
    pub fn checkpoint_if_due(&self) {
        let late = self.last.lock().elapsed() >= self.rule.every;
        let book = self.book.lock();
        let due = late
            || book.durable_chunks >= self.rule.chunks
            || book.durable_bytes >= self.rule.bytes;
        drop(book);
        if due {
            self.checkpoint();
        }
    }

    /// Begins a checkpoint over everything that is stored and not yet in a run; `false` if there is nothing to do.
    pub fn checkpoint(&self) -> bool {
        let mut book = self.book.lock();
        if book.under_way.is_some() || book.durable.is_empty() {
            return false;
        }
        let durable = std::mem::take(&mut book.durable);
        let bytes = std::mem::take(&mut book.durable_bytes);
        book.durable_chunks = 0;
        let number = book.next_number;
        book.next_number += 1;
        let nonces = durable.iter().flat_map(|(_, record)| &record.nonces);
        book.under_way = Some((
            number,
            nonces.map(holdfast_engine::PackNonce::origin).collect(),
        ));
        drop(book);
        *self.last.lock() = Instant::now();
        let runs = runs_of(durable);
        (self.tell)(LedgerEvent::Checkpoint(CheckpointReady {
            number,
            runs,
            bytes,
        }));
        true
    }

    /// The runs of a checkpoint are in the index: the origins that ids need not be remembered for any longer.
    pub fn checkpoint_done(&self, number: u32) -> Result<Vec<Origin>, Error> {
        let mut book = self.book.lock();
        match book.under_way.take() {
            Some((expected, origins)) if expected == number => {
                self.freed.notify_all();
                Ok(origins)
            }
            other => {
                book.under_way = other;
                Err(Error::Internal("no such checkpoint is under way"))
            }
        }
    }

    /// A pack was begun.
    pub(super) fn opened(&self) {
        self.book.lock().open += 1;
    }

    /// A pack was given up, since nothing came to it.
    pub(super) fn abandoned(&self) {
        let mut book = self.book.lock();
        book.open = book.open.saturating_sub(1);
    }

    /// Waits until every pack is stored and no checkpoint is under way, then gives the runs over what is in none yet.
    pub fn settle(&self, stop: &AtomicBool) -> Result<Vec<RunReady>, Error> {
        let mut book = self.book.lock();
        while book.open > 0 || !book.waiting.is_empty() || book.under_way.is_some() {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Stopped);
            }
            self.freed.wait_for(&mut book, Duration::from_millis(100));
        }
        let durable = std::mem::take(&mut book.durable);
        drop(book);
        Ok(runs_of(durable))
    }

    /// Whether finished packs wait to be stored.
    pub fn is_waiting(&self) -> bool {
        !self.book.lock().waiting.is_empty()
    }

    /// Packs finished so far, and their bytes.
    pub fn totals(&self) -> (u64, u64) {
        let book = self.book.lock();
        (book.packs, book.bytes)
    }
}

fn runs_of(durable: Vec<(usize, IndexRecord)>) -> Vec<RunReady> {
    let mut by_class: Vec<(usize, Vec<IndexRecord>)> = Vec::new();
    for (class, record) in durable {
        match by_class.iter_mut().find(|(known, _)| *known == class) {
            Some((_, records)) => records.push(record),
            None => by_class.push((class, vec![record])),
        }
    }
    let run = |(class, records): (usize, Vec<IndexRecord>)| RunReady {
        class,
        packs: records.len(),
        payload: encode_run(&records),
    };
    by_class.into_iter().map(run).collect()
}
