//! What a point does in a test.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::Point;

/// Names the file that says which process is to end where.
const VARIABLE: &str = "DECANT_FAILPOINT";

/// What the file said last, and how often the process came there since.
static SEEN: Mutex<Seen> = Mutex::new(Seen {
    order: String::new(),
    passes: 0,
});

struct Seen {
    order: String,
    passes: u64,
}

pub(crate) fn pass(point: Point) {
    if std::env::var_os(VARIABLE).is_some_and(|file| is_the_end(&file, point)) {
        std::process::abort();
    }
}

/// Whether the process is to end here and now.
fn is_the_end(file: &OsStr, point: Point) -> bool {
    // Without a file, or with one that is just being written, nobody is told anything.
    let Ok(order) = std::fs::read_to_string(Path::new(file)) else {
        return false;
    };
    let words: Vec<&str> = order.split_whitespace().collect();
    let [id, name, pass] = words[..] else {
        return false;
    };
    if id != std::process::id().to_string() || name != point.name() {
        return false;
    }
    let pass = pass.parse::<u64>().ok();
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.order != order {
        *seen = Seen { order, passes: 0 };
    }
    seen.passes += 1;
    Some(seen.passes) == pass
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_that_is_named_ends_at_the_pass_that_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("failpoint");
        let here = || is_the_end(file.as_os_str(), Point::ManifestWritten);
        assert!(!here(), "without a file nothing happens");
        let own = std::process::id();
        let order = |id: u32, point: Point, pass: u64| {
            std::fs::write(&file, format!("{id} {} {pass}\n", point.name())).unwrap();
        };
        order(own + 1, Point::ManifestWritten, 1);
        assert!(!here(), "another process is meant");
        order(own, Point::FileProved, 1);
        assert!(!here(), "another point is meant");
        order(own, Point::ManifestWritten, 2);
        assert_eq!([here(), here(), here()], [false, true, false]);
        order(own, Point::ManifestWritten, 1);
        assert!(here(), "a new order counts anew");
    }

    #[test]
    fn no_two_points_have_one_name() {
        let mut names: Vec<&str> = Point::ALL.iter().map(|point| point.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }
}
