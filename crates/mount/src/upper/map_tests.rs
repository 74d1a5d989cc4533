//! A file and its map on a disk that is killed, or loses power, after each single write: what the map says is here is here, what
//! was written survives a kill, what was synced survives a power cut.
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::*;

const BLOCKS: u64 = 20;
const SIZE: u64 = BLOCKS * BLOCK_BYTES - 100;
const BEFORE: Boot = [1; 16];
const AFTER: Boot = [2; 16];
/// Content from below.
const BELOW: u64 = 0;

#[derive(Clone)]
enum Step {
    Data(u64, u64),
    DataSync,
    Map(u64, Vec<u8>),
    MapSync,
}

type Log = Rc<RefCell<Vec<Step>>>;

/// Notes what is written instead of writing it.
struct Noting(Log, Vec<u8>);

impl Medium for Noting {
    fn read_all(&mut self) -> Result<Vec<u8>, Errno> {
        Ok(self.1.clone())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.borrow_mut().push(Step::Map(at, bytes.to_vec()));
        put(&mut self.1, at, bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Errno> {
        self.0.borrow_mut().push(Step::MapSync);
        Ok(())
    }
}

fn put(file: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let end = at as usize + bytes.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at as usize..end].copy_from_slice(bytes);
}

struct Random(u64);

impl Random {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What was promised: after so many steps, this block has this content.
struct Promise {
    steps: usize,
    block: u64,
    value: u64,
}

struct Story {
    log: Vec<Step>,
    written: Vec<Promise>,
    synced: Vec<Promise>,
}

fn story(seed: u64) -> Story {
    let log: Log = Rc::default();
    let mut random = Random(seed);
    let mut map = Map::open(Noting(Rc::clone(&log), Vec::new()), SIZE, SIZE, BEFORE).unwrap();
    let (mut written, mut synced) = (Vec::new(), Vec::new());
    let mut latest: HashMap<u64, u64> = HashMap::new();
    for number in 1..60 {
        let block = random.next(BLOCKS);
        match random.next(6) {
            0..=2 => {
                log.borrow_mut().push(Step::Data(block, number));
                map.mark(block, block + 1).unwrap();
                latest.insert(block, number);
                let steps = log.borrow().len();
                written.push(Promise {
                    steps,
                    block,
                    value: number,
                });
            }
            3..=4 => {
                if let Some((from, to)) = map.missing(block, block + 3) {
                    map.begin_filling((7, 8)).unwrap();
                    for block in from..to {
                        log.borrow_mut().push(Step::Data(block, BELOW));
                    }
                    map.end_filling().unwrap();
                    map.mark(from, to).unwrap();
                }
            }
            _ => {
                log.borrow_mut().push(Step::DataSync);
                map.checkpoint().unwrap();
                let steps = log.borrow().len();
                synced.extend(latest.iter().map(|(block, value)| Promise {
                    steps,
                    block: *block,
                    value: *value,
                }));
            }
        }
    }
    let log = log.borrow().clone();
    Story {
        log,
        written,
        synced,
    }
}

/// The disk after so many steps; with a power cut, what was not synced may or may not be on it.
fn disk(log: &[Step], mut power: Option<Random>) -> (HashMap<u64, u64>, Vec<u8>) {
    let last = |is_it: fn(&Step) -> bool| log.iter().rposition(is_it).unwrap_or(0);
    let data_safe = last(|step| matches!(step, Step::DataSync));
    let map_safe = last(|step| matches!(step, Step::MapSync));
    let mut data = HashMap::new();
    let mut map = Vec::new();
    for (at, step) in log.iter().enumerate() {
        let mut survives =
            |safe: usize| at < safe || power.as_mut().is_none_or(|power| power.next(2) == 0);
        match step {
            Step::Data(block, value) if survives(data_safe) => {
                data.insert(*block, *value);
            }
            Step::Map(at, bytes) if survives(map_safe) => put(&mut map, *at, bytes),
            _ => {}
        }
    }
    (data, map)
}

fn reopened(map: Vec<u8>, boot: Boot) -> Map<Noting> {
    Map::open(Noting(Rc::default(), map), SIZE, SIZE, boot).unwrap()
}

#[test]
fn a_kill_after_any_write_loses_nothing_that_was_written() {
    for seed in 0..20 {
        let story = story(seed);
        for steps in 0..=story.log.len() {
            let (data, bytes) = disk(&story.log[..steps], None);
            let map = reopened(bytes, BEFORE);
            for block in 0..BLOCKS {
                assert!(
                    !map.is_here(block) || data.contains_key(&block),
                    "seed {seed}, step {steps}: block {block} is not here"
                );
            }
            let mut latest = HashMap::new();
            for promise in story.written.iter().filter(|made| made.steps <= steps) {
                latest.insert(promise.block, promise.value);
            }
            for (block, value) in latest {
                assert!(
                    map.is_here(block),
                    "seed {seed}, step {steps}: {block} lost"
                );
                assert!(
                    data[&block] >= value,
                    "seed {seed}, step {steps}: {block} old"
                );
            }
        }
    }
}

#[test]
fn a_power_cut_after_any_write_loses_nothing_that_was_synced() {
    for seed in 0..20 {
        let story = story(seed);
        for steps in 0..=story.log.len() {
            let power = Random(seed * 1000 + steps as u64);
            let (data, bytes) = disk(&story.log[..steps], Some(power));
            let map = reopened(bytes, AFTER);
            for block in 0..BLOCKS {
                assert!(
                    !map.is_here(block) || data.contains_key(&block),
                    "seed {seed}, step {steps}: block {block} is not here"
                );
            }
            for promise in story.synced.iter().filter(|made| made.steps <= steps) {
                let block = promise.block;
                assert!(
                    map.is_here(block),
                    "seed {seed}, step {steps}: {block} lost"
                );
                assert!(
                    data[&block] >= promise.value,
                    "seed {seed}, step {steps}: {block} old"
                );
            }
        }
    }
}

#[test]
fn what_was_cut_never_comes_back() {
    let log: Log = Rc::default();
    let mut map = Map::open(Noting(Rc::clone(&log), Vec::new()), SIZE, SIZE, BEFORE).unwrap();
    map.cut(3 * BLOCK_BYTES + 5).unwrap();
    assert!(map.is_here(4) && !map.is_here(3) && !map.is_here(0));
    map.before_growth().unwrap();
    let (_, bytes) = disk(&log.borrow(), Some(Random(1)));
    assert_eq!(reopened(bytes, AFTER).limit(), 3 * BLOCK_BYTES + 5);
    // Cut, and killed before the map could say so: the file's own length does.
    let (_, bytes) = disk(&log.borrow(), None);
    let map = Map::open(Noting(Rc::default(), bytes), SIZE, 10, BEFORE).unwrap();
    assert_eq!(map.limit(), 10);
}

#[test]
fn a_map_that_was_never_finished_is_made_anew() {
    let log: Log = Rc::default();
    Map::open(Noting(Rc::clone(&log), Vec::new()), SIZE, SIZE, BEFORE).unwrap();
    let steps = log.borrow().len();
    for kept in 0..steps {
        let (_, bytes) = disk(&log.borrow()[..kept], None);
        let map = reopened(bytes, BEFORE);
        assert_eq!(map.missing(0, u64::MAX), Some((0, BLOCKS)));
    }
}

#[test]
fn an_interrupted_filling_tells_the_time_to_give_back() {
    let log: Log = Rc::default();
    let mut map = Map::open(Noting(Rc::clone(&log), Vec::new()), SIZE, SIZE, BEFORE).unwrap();
    map.begin_filling((-5, 999)).unwrap();
    let (_, bytes) = disk(&log.borrow(), None);
    assert_eq!(reopened(bytes, BEFORE).take_interrupted(), Some((-5, 999)));
    map.end_filling().unwrap();
    let (_, bytes) = disk(&log.borrow(), None);
    assert_eq!(reopened(bytes, BEFORE).take_interrupted(), None);
}

#[test]
fn runs_and_counts() {
    let log: Log = Rc::default();
    let mut map = Map::open(Noting(log, Vec::new()), SIZE, SIZE, BEFORE).unwrap();
    map.mark(2, 4).unwrap();
    assert_eq!(map.missing(0, 10), Some((0, 2)));
    assert_eq!(map.missing(2, 10), Some((4, 10)));
    assert_eq!(map.bytes_here(), 2 * BLOCK_BYTES);
    map.mark(0, BLOCKS).unwrap();
    assert!(map.is_whole());
    assert_eq!((map.bytes_here(), map.size()), (SIZE, SIZE));
}
