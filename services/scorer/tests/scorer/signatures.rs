//! Who may vouch for a version.

use std::fmt;
use std::sync::{Arc, Mutex};

use decant_artifact::SigningKey;
use decant_model::{DesiredSlot, Digest, PublicKey};
use decant_proto::scorer::v1::ServableState::{Available, End};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::harness::{Scorer, World, desired, files, prepared};

const NEW: f32 = 1.5;

fn signed_by(generation: u64, version: (u64, Digest), key: &SigningKey) -> DesiredSlot {
    DesiredSlot {
        signers: vec![PublicKey([9; 32]), key.public()],
        ..desired(generation, Some(version))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_a_signer_vouches_for_is_served() {
    let (key, stranger) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let scorer = Scorer::start_member(World::new()).await;
    let first = scorer.world.push("films", &files(0.0), Some(&key)).await;
    scorer.world.desire(&signed_by(1, (1, first), &key)).await;
    scorer.answers(1).await;

    let unsigned = scorer.push(&files(NEW)).await;
    let foreign = scorer
        .world
        .push("films", &files(0.5), Some(&stranger))
        .await;
    for (version, digest, reason) in [
        (2, unsigned, "is not signed"),
        (3, foreign, "which is not an allowed key"),
    ] {
        let slot = signed_by(version, (version, digest), &key);
        scorer.world.desire(&slot).await;
        let failed = scorer.listed(version, End).await;
        assert!(
            failed.error.starts_with("checking the signature"),
            "{}",
            failed.error
        );
        assert!(failed.error.contains(reason), "{}", failed.error);
        assert_eq!(scorer.answering().await, (1, 1));
    }

    // The key is allowed now: the version that failed is tried again at once.
    let allowed = DesiredSlot {
        prepare: vec![prepared(1, first)],
        ..signed_by(4, (3, foreign), &stranger)
    };
    scorer.world.desire(&allowed).await;
    scorer.answers(3).await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_kept_with_the_cached_bundle() {
    let key = SigningKey::generate().unwrap();
    let scorer = Scorer::start_member(World::new()).await;
    let first = scorer.world.push("films", &files(0.0), Some(&key)).await;
    scorer.world.desire(&signed_by(1, (1, first), &key)).await;
    scorer.answers(1).await;
    let world = scorer.stop().await;
    std::fs::remove_dir_all(world.folder.path().join("bundles")).unwrap();
    let scorer = Scorer::start_member(world).await;
    scorer.listed(1, Available).await;
    scorer.answers(1).await;
    scorer.stop().await;
}

/// Notes under which targets versions were logged, in order.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<(String, String)>>>);

#[derive(Default)]
struct DigestField(Option<String>);

impl Visit for DigestField {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "digest" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

impl<S: tracing::Subscriber> Layer<S> for Notes {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut digest = DigestField::default();
        event.record(&mut digest);
        if let Some(digest) = digest.0 {
            let target = event.metadata().target().to_owned();
            self.0.lock().unwrap().push((digest, target));
        }
    }
}

impl Notes {
    fn of(&self, digest: Digest) -> Vec<String> {
        let notes = self.0.lock().unwrap();
        let targets = notes
            .iter()
            .filter(|(noted, _)| *noted == digest.to_string());
        let targets = targets.map(|(_, target)| target.clone());
        targets
            .filter(|target| target.starts_with("decant::"))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_session_is_opened_before_its_bytes_were_verified() {
    let notes = Notes::default();
    let subscriber = tracing_subscriber::registry().with(notes.clone());
    // The loader is a thread of its own.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let key = SigningKey::generate().unwrap();
    let scorer = Scorer::start().await;
    let first = scorer.world.push("films", &files(0.25), Some(&key)).await;
    scorer.world.desire(&signed_by(1, (1, first), &key)).await;
    scorer.answers(1).await;
    assert_eq!(notes.of(first), ["decant::verified", "decant::opened"]);
    let unsigned = scorer.push(&files(0.75)).await;
    scorer
        .world
        .desire(&signed_by(2, (2, unsigned), &key))
        .await;
    scorer.listed(2, End).await;
    assert_eq!(notes.of(unsigned), Vec::<String>::new());
    scorer.stop().await;
}
