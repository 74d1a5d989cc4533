//! Rates hold on average, change at once, and never keep a stopped run.
use super::*;
use std::sync::Arc;

static RUNNING: AtomicBool = AtomicBool::new(false);

#[test]
fn a_rate_holds() {
    let limits = Limits::new();
    limits.set_read(Some(1_000_000));
    let begin = Instant::now();
    for _ in 0..30 {
        limits.take_read(10_000, &RUNNING).expect("running");
    }
    assert!(
        begin.elapsed() >= Duration::from_millis(150),
        "{:?}",
        begin.elapsed()
    );
    limits
        .take_write(1 << 40, &RUNNING)
        .expect("the other direction is free");
    let used = limits.used();
    assert_eq!((used.read_bytes, used.write_bytes), (300_000, 1 << 40));
    assert_eq!(used.operations, 31);
    assert!(used.waited_ns[Resource::Read as usize] > 0);
}

#[test]
fn lifting_a_limit_frees_a_waiting_reader() {
    let limits = Arc::new(Limits::new());
    limits.set_read(Some(1));
    limits.take_read(1_000_000, &RUNNING).expect("debt");
    let waiting = Arc::clone(&limits);
    let reader = std::thread::spawn(move || waiting.take_read(1, &RUNNING).is_ok());
    limits.set_read(None);
    assert!(reader.join().expect("joined"));
}

#[test]
fn a_paused_run_can_be_stopped_and_resumed() {
    let limits = Limits::new();
    limits.pause();
    assert!(limits.is_paused());
    assert!(limits.try_network(1).is_err());
    let stop = AtomicBool::new(true);
    assert!(matches!(limits.take_read(1, &stop), Err(Error::Stopped)));
    assert!(matches!(limits.place(&stop), Err(Error::Stopped)));
    limits.resume();
    assert!(limits.take_read(1, &RUNNING).is_ok());
}

#[test]
fn a_stop_reaches_who_waits() {
    let limits = Arc::new(Limits::new());
    limits.set_threads(Some(1));
    limits.set(Resource::Operations, Some(0.001));
    let _taken = limits.place(&RUNNING).expect("the only place");
    limits.take_operations(1, &RUNNING).expect("into debt");
    let stop = Arc::new(AtomicBool::new(false));
    let waiting: Vec<_> = [true, false]
        .into_iter()
        .map(|place| {
            let (limits, stop) = (Arc::clone(&limits), Arc::clone(&stop));
            std::thread::spawn(move || {
                if place {
                    limits.place(&stop).is_err()
                } else {
                    limits.take_operations(1, &stop).is_err()
                }
            })
        })
        .collect();
    while limits.used().waited_ns[Wait::Threads.position()] == 0 {
        std::thread::yield_now();
    }
    stop.store(true, Ordering::Relaxed);
    assert!(
        waiting
            .into_iter()
            .all(|thread| thread.join().expect("joined"))
    );
}

#[test]
fn no_more_threads_compute_than_may() {
    let limits = Arc::new(Limits::new());
    limits.set_threads(Some(2));
    assert_eq!(limits.threads(), Some(2));
    let now = AtomicUsize::new(0);
    let most = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let place = limits.place(&RUNNING).expect("running");
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::yield_now();
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                }
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 2);
    limits.set_threads(None);
    assert!(!limits.is_limited());
}

#[test]
fn what_the_process_computed_must_be_waited_for() {
    let limits = Limits::new();
    limits.set(Resource::Cpu, Some(0.001));
    let before = process_cpu();
    let mut sum = 0_u64;
    while process_cpu().saturating_sub(before) < Duration::from_millis(20) {
        sum = sum.wrapping_mul(31).wrapping_add(7);
    }
    std::hint::black_box(sum);
    let (wait, time) = limits
        .state
        .lock()
        .pass(None, 0, 0, limits.began.elapsed())
        .expect_err("computed more than a thousandth");
    assert_eq!(wait, Wait::For(Resource::Cpu));
    assert!(time > Duration::from_secs(1), "{time:?}");
    limits.set(Resource::Cpu, None);
    assert!(limits.place(&RUNNING).is_ok());
}

#[test]
fn a_slow_rate_is_asked_in_small_steps() {
    let limits = Limits::new();
    assert_eq!(limits.step(Resource::Read, 1 << 20), 1 << 20);
    limits.set_read(Some(1_000_000));
    assert_eq!(limits.step(Resource::Read, 1 << 20), 48 << 10);
    assert_eq!(limits.step(Resource::Write, 1 << 20), 1 << 20);
    limits.set_read(Some(1));
    assert_eq!(limits.step(Resource::Read, 1 << 20), STEP_BYTES_MIN);
    assert_eq!(limits.step(Resource::Read, 100), 100);
    limits.set_read(Some(u64::MAX));
    assert_eq!(limits.step(Resource::Read, 1 << 20), 1 << 20);
}

#[test]
fn the_network_has_a_rate_of_its_own() {
    let limits = Limits::new();
    limits.set(Resource::Network, Some(1000.0));
    assert_eq!(limits.try_network(5000), Ok(()));
    assert!(limits.try_network(1).is_err());
    limits.set(Resource::Network, None);
    limits.take_network(100, &RUNNING).expect("running");
    assert_eq!(limits.try_network(1 << 40), Ok(()));
    assert_eq!(limits.used().network_bytes, 5100 + (1 << 40));
}

#[test]
fn memory_is_what_was_set_and_never_nothing() {
    let limits = Limits::new();
    assert_eq!(limits.memory_room(96 << 20), 96 << 20);
    limits.set_memory(Some(32 << 20));
    assert_eq!(limits.memory_room(96 << 20), 32 << 20);
    limits.set_memory(Some(0));
    assert_eq!(limits.memory_room(96 << 20), MEMORY_BYTES_MIN);
    limits.set_memory(None);
    assert!(!limits.is_limited());
}
