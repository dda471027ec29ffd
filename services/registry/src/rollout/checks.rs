//! What must hold of a version before it sees any traffic. Each check says what it found, in words for operators; those that
//! do not hold keep a rollout from beginning, unless an operator goes on without them for a reason.
//!
//! - `state`: the version is approved.
//! - `signature`: a key signed it that may sign now, if the model asks for signatures.
//! - `lineage`: it is known what the version came from. A version that a job trained names its dataset, its spec, the code and
//!   its teachers; one that was brought in from elsewhere names no job, and only has to say what brought it in.
//! - `evaluation`: the model's gates on metrics hold, as they were when the version was judged and as they are now.
//! - `fidelity`: so do those on how well it agrees with its teacher.
//! - `features`: it reads no column from requests that the stable version does not read too, in the same way, so that callers
//!   need not change.
//! - `golden`: there is something that scorers can replay before they call it ready.
//! - `latency`: measured in its job it is not much slower than the stable version was in its own.

mod features;
mod figures;
mod origin;

use decant_artifact::BundleStore;
use decant_coordination::keys::{CheckRecord, VersionState};
use decant_model::rollout::Plan;
use decant_model::{PublicKey, file};

use crate::catalog::Version;
use crate::error::CallError;

/// What is checked, in this order.
const NAMES: [&str; 8] = [
    "state",
    "signature",
    "lineage",
    "evaluation",
    "fidelity",
    "features",
    "golden",
    "latency",
];

/// These are never gone on without: scorers serve nothing that is not approved, and refuse what is not signed.
const BINDING: [&str; 2] = ["state", "signature"];

/// A version that is to be released, beside what it is to follow.
pub(super) struct Subject<'a> {
    pub(super) candidate: &'a Version,
    pub(super) stable: &'a Version,
    /// What the model asks of its versions.
    pub(super) gates: &'a [decant_model::Gate],
    pub(super) signers: &'a [PublicKey],
    pub(super) plan: &'a Plan,
}

/// What a check found: `Ok` when it holds.
type Found = Result<String, String>;

/// Refuses to go on without checks that there are not, or that always count, or for no reason.
pub(super) fn check_overrides(overrides: &[String], reason: &str) -> Result<(), CallError> {
    for (place, name) in overrides.iter().enumerate() {
        let field = format!("override_checks[{place}]");
        if BINDING.contains(&&**name) {
            let words = format!("a version is never released without `{name}`");
            return Err(CallError::field(field, words));
        }
        if !NAMES.contains(&&**name) {
            let words = format!("`{name}` is no check; there are {}", NAMES.join(", "));
            return Err(CallError::field(field, words));
        }
    }
    if !overrides.is_empty() && reason.is_empty() {
        return Err(CallError::field(
            "reason",
            "must be given to go on although checks do not hold",
        ));
    }
    Ok(())
}

/// Checks everything. An error is the store's: it says nothing about the version.
pub(super) async fn run(
    subject: &Subject<'_>,
    bundles: &BundleStore,
    overrides: &[String],
) -> Result<Vec<CheckRecord>, CallError> {
    let found: [Found; 8] = [
        state(subject),
        signature(subject),
        origin::lineage(&subject.candidate.record.manifest.lineage),
        figures::evaluation(subject),
        figures::fidelity(subject),
        features::compatible(subject, bundles).await?,
        golden(subject),
        figures::latency(subject),
    ];
    let checks = NAMES.into_iter().zip(found).map(|(name, found)| {
        let passed = found.is_ok();
        CheckRecord {
            name: name.to_owned(),
            passed,
            found: found.unwrap_or_else(|wrong| wrong),
            overridden: !passed && overrides.iter().any(|given| given == name),
        }
    });
    Ok(checks.collect())
}

/// Refuses a version of which something does not hold that nobody overrode.
pub(super) fn require(candidate: &Version, checks: &[CheckRecord]) -> Result<(), CallError> {
    let in_the_way = |check: &&CheckRecord| !check.passed && !check.overridden;
    let failed: Vec<CheckRecord> = checks.iter().filter(in_the_way).cloned().collect();
    if failed.is_empty() {
        return Ok(());
    }
    Err(CallError::ChecksFailed {
        model: candidate.model.clone(),
        version: candidate.version,
        failed,
    })
}

fn state(subject: &Subject<'_>) -> Found {
    if subject.candidate.state.state == VersionState::Approved {
        return Ok("it is approved".to_owned());
    }
    Err(CallError::not_approved(subject.candidate).to_string())
}

fn signature(subject: &Subject<'_>) -> Found {
    if subject.signers.is_empty() {
        return Ok("the model asks for no signature".to_owned());
    }
    match subject.candidate.record.signature {
        Some(signature) if subject.signers.contains(&signature.key) => {
            Ok(format!("it is signed by {}", signature.key))
        }
        Some(signature) => Err(format!(
            "it is signed by {}, which may not sign now",
            signature.key
        )),
        None => Err("it is not signed".to_owned()),
    }
}

fn golden(subject: &Subject<'_>) -> Found {
    match subject.candidate.record.manifest.file(file::GOLDEN) {
        Some(entry) if entry.size > 0 => {
            Ok("scorers replay the bundle's golden vectors before they call it ready".to_owned())
        }
        _ => Err(format!("`{}` of its bundle is empty", file::GOLDEN)),
    }
}
