//! Spawning, ending, panicking, waking.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

#[test]
fn a_panicking_task_ends_alone() {
    on_both(|driver| {
        on_shard(driver, async || {
            spawn(async { panic!("boom") });
            let alive = Rc::new(Cell::new(false));
            let flag = alive.clone();
            spawn(async move {
                sleep(Duration::from_millis(2)).await;
                flag.set(true);
            });
            until("the other task", || alive.get()).await;
            assert_eq!(panics(), 1);
        });
    });
}

#[test]
fn a_panicking_main_is_told_to_who_joins() {
    on_both(|driver| {
        let thread = start(driver, async || panic!("main is broken: {}", 7));
        assert_eq!(thread.join(), Err("main is broken: 7".to_owned()));
    });
}

#[test]
fn a_spawned_task_is_queued_and_not_run_at_once() {
    on_both(|driver| {
        on_shard(driver, async || {
            let ran = Rc::new(Cell::new(false));
            let flag = ran.clone();
            spawn(async move { flag.set(true) });
            assert!(!ran.get());
            yield_now().await;
            assert!(ran.get());
        });
    });
}
