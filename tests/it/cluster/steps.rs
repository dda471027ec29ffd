//! A leader that dies between any two steps of a push, or of an activation; and what is asked for again, as whoever hears
//! no answer does. There is one of everything afterwards, and nobody who asked for scores has noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use decant_artifact::testing::listed;
use decant_artifact::{BundleStore, Limits, SigningKey, Sweep};
use decant_failpoint::Point;
use decant_model::Digest;
use decant_proto::admin::v1 as admin;
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1 as registry;
use decant_proto::rollout::v1 as rollout;
use decant_tests::tiny::{MODEL, model};
use decant_tests::{Deployment, Operated, Recorder, Shape, Tiny, eventually};
use tonic::Status;

const OFTEN: Duration = Duration::from_millis(5);
/// No procedure comes so often to one point.
const MANY: u64 = 20;
/// How `abort` ends a process.
const SIGABRT: i32 = 6;

/// A cluster in which leaders die, and all that was asked of it.
struct Story {
    cluster: Deployment,
    key: SigningKey,
    /// What was pushed, in order: version 1 and so on.
    pushed: Vec<Tiny>,
    /// The versions that the slot was set to.
    set: Vec<u64>,
}

impl Story {
    async fn begin() -> Self {
        let cluster = Deployment::start(Shape {
            etcd: 1,
            registries: 2,
            scorers: 2,
        })
        .await;
        Self {
            cluster,
            key: SigningKey::generate().unwrap(),
            pushed: Vec::new(),
            set: Vec::new(),
        }
    }

    /// A bundle unlike those before.
    fn tiny(&self) -> Tiny {
        Tiny::new(0.01 * (self.pushed.len() as f32 + 1.0))
    }

    async fn push(&self, place: usize, tiny: &Tiny) -> Result<registry::Version, Status> {
        let signature = self.key.sign(&tiny.manifest);
        let (mut client, files) = (self.cluster.registry(place), tiny.files.clone());
        let manifest = tiny.manifest.clone();
        push_version(&mut client, &model(), manifest, Some(&signature), files).await
    }

    async fn set(&self, place: usize, version: u64, id: &str) -> Result<rollout::Slot, Status> {
        let request = rollout::SetSlotRequest {
            model: MODEL.to_owned(),
            version,
            request_id: id.to_owned(),
            issued_by: "operator".to_owned(),
            ..rollout::SetSlotRequest::default()
        };
        let answer = self.cluster.rollout(place).set_slot(request).await?;
        Ok(answer.into_inner().slot.unwrap())
    }

    /// Whether a registry has ended itself at a point.
    fn has_died(&mut self, place: usize) -> bool {
        let Some(status) = self.cluster.registries[place].ended() else {
            return false;
        };
        assert_eq!(status.signal(), Some(SIGABRT), "{status}");
        true
    }

    async fn dies(&mut self, place: usize) {
        for _ in 0..1000 {
            if self.has_died(place) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it broke off its answer, but did not end at a point");
    }

    /// Pushes a version to a leader that is to die at a pass through a point; whether it did.
    async fn push_dies_at(&mut self, point: Point, pass: u64) -> bool {
        let (victim, _) = self.cluster.leader().await;
        let tiny = self.tiny();
        self.cluster.end_at(victim, point.name(), pass);
        let outcome = self.push(victim, &tiny).await;
        let died = outcome.is_err();
        if died {
            self.dies(victim).await;
        }
        self.cluster.end_nowhere();
        let version = match outcome {
            Ok(version) => version,
            Err(_) => {
                eventually("the push succeeds elsewhere", || async {
                    let again = self.push(1 - victim, &tiny).await;
                    again.map_err(|status| status.to_string())
                })
                .await
            }
        };
        assert_eq!(version.state(), registry::VersionState::Approved);
        self.pushed.push(tiny);
        assert_eq!(version.version, self.pushed.len() as u64);
        if died {
            self.cluster.replace_dead_leader(victim).await;
        }
        died
    }

    /// Has a new version activated by a leader that is to die at a pass through a point; whether it did.
    async fn activation_dies_at(&mut self, point: Point, pass: u64) -> bool {
        let (victim, _) = self.cluster.leader().await;
        let survivor = 1 - victim;
        let tiny = self.tiny();
        let version = self.push(survivor, &tiny).await.unwrap().version;
        self.pushed.push(tiny);
        self.set.push(version);
        self.cluster.end_at(victim, point.name(), pass);
        let id = format!("set to {version}");
        let first = self.set(victim, version, &id).await;
        let died = match &first {
            Ok(slot) => self.died_activating(victim, slot.generation + 1).await,
            Err(_) => {
                self.dies(victim).await;
                true
            }
        };
        self.cluster.end_nowhere();
        // Whether it was answered or not, asking again changes nothing more.
        let again = eventually("the slot can be set elsewhere", || async {
            let again = self.set(survivor, version, &id).await;
            again.map_err(|status| status.to_string())
        })
        .await;
        if let Ok(first) = first {
            assert_eq!(again, first);
        }
        if died {
            self.cluster.replace_dead_leader(victim).await;
        }
        let slot = self.cluster.converged(0, version, 2).await;
        assert_eq!(slot.generation, again.generation + 1);
        died
    }

    /// Waits until a leader has activated a generation and knows it, or has died.
    async fn died_activating(&mut self, leader: usize, generation: u64) -> bool {
        let told = format!("\"generation\":{generation},");
        for _ in 0..2000 {
            if self.has_died(leader) {
                return true;
            }
            let log = self.cluster.registries[leader].log();
            let activated = |line: &&String| {
                line.contains("activated what was pending") && line.contains(&told)
            };
            if log.iter().any(|line| activated(&line)) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the leader neither activates generation {generation} nor dies");
    }

    /// One version for each push, in order and approved; two generations for each change of the slot; and each of these
    /// told once by an audit log that is whole.
    async fn check_records(&self) {
        let request = registry::ListVersionsRequest {
            model: MODEL.to_owned(),
            page_size: 1000,
            ..registry::ListVersionsRequest::default()
        };
        let listed = self.cluster.registry(0).list_versions(request).await;
        let mut versions = listed.unwrap().into_inner().versions;
        versions.reverse();
        let numbers: Vec<u64> = versions.iter().map(|version| version.version).collect();
        assert_eq!(numbers, (1..=self.pushed.len() as u64).collect::<Vec<_>>());
        for (version, tiny) in versions.iter().zip(&self.pushed) {
            assert_eq!(version.digest, tiny.digest.to_string());
            assert_eq!(version.state(), registry::VersionState::Approved);
        }

        let intended = self.cluster.intended(0).await;
        assert_eq!(intended.len(), 2 * self.set.len());
        for (change, version) in intended.rchunks(2).zip(&self.set) {
            let [activated, prepared] = change else {
                panic!("{change:?}");
            };
            assert_eq!(prepared.pending[0].version, *version);
            assert_eq!(activated.active[0].version, *version);
            assert!(activated.pending.is_empty() && activated.epoch > 0);
            assert_eq!(activated.generation, prepared.generation + 1);
        }

        let verified = self
            .cluster
            .admin(0)
            .verify_audit(admin::VerifyAuditRequest {})
            .await
            .unwrap();
        assert!(verified.get_ref().broken.is_empty(), "{verified:?}");
        let mut told = BTreeMap::new();
        for entry in self.audit().await {
            *told.entry((entry.subject, entry.action)).or_insert(0) += 1;
        }
        let slot = format!("{MODEL}/main");
        for action in ["slot.set", "slot.activate"] {
            let times = told.remove(&(slot.clone(), action.to_owned()));
            assert_eq!(times, Some(self.set.len()), "{action}");
        }
        for number in numbers {
            for action in ["version.stage", "version.validate", "version.approve"] {
                let entry = (format!("{MODEL}/v{number}"), action.to_owned());
                assert_eq!(told.remove(&entry), Some(1), "{entry:?}");
            }
        }
        assert_eq!(told.len(), 1, "the model's creation is left: {told:?}");
    }

    async fn audit(&self) -> Vec<admin::AuditEntry> {
        let mut entries = Vec::new();
        let mut request = admin::ListAuditRequest::default();
        loop {
            let page = self.cluster.admin(0).list_audit(request.clone()).await;
            let page = page.unwrap().into_inner();
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return entries;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// The bundles' folder holds what whole pushes would have put there, once it was swept; and whatever was lost on the
    /// way can be swept.
    async fn check_bundles(&self, orphan: Digest) {
        let folder = self.cluster.folder().join("bundles");
        let store = BundleStore::local(&folder).unwrap();
        let named: BTreeSet<Digest> = self.pushed.iter().map(|tiny| tiny.digest).collect();
        let later = SystemTime::now() + Duration::from_secs(60);
        let swept = store
            .sweep(&named, Duration::ZERO, later, Sweep::Delete)
            .await
            .unwrap();
        assert_eq!(swept.bundles, [orphan]);
        assert!(swept.uploads > 0, "some died before a file was whole");

        let other = self.cluster.folder().join("expected");
        let expected = BundleStore::local(&other).unwrap();
        for tiny in &self.pushed {
            let mut writer = expected
                .write(tiny.digest, tiny.manifest.clone(), &Limits::default())
                .unwrap()
                .signed(self.key.sign(&tiny.manifest))
                .unwrap();
            for (path, bytes) in &tiny.files {
                writer.write(path, bytes.clone()).await.unwrap();
            }
            writer.finish().await.unwrap();
        }
        assert_eq!(files(&folder), files(&other));
    }
}

/// Every file below a folder, with its content.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = listed(folder).into_iter();
    let files = names.map(|name| {
        let content = std::fs::read(folder.join(&name)).unwrap();
        (name, content)
    });
    files.collect()
}

/// The points of pushes and activations. Those of rollouts are passed in the tests of rollouts.
fn points() -> impl Iterator<Item = Point> {
    let all = Point::ALL.iter().copied();
    all.filter(|point| !point.name().starts_with("rollout"))
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_leader_that_dies_between_any_two_steps_leaves_one_of_everything() {
    let mut story = Story::begin().await;
    let tiny = story.tiny();
    let first = story.push(0, &tiny).await.unwrap().version;
    story.pushed.push(tiny);
    story.set.push(first);
    story.set(0, first, "the first").await.unwrap();
    story.cluster.converged(0, first, 2).await;
    let clients = Recorder::start(story.cluster.scorer_addresses(), OFTEN);

    let all: BTreeSet<Point> = points().collect();
    let mut died_at = BTreeSet::new();
    for &point in &all {
        let mut pass = 1;
        while story.push_dies_at(point, pass).await {
            died_at.insert(point);
            pass += 1;
            assert!(pass < MANY, "{point:?}");
        }
        let mut pass = 1;
        while story.activation_dies_at(point, pass).await {
            died_at.insert(point);
            pass += 1;
            assert!(pass < MANY, "{point:?}");
        }
    }
    assert_eq!(
        died_at, all,
        "some points are never passed; or were the programs not built by `make test`?"
    );

    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&story.cluster.intended(0).await);
    history.check_exact(&story.pushed);
    story.check_records().await;

    // A push that nobody repeats leaves a bundle that nothing names.
    let (victim, _) = story.cluster.leader().await;
    let orphan = story.tiny();
    let point = Point::ManifestWritten.name();
    story.cluster.end_at(victim, point, 1);
    story.push(victim, &orphan).await.unwrap_err();
    story.dies(victim).await;
    story.check_bundles(orphan.digest).await;
}
