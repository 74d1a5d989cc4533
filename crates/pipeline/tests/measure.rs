//! Costs of runs, for people: `HOLDFAST_MEASURE=FOLDER cargo test --release -p holdfast-pipeline --test measure -- --ignored --nocapture`.
mod common;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::{Scratch, Vault};
use holdfast_pipeline::ingest::Event;

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with(field))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .unwrap_or_default()
        .to_owned()
}

fn cpu() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let rest = stat.rsplit(')').next().unwrap_or_default();
    let field = |n: usize| {
        rest.split_whitespace()
            .nth(n)
            .and_then(|t| t.parse::<f64>().ok())
            .unwrap_or(0.0)
            / 100.0
    };
    (field(11), field(12))
}

#[test]
#[ignore = "for people"]
fn measure() {
    let Some(root) = std::env::var_os("HOLDFAST_MEASURE").map(PathBuf::from) else {
        return;
    };
    let scratch = Scratch::new("measure");
    let mut vault = Vault::new(&scratch);
    vault.options.started_s = i64::from(u32::MAX);
    for round in 0..3 {
        let (begin, (user, system)) = (Instant::now(), cpu());
        let (run, cache_out) = vault.start(&[&root]);
        let mut peak = 0_u64;
        let finished = loop {
            match run.poll(Duration::from_millis(100)).expect("running") {
                Some(Event::Pack(pack)) => {
                    peak = peak.max(status("RssAnon").parse().unwrap_or(0));
                    run.pack_stored(&pack.name).expect("stored");
                }
                Some(Event::Checkpoint(checkpoint)) => {
                    checkpoint
                        .runs
                        .iter()
                        .for_each(|ready| vault.learn(ready.class, &ready.payload));
                    run.checkpoint_done(checkpoint.number).expect("done");
                }
                Some(Event::Finished(finished)) => break finished,
                _ => peak = peak.max(status("RssAnon").parse().unwrap_or(0)),
            }
        };
        let (seconds, (user_end, system_end)) = (begin.elapsed().as_secs_f64(), cpu());
        finished
            .runs
            .iter()
            .for_each(|ready| vault.learn(ready.class, &ready.payload));
        if finished.cache_written {
            vault.cache = Some(cache_out);
        }
        let counts = finished.counts;
        println!(
            "round {round}: {seconds:.2} s wall, {:.2} user, {:.2} system, {} MiB anonymous; {} files, {} MiB, {} MiB stored, {} packs, state {}",
            user_end - user,
            system_end - system,
            peak >> 10,
            counts.files,
            counts.bytes >> 20,
            counts.stored_bytes >> 20,
            counts.packs,
            finished.state.map_or(0, |(payload, _)| payload.len()),
        );
    }
}
