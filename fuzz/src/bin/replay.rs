//! Replays the kept corpus of every target, then mutations of it for a bounded time, on any toolchain.
//!
//!     replay [--corpus DIR] [--seconds N] [--seed N] [TARGET …]
//!
//! Exit code 1 if an oracle does not hold, or one input takes more than ten seconds: the input is left in
//! `fuzz/artifacts/TARGET/`, and its name printed.
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use holdfast_fuzz::mutate::{Dice, mutate};
use holdfast_fuzz::{TARGETS, Target, find};

/// Longer inputs say nothing that shorter ones do not.
const INPUT_BYTES_MAX: usize = 16 << 10;
const INPUT_TIME_MAX: Duration = Duration::from_secs(10);

struct Options {
    corpus: PathBuf,
    seconds: f64,
    seed: u64,
    targets: Vec<&'static Target>,
}

fn options() -> Result<Options, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Options {
        corpus: root.join("corpus"),
        seconds: 20.0,
        seed: 1,
        targets: Vec::new(),
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--corpus" => found.corpus = value()?.into(),
            "--seconds" => found.seconds = value()?.parse().map_err(|_| "--seconds: a number")?,
            "--seed" => found.seed = value()?.parse().map_err(|_| "--seed: a number")?,
            name => found
                .targets
                .push(find(name).ok_or(format!("there is no target {name}"))?),
        }
    }
    if found.targets.is_empty() {
        found.targets = TARGETS.iter().collect();
    }
    Ok(found)
}

fn inputs(folder: &Path) -> std::io::Result<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    paths.into_iter().map(fs::read).collect()
}

/// What is being tried, and since when: what takes too long is kept by whoever watches.
static TRIED: Mutex<Option<(&'static Target, Vec<u8>, Instant)>> = Mutex::new(None);

fn tried() -> std::sync::MutexGuard<'static, Option<(&'static Target, Vec<u8>, Instant)>> {
    TRIED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Ends the program when one input takes too long.
fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        if let Some((target, input, since)) = &*tried()
            && since.elapsed() > INPUT_TIME_MAX
        {
            eprintln!(
                "{}: one input takes more than {INPUT_TIME_MAX:?}",
                target.name
            );
            keep(target, input);
            std::process::exit(1);
        }
    }
}

/// Whether every oracle holds; if not, the input is kept.
fn holds(target: &'static Target, input: &[u8]) -> bool {
    *tried() = Some((target, input.to_vec(), Instant::now()));
    if panic::catch_unwind(|| target.feed(input)).is_ok() {
        return true;
    }
    keep(target, input);
    false
}

fn keep(target: &Target, input: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("artifacts")
        .join(target.name);
    let name = holdfast_engine::pack::sha256(input)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    if let Err(error) =
        fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(&name), input))
    {
        eprintln!("the input cannot be kept: {error}");
    }
    eprintln!("{}: fuzz/artifacts/{}/{name}", target.name, target.name);
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let share = options.seconds / options.targets.len() as f64;
    let mut sound = true;
    thread::spawn(watch);
    println!("seed {}", options.seed);
    for target in options.targets {
        let corpus = match inputs(&options.corpus.join(target.name)) {
            Ok(corpus) if !corpus.is_empty() => corpus,
            _ => {
                eprintln!("{}: no corpus", target.name);
                sound = false;
                continue;
            }
        };
        sound &= corpus.iter().filter(|input| !holds(target, input)).count() == 0;
        let mut dice = Dice::new(options.seed);
        let until = Instant::now() + Duration::from_secs_f64(share);
        let mut tried = 0_u64;
        while sound && Instant::now() < until {
            for _ in 0..64 {
                let mut input = corpus[dice.below(corpus.len())].clone();
                let other = &corpus[dice.below(corpus.len())];
                mutate(&mut dice, &mut input, other, INPUT_BYTES_MAX);
                sound &= holds(target, &input);
                tried += 1;
            }
        }
        println!(
            "{}: {} kept inputs, {tried} mutations",
            target.name,
            corpus.len()
        );
    }
    if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
