//! Tries what reads bytes from outside: with a kept corpus, and with inputs that are made of it. The README beside this
//! crate says how to try for longer, and what to do with what is found.
//!
//! Reading order: a [`Target`] has a corpus, and is run by an ordinary test; `attempt` makes one try, and keeps what
//! failed; `mutate` makes new inputs of old ones; `wire` knows enough of protobuf to change a message inside.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking, and tells by printing"
)]

mod attempt;
mod mutate;
mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::attempt::Attempt;
use crate::mutate::Mutator;

/// For how many seconds each target is tried, instead of with the usual number of inputs.
const SECONDS: &str = "DECANT_FUZZ_SECONDS";
/// Where the random numbers begin. Usually that is always the same place, so that a run that fails does so again; with
/// [`SECONDS`] it is another one each time.
const SEED: &str = "DECANT_FUZZ_SEED";

/// How the names of seeds begin that are to be taken in.
const SOUND: &str = "sound";

/// What a target reads, and so how new inputs are made of old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Anything.
    Bytes,
    /// JSON.
    Text,
    /// A protobuf message.
    Protobuf,
}

/// An input to begin with.
#[derive(Clone, Debug)]
pub struct Seed {
    /// What is special about it, as the name of its file.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

/// Something that reads bytes from outside.
pub struct Target {
    name: &'static str,
    format: Format,
    seeds: Vec<Seed>,
}

impl Target {
    /// The target whose corpus lies in the folder of this name.
    ///
    /// # Panics
    /// When there is none.
    pub fn new(name: &'static str, format: Format) -> Self {
        let kept = files(&corpus().join(name)).into_iter();
        let mut seeds: Vec<Seed> = kept.map(read).collect();
        seeds.sort_by(|left, right| left.name.cmp(&right.name));
        assert!(!seeds.is_empty(), "the corpus of {name} is empty");
        Self {
            name,
            format,
            seeds,
        }
    }

    /// With a seed that is not worth a file, or too large for one.
    #[must_use]
    pub fn with_seed(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.seeds.push(Seed {
            name: name.to_owned(),
            bytes,
        });
        self
    }

    /// What it begins with.
    pub fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// Checks every seed, and then so many inputs made of them, or as many as there is time for when that is set. The
    /// check says whether the input was taken in, which sound ones must be.
    ///
    /// # Panics
    /// When the check does; the input is kept.
    pub fn run(&self, tries: u64, mut check: impl FnMut(&[u8]) -> bool) {
        let effort = Effort::of(tries);
        let attempt = Attempt::new(self.name);
        for seed in &self.seeds {
            let is_taken = attempt.make(&seed.bytes, &mut check);
            let is_sound = seed.name.split(['-', '.']).next() == Some(SOUND);
            assert!(
                is_taken || !is_sound,
                "{} {} is refused",
                self.name,
                seed.name
            );
        }
        let mut mutator = Mutator::new(effort.seed, self.format);
        let (began, mut tried, mut taken) = (Instant::now(), 0, 0);
        while effort.goes_on(tried, began) {
            let input = mutator.input(&self.seeds);
            taken += u64::from(attempt.make(&input, &mut check));
            tried += 1;
        }
        eprintln!(
            "{}: {} seeds, and {tried} inputs made of them, {taken} taken in; {SEED}={}",
            self.name,
            self.seeds.len(),
            effort.seed
        );
    }
}

/// How long a target is tried.
struct Effort {
    tries: u64,
    time: Option<Duration>,
    seed: u64,
}

impl Effort {
    fn of(tries: u64) -> Self {
        let time = variable(SECONDS).map(Duration::from_secs);
        let seed = match (variable(SEED), time) {
            (Some(seed), _) => seed,
            (None, None) => 0,
            (None, Some(_)) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
                u64::from(since.subsec_nanos())
            }
        };
        Self { tries, time, seed }
    }

    fn goes_on(&self, tried: u64, began: Instant) -> bool {
        match self.time {
            None => tried < self.tries,
            Some(time) => began.elapsed() < time,
        }
    }
}

fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is `{value}`, which is no number")))
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder);
    let entries = entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn read(path: PathBuf) -> Seed {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Seed { name, bytes }
}

#[cfg(test)]
mod tests;
