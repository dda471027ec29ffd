//! What is in the cache, and what goes when something comes. Bookkeeping only: no file is touched here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use decant_model::Digest;

use super::CacheError;
use crate::Bundle;

/// The bundles in the cache.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    bundles: BTreeMap<Digest, Kept>,
    pinned: BTreeSet<Digest>,
}

/// A bundle in the cache.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its files and their sizes. Bundles share them.
    blobs: BTreeMap<Digest, u64>,
    /// The size of its manifest.
    manifest: u64,
    used: SystemTime,
}

impl Kept {
    pub(super) fn new(bundle: &Bundle, used: SystemTime) -> Self {
        let files = bundle.manifest().files.values();
        Self {
            blobs: files.map(|entry| (entry.sha256, entry.size)).collect(),
            manifest: bundle.manifest_bytes().len() as u64,
            used,
        }
    }

    pub(super) fn needs(&self, blob: Digest) -> bool {
        self.blobs.contains_key(&blob)
    }
}

/// What bundles take together, shared files counted once.
fn bytes<'a>(bundles: impl Iterator<Item = &'a Kept>) -> u64 {
    let mut blobs = BTreeMap::<Digest, u64>::new();
    let mut manifests = 0;
    for kept in bundles {
        blobs.extend(&kept.blobs);
        manifests += kept.manifest;
    }
    manifests + blobs.into_values().sum::<u64>()
}

impl Shelf {
    pub(super) fn holds(&self, digest: Digest) -> bool {
        self.bundles.contains_key(&digest)
    }

    pub(super) fn needs(&self, blob: Digest) -> bool {
        self.bundles.values().any(|kept| kept.needs(blob))
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = Digest> {
        self.bundles.keys().copied()
    }

    pub(super) fn bytes(&self) -> u64 {
        bytes(self.bundles.values())
    }

    pub(super) fn pin(&mut self, digests: BTreeSet<Digest>) {
        self.pinned = digests;
    }

    pub(super) fn put(&mut self, digest: Digest, kept: Kept) {
        self.bundles.insert(digest, kept);
    }

    pub(super) fn take(&mut self, digest: Digest) {
        self.bundles.remove(&digest);
    }

    /// Notes a use, later than any other, and returns its time.
    pub(super) fn touch(&mut self, digest: Digest) -> SystemTime {
        let latest = self.bundles.values().map(|kept| kept.used).max();
        let after_all = latest.map_or(SystemTime::UNIX_EPOCH, |latest| {
            latest + Duration::from_micros(1)
        });
        let used = SystemTime::now().max(after_all);
        if let Some(kept) = self.bundles.get_mut(&digest) {
            kept.used = used;
        }
        used
    }

    /// Takes away what must go so that a bundle fits, the longest unused first, and returns it.
    pub(super) fn make_room(
        &mut self,
        digest: Digest,
        incoming: &Kept,
        limit: u64,
    ) -> Result<Vec<Digest>, CacheError> {
        let others = || self.bundles.iter().filter(|(other, _)| **other != digest);
        let is_pinned = |other: &Digest| self.pinned.contains(other);
        let pinned = || {
            others()
                .filter(|(other, _)| is_pinned(other))
                .map(|(_, kept)| kept)
        };
        let (pinned_bytes, needed) = (bytes(pinned()), bytes(pinned().chain([incoming])));
        if needed > limit {
            return Err(CacheError::TooLarge {
                digest,
                bytes: needed - pinned_bytes,
                pinned: pinned_bytes,
                limit,
            });
        }
        let mut free: Vec<_> = others().filter(|(other, _)| !is_pinned(other)).collect();
        free.sort_by_key(|(_, kept)| kept.used);
        let mut going: Vec<Digest> = Vec::new();
        for (other, _) in free {
            let staying = others().filter(|(other, _)| !going.contains(other));
            let staying = staying.map(|(_, kept)| kept);
            if bytes(staying.chain([incoming])) <= limit {
                break;
            }
            going.push(*other);
        }
        for digest in &going {
            self.bundles.remove(digest);
        }
        Ok(going)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    /// Files are named by a number; the size goes with the name, as it does with a digest.
    fn kept(files: &[u8], used: u8) -> Kept {
        Kept {
            blobs: files
                .iter()
                .map(|file| (digest(*file), 10 * u64::from(*file)))
                .collect(),
            manifest: 1,
            used: SystemTime::UNIX_EPOCH + Duration::from_secs(used.into()),
        }
    }

    #[test]
    fn the_longest_unused_goes_first_and_shared_files_count_once() {
        let mut shelf = Shelf::default();
        shelf.put(digest(101), kept(&[1, 2], 3));
        shelf.put(digest(102), kept(&[1, 3], 1));
        shelf.put(digest(103), kept(&[4], 2));
        assert_eq!(shelf.bytes(), 3 + 10 + 20 + 30 + 40);
        // It brings one file, for the other is there already: 123 bytes would be left without the longest unused.
        let room = shelf
            .make_room(digest(104), &kept(&[2, 5], 9), 122)
            .unwrap();
        assert_eq!(room, [digest(102), digest(103)]);
        assert!(shelf.holds(digest(101)) && !shelf.needs(digest(4)));
    }

    #[test]
    fn pinned_ones_stay_and_what_does_not_fit_beside_them_is_refused_with_numbers() {
        let mut shelf = Shelf::default();
        shelf.put(digest(101), kept(&[1], 1));
        shelf.put(digest(102), kept(&[2], 2));
        shelf.pin([digest(101)].into());
        let error = shelf
            .make_room(digest(103), &kept(&[9], 9), 100)
            .unwrap_err();
        let message = error.to_string();
        assert!(matches!(
            error,
            CacheError::TooLarge {
                bytes: 91,
                pinned: 11,
                limit: 100,
                ..
            }
        ));
        assert!(
            ["91", "11", "100"]
                .iter()
                .all(|number| message.contains(number)),
            "{message}"
        );
        assert!(shelf.holds(digest(102)), "nothing goes for what is refused");
        let room = shelf.make_room(digest(103), &kept(&[8], 9), 100).unwrap();
        assert_eq!(room, [digest(102)]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_bound_holds_and_pinned_ones_stay(
            coming in prop::collection::vec((any::<u8>(), prop::collection::vec(1..20_u8, 1..4)), 1..30),
            pinned in prop::collection::btree_set(any::<u8>(), 0..4),
            limit in 50..600_u64,
        ) {
            let mut shelf = Shelf::default();
            let pinned: BTreeSet<Digest> = pinned.into_iter().map(digest).collect();
            shelf.pin(pinned.clone());
            for (name, files) in coming {
                let before: BTreeSet<Digest> = shelf.digests().collect();
                let incoming = kept(&files, 0);
                if shelf.make_room(digest(name), &incoming, limit).is_ok() {
                    shelf.put(digest(name), incoming);
                    shelf.touch(digest(name));
                } else {
                    prop_assert_eq!(&before, &shelf.digests().collect());
                }
                prop_assert!(shelf.bytes() <= limit);
                prop_assert!(before.intersection(&pinned).all(|digest| shelf.holds(*digest)));
            }
        }
    }
}
