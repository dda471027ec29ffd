//! What versions take of the machine's memory, and what they may take.

use std::num::NonZeroUsize;

use decant_features::SideLayout;
use decant_inference::Graph;
use decant_model::{Manifest, file};

use super::load::LoadError;
use super::manager::{Load, Manager};

/// How often a file's bytes are in memory while its version is loaded: a graph's as they are read, as weights, once more as
/// the kernels want them laid out, and as a half of the graph; a catalog's as they are read, as columns, encoded, and in the
/// index of ids.
const GRAPH: u64 = 4;
const CATALOG: u64 = 4;
const OTHERS: u64 = 2;
/// What may be computed of a catalog's items beforehand, for each byte of its file, and whatever its size.
const COMPUTED: u64 = 4;
const COMPUTED_LEAST: u64 = 1 << 20;
/// What each session has of its own, beside the weights.
const SESSION: u64 = 1 << 20;

/// What a version that is being loaded finds of memory.
pub(super) struct Room<'a> {
    manager: &'a Manager,
    load: &'a Load,
    bytes: u64,
}

impl<'a> Room<'a> {
    pub(super) fn new(manager: &'a Manager, load: &'a Load) -> Self {
        Self {
            manager,
            load,
            bytes: 0,
        }
    }

    /// Whether so much could be had at all. Nothing is given up for it.
    ///
    /// # Errors
    /// When there is no room beside what must stay.
    pub(super) fn check(&self, bytes: u64) -> Result<(), LoadError> {
        self.manager.check_room(bytes)
    }

    /// Reserves so much, beside what was reserved before.
    ///
    /// # Errors
    /// As [`Manager::reserve`].
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), LoadError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.manager.reserve(self.load, self.bytes)
    }
}

/// Bytes that a version takes, judged by the sizes of its files before any is read: what most take at most while they are
/// loaded, and so no less than what they take later. What it says of a catalog and a graph is corrected by
/// [`encoded_beyond`] and [`copied`].
pub(super) fn footprint(manifest: &Manifest, sessions: NonZeroUsize) -> u64 {
    let files = manifest.files.iter().map(|(path, entry)| {
        let times = match path.as_str() {
            file::MODEL => GRAPH,
            file::CATALOG => CATALOG,
            file::FEATURES | file::GOLDEN => OTHERS,
            _ => 0,
        };
        entry.size.saturating_mul(times)
    });
    let sessions = SESSION.saturating_mul(sessions.get() as u64);
    let computed = most_computed(manifest);
    files.fold(sessions.saturating_add(computed), u64::saturating_add)
}

/// Bytes that may be computed of a version's catalog beforehand.
pub(super) fn most_computed(manifest: &Manifest) -> u64 {
    let catalog = manifest.file(file::CATALOG);
    catalog.map_or(0, |catalog| {
        COMPUTED.saturating_mul(catalog.size).max(COMPUTED_LEAST)
    })
}

/// Bytes that a catalog of so many items takes when it is encoded, beyond those that its file is counted for: an item's list may
/// be short in the file, and has all its slots here.
pub(super) fn encoded_beyond(manifest: &Manifest, layout: &SideLayout, items: usize) -> u64 {
    let slots = size_of::<i32>() + size_of::<f32>();
    let row = layout.slots * slots + layout.dense.len() * size_of::<f32>();
    let file = manifest.file(file::CATALOG).map_or(0, |entry| entry.size);
    (row as u64)
        .saturating_mul(items as u64)
        .saturating_sub(file)
}

/// Bytes that sessions after the first take of a graph: weights that are not shared, as they are and as kernels want them.
pub(super) fn copied(graph: &Graph, sessions: NonZeroUsize) -> u64 {
    let others = sessions.get() as u64 - 1;
    (graph.unshared_bytes() as u64).saturating_mul(2 * others)
}

/// What all versions together may take if nothing is configured: three quarters of what this process can have, the rest
/// being for requests and for the system. Without a limit when the system does not say.
pub(crate) fn default_budget() -> u64 {
    let limits = [
        limit_of_machine(),
        limit_of_group("/sys/fs/cgroup/memory.max"),
        limit_of_group("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    ];
    let least = limits.into_iter().flatten().min();
    least.map_or(u64::MAX, |bytes| bytes / 4 * 3)
}

fn limit_of_machine() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// A container's limit; there is none where the file says `max`.
fn limit_of_group(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Bytes, for people.
pub(super) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_says_what_it_has() {
        let budget = default_budget();
        assert!((1 << 20..u64::MAX).contains(&budget), "{budget}");
    }
}
