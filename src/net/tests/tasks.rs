//! Spawning, ending, panicking, waking.

use std::cell::Cell;
use std::rc::Rc;
use std::task::Poll;

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

#[test]
fn tasks_are_dropped_on_their_shard_when_main_ends() {
    on_both(|driver| {
        struct Tell(std::sync::mpsc::Sender<std::thread::ThreadId>);
        impl Drop for Tell {
            fn drop(&mut self) {
                // What a drop spawns is dropped too, instead of being forgotten.
                let again = self.0.clone();
                spawn(async move { drop(again) });
                self.0.send(std::thread::current().id()).unwrap();
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel();
        let (waiting, queued) = (Tell(sender.clone()), Tell(sender));
        let shard = on_shard(driver, async move || {
            spawn(async move {
                let _waiting = waiting;
                std::future::pending::<()>().await;
            });
            yield_now().await;
            spawn(async move {
                let _never_polled = queued;
            });
            std::thread::current().id()
        });
        let dropped: Vec<_> = receiver.iter().collect();
        assert_eq!(dropped, [shard, shard], "{driver}");
    });
}

#[test]
fn a_panic_while_a_task_is_dropped_ends_nothing_else() {
    on_both(|driver| {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in a drop");
            }
        }
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        on_shard(driver, async move || {
            spawn(async {
                let _bomb = Bomb;
            });
            until("the panic is counted", || panics() == 1).await;
            spawn(async {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            });
            spawn(async move {
                let _dropped_all_the_same = sender;
                std::future::pending::<()>().await;
            });
            yield_now().await;
        });
        assert!(receiver.recv().is_err(), "{driver}");
    });
}

#[test]
fn many_tasks_come_and_go() {
    on_both(|driver| {
        let done = on_shard(driver, async || {
            let done = Rc::new(Cell::new(0));
            for wave in 0..20 {
                for _ in 0..500 {
                    let done = done.clone();
                    spawn(async move {
                        yield_now().await;
                        done.set(done.get() + 1);
                    });
                }
                until("a wave", || done.get() == (wave + 1) * 500).await;
            }
            done.get()
        });
        assert_eq!(done, 10_000);
    });
}

#[test]
#[should_panic(expected = "outside of a shard")]
fn spawning_outside_of_a_shard_is_a_clear_panic() {
    spawn(async {});
}

#[test]
fn a_shard_stays_on_the_cpu_it_is_given() {
    on_both(|driver| {
        let cpu = rustix::thread::sched_getcpu();
        let mut options = options(driver);
        options.cpu = Some(cpu);
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = spawn_shard(options, async move || {
            let set = rustix::thread::sched_getaffinity(None).unwrap();
            sender.send((set.count(), set.is_set(cpu))).unwrap();
        })
        .unwrap();
        thread.join().unwrap();
        assert_eq!(receiver.recv(), Ok((1, true)), "{driver}");
    });
}

#[test]
fn a_cpu_that_is_not_there_is_an_error() {
    let mut options = options(Driver::Epoll);
    options.cpu = Some(100_000);
    let error = spawn_shard(options, async || ()).expect_err("no such cpu");
    assert!(error.to_string().contains("cpu 100000"), "{error}");
}

#[test]
fn a_task_that_wakes_itself_and_ends_leaves_the_shard_idle() {
    on_both(|driver| {
        let turned = on_shard(driver, async || {
            for _ in 0..100 {
                spawn(poll_fn(|cx| {
                    cx.waker().wake_by_ref();
                    Poll::Ready(())
                }));
            }
            sleep(Duration::from_millis(5)).await;
            let before = turns();
            sleep(Duration::from_millis(50)).await;
            turns() - before
        });
        // Polling before a sleep makes a few hundred; a driver that believes something is runnable never stops.
        assert!(turned < 1000, "{driver}: {turned} turns");
    });
}

#[test]
fn outstanding_calls_are_counted_until_they_are_dropped() {
    on_both(|driver| {
        on_shard(driver, async || {
            let calls = || super::super::shard::reactor().calls().get();
            let (first, second) = (outstanding(), outstanding());
            assert_eq!(calls(), 2);
            drop(first);
            assert_eq!(calls(), 1);
            drop(second);
            assert_eq!(calls(), 0);
        });
    });
}
