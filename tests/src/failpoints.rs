//! Registries that die between two steps: the programs that tests start end themselves at the points of
//! `decant_failpoint`, as one file of the cluster tells them.

use std::path::{Path, PathBuf};

use decant_proto::admin::v1 as admin;
use serde_json::Value;

use crate::deployment::Deployment;
use crate::operated::Operated;
use crate::process::Process;
use crate::wait::eventually;

/// The variable by which a process knows the file.
pub(crate) const VARIABLE: &str = "DECANT_FAILPOINT";

/// Where it lies in a cluster's folder.
pub(crate) fn file(folder: &Path) -> PathBuf {
    folder.join("failpoint")
}

impl Deployment {
    /// Has a registry end at its pass of this number, counted from 1 and from now, through a point.
    pub fn end_at(&self, registry: usize, point: &str, pass: u64) {
        let id = self.registries[registry].id();
        let (file, whole) = (file(self.folder()), self.folder().join("failpoint.new"));
        std::fs::write(&whole, format!("{id} {point} {pass}\n")).unwrap();
        std::fs::rename(whole, file).unwrap();
    }

    /// Has no registry end any more.
    pub fn end_nowhere(&self) {
        std::fs::remove_file(file(self.folder())).unwrap();
    }

    /// The place of the registry that leads, and its epoch.
    pub async fn leader(&self) -> (usize, u64) {
        eventually("a registry leads", || async {
            for place in 0..self.registries.len() {
                let answer = self
                    .admin(place)
                    .get_cluster(admin::GetClusterRequest {})
                    .await;
                let Ok(answer) = answer else { continue };
                let told = answer.into_inner();
                let leads = |registry: &Process| registry.address().to_string() == told.leader;
                if let Some(leader) = self.registries.iter().position(leads) {
                    return Ok((leader, told.epoch));
                }
            }
            Err("nobody")
        })
        .await
    }

    /// Puts another registry in the place of a leader that died, at the end of the list. Its lease ends now, and not some
    /// seconds later, which would be waited for again and again.
    pub async fn replace_dead_leader(&mut self, place: usize) {
        drop(self.registries.remove(place));
        let leader = ["get", "/decant/default/v1/leader", "--write-out", "json"];
        let found: Value = serde_json::from_str(&self.etcd.etcdctl(&leader).await).unwrap();
        if let Some(lease) = found["kvs"][0]["lease"].as_i64() {
            self.etcd
                .etcdctl(&["lease", "revoke", &format!("{lease:x}")])
                .await;
        }
        let registry = self.start_registry([]);
        self.registries.push(registry);
    }
}
