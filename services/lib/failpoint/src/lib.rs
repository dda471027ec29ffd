//! Places between two steps of a procedure at which a test ends the process, to see what the next one makes of what is
//! left behind.
//!
//! In a program built for use a point is an empty function. With the feature `armed`, a process reads the file that the
//! variable `DECANT_FAILPOINT` names whenever it comes to a point. The file holds `<process id> <point> <pass>`: the
//! process of that id aborts at its pass of that number through that point, counted from 1 since the file says so. So a
//! test can choose a process that runs already, and processes that share the file are told apart.

#[cfg(feature = "armed")]
mod armed;

macro_rules! points {
    ($($(#[$doc:meta])* $point:ident = $name:literal,)*) => {
        /// A place between two steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $($(#[$doc])* $point,)*
        }

        impl Point {
            /// Every point, so that a test of all of them is one of those to come, too.
            pub const ALL: &[Point] = &[$(Point::$point,)*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Point::$point => $name,)*
                }
            }
        }
    };
}

// In the order in which a version passes through them on its way from an upload into service; those of rollouts at the end.
points! {
    /// A push has sent its header, and is not one that was made before.
    PushAnnounced = "push-announced",
    /// All that a header tells is in order; no file was received.
    PushBegun = "push-begun",
    /// A message's part of a file was received.
    ChunkReceived = "chunk-received",
    /// A file was received and is right; nobody can read it yet.
    FileProved = "file-proved",
    /// A file was made visible.
    FileVisible = "file-visible",
    /// The signature was written; the manifest was not.
    SignatureWritten = "signature-written",
    /// The manifest was written: the bundle is whole, and no version of any model.
    ManifestWritten = "manifest-written",
    /// Every byte of a staged version was read back; what came of it is not on record.
    VersionReadBack = "version-read-back",
    /// The leader has seen that enough scorers have a pending version ready.
    FleetReady = "fleet-ready",
    /// A mutation is about to be made. What it writes, its audit entry and the record of its request are one transaction.
    MutationPlanned = "mutation-planned",
    /// A mutation was made; whoever asked for it has not heard of it.
    MutationMade = "mutation-made",
    /// The leader has seen what is to become of a rollout; nothing of it is on record.
    RolloutDecided = "rollout-decided",
    /// What was to become of a rollout is on record; the leader has not looked at it again.
    RolloutMoved = "rollout-moved",
}

impl Point {
    /// Says that the process is here.
    #[inline]
    pub fn pass(self) {
        #[cfg(feature = "armed")]
        armed::pass(self);
    }
}
