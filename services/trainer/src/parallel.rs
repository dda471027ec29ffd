//! A bounded number of tasks at a time, with their results in the order of the tasks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Runs every task on at most `threads` threads. After the first error no further task is started, and the error of
/// the earliest failed task is returned.
///
/// # Errors
/// The tasks' own.
pub(crate) fn run<T, E, F>(threads: usize, tasks: Vec<F>) -> Result<Vec<T>, E>
where
    T: Send,
    E: Send,
    F: FnOnce() -> Result<T, E> + Send,
{
    let count = tasks.len();
    let tasks: Vec<Mutex<Option<F>>> = tasks
        .into_iter()
        .map(|task| Mutex::new(Some(task)))
        .collect();
    let results: Vec<Mutex<Option<Result<T, E>>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let position = next.fetch_add(1, Ordering::Relaxed);
            let Some(slot) = tasks.get(position) else {
                return;
            };
            let Some(task) = take(slot) else { return };
            let result = task();
            if result.is_err() {
                next.fetch_max(count, Ordering::Relaxed);
            }
            *results[position]
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(count) {
            scope.spawn(work);
        }
        work();
    });
    // Tasks are begun in order, so only those after an error are missing.
    results.iter().filter_map(take).collect()
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_tasks() {
        for threads in [1, 3, 64] {
            let tasks: Vec<_> = (0..20)
                .map(|number| move || Ok::<_, ()>(number * number))
                .collect();
            assert_eq!(
                run(threads, tasks),
                Ok((0..20).map(|number| number * number).collect())
            );
        }
        assert_eq!(run(2, Vec::<fn() -> Result<(), ()>>::new()), Ok(vec![]));
    }

    #[test]
    fn an_error_stops_what_has_not_begun() {
        let begun = AtomicUsize::new(0);
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let begun = &begun;
                move || {
                    begun.fetch_add(1, Ordering::Relaxed);
                    if number == 2 { Err(number) } else { Ok(number) }
                }
            })
            .collect();
        assert_eq!(run(1, tasks), Err(2));
        assert_eq!(begun.into_inner(), 3);
    }
}
