//! One try: the input lies in a file until it is over, so that what ends the process is found there.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::Once;
use std::{env, fs, process, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process may take in all. Memory without end is a fault, and is to end the test and not the machine.
const MOST_MEMORY: u64 = 4 << 30;

thread_local! {
    /// Whether this thread's panics are remembered, not printed: some are caught and handled by what is tried.
    static TRIES: Cell<bool> = const { Cell::new(false) };
    /// The last of them.
    static HEARD: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Tries inputs of one target.
pub(crate) struct Attempt {
    target: &'static str,
    kept: PathBuf,
}

impl Attempt {
    pub(crate) fn new(target: &'static str) -> Self {
        listen();
        limit_memory();
        let folder = env::temp_dir().join("decant-fuzz");
        fs::create_dir_all(&folder).unwrap();
        let kept = folder.join(format!("{target}-{}", process::id()));
        eprintln!("{target}: what is being tried lies in {}", kept.display());
        Self { target, kept }
    }

    /// Checks an input, and passes on what the check says.
    ///
    /// # Panics
    /// When the check does. The input stays in its file.
    pub(crate) fn make(&self, input: &[u8], check: &mut impl FnMut(&[u8]) -> bool) -> bool {
        fs::write(&self.kept, input).unwrap();
        TRIES.set(true);
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| check(input)));
        TRIES.set(false);
        outcome.unwrap_or_else(|_| {
            let (target, heard, kept) = (self.target, HEARD.take(), self.kept.display());
            panic!("{target} fails: {heard}\nthe input is kept in {kept}")
        })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !thread::panicking() {
            // It may be gone already, and nobody needs it.
            let _ = fs::remove_file(&self.kept);
        }
    }
}

/// Hears the panics of threads that try something; the others are told as usual.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |told| {
            if TRIES.get() {
                HEARD.set(told.to_string());
            } else {
                usual(told);
            }
        }));
    });
}

fn limit_memory() {
    let limit = getrlimit(Resource::As);
    let most = limit
        .maximum
        .map_or(MOST_MEMORY, |most| most.min(MOST_MEMORY));
    let current = Some(most);
    setrlimit(Resource::As, Rlimit { current, ..limit }).unwrap();
}
