//! The same work for many items on a few threads; the first failure stops all.

use crate::fault::Fault;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Threads that keep three nodes on two cores busy without a queue building up.
pub(crate) const THREADS: usize = 8;

/// Calls `work` once for each item with its position, in no certain order.
pub(crate) fn for_each<T: Sync>(items: &[T], work: impl Fn(usize, &T) -> Result<(), Fault> + Sync) -> Result<(), Fault> {
    let next = AtomicUsize::new(0);
    let first_fault = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..THREADS.min(items.len()) {
            scope.spawn(|| {
                while let Some(item) = take(items, &next) {
                    if let Err(fault) = work(item.0, item.1) {
                        first_fault.lock().expect("nobody panics while holding it").get_or_insert(fault);
                        next.store(items.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    first_fault.into_inner().expect("nobody panics while holding it").map_or(Ok(()), Err)
}

fn take<'a, T>(items: &'a [T], next: &AtomicUsize) -> Option<(usize, &'a T)> {
    let place = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |place| (place < items.len()).then_some(place + 1)).ok()?;
    Some((place, &items[place]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_once() {
        let items: Vec<usize> = (0..1000).collect();
        let sum = AtomicUsize::new(0);
        for_each(&items, |place, item| {
            assert_eq!(place, *item);
            sum.fetch_add(*item, Ordering::Relaxed);
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(sum.into_inner(), 499_500);
    }

    #[test]
    fn a_failure_stops_the_rest() {
        let items: Vec<usize> = (0..100_000).collect();
        let done = AtomicUsize::new(0);
        let outcome = for_each(&items, |place, _| {
            done.fetch_add(1, Ordering::Relaxed);
            if place == 10 { Err(Fault::new("the eleventh")) } else { Ok(()) }
        });
        assert_eq!(outcome.expect_err("one failed").to_string(), "the eleventh");
        assert!(done.into_inner() < items.len());
    }
}
