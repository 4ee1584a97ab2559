//! Sleeps, deadlines, the cached clock, and what an idle shard costs.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use super::super::reactor::TICK;
use super::super::shard::set_window;
use super::super::uring::SLICE;
use super::*;

#[test]
fn a_sleep_is_never_early_and_hardly_late_hot_or_parked() {
    on_both(|driver| {
        on_shard(driver, async || {
            for window in [SLICE, Duration::ZERO] {
                set_window(window);
                at_last(async || {
                    let mut late = Vec::new();
                    for i in 0..25 {
                        let wanted = Duration::from_micros(500 + i * 300);
                        let started = Instant::now();
                        sleep(wanted).await;
                        late.push(started.elapsed().checked_sub(wanted).expect("never early"));
                    }
                    mostly_within(Duration::from_millis(10), late)
                })
                .await;
            }
        });
    });
}

/// Half of these are below the bound.
fn mostly_within(bound: Duration, mut times: Vec<Duration>) -> Result<(), String> {
    times.sort();
    if times[times.len() / 2] < bound { Ok(()) } else { Err(format!("{times:?}")) }
}

#[test]
fn sleeps_end_in_the_order_of_their_times() {
    on_both(|driver| {
        on_shard(driver, async || {
            at_last(async || {
                let (begun, order) = (Instant::now(), Rc::new(Cell::new(0u64)));
                let sleeps = [9, 3, 6, 1].map(|ms| (ms, sleep(Duration::from_millis(ms))));
                if begun.elapsed() > Duration::from_millis(1) {
                    return Err("they did not begin at the same time".to_owned());
                }
                for (ms, sleep) in sleeps {
                    let order = order.clone();
                    spawn(async move {
                        sleep.await;
                        order.set(order.get() * 10 + ms);
                    });
                }
                until("all four", || order.get() > 999).await;
                assert_eq!(order.get(), 1369);
                Ok(())
            })
            .await;
        });
    });
}

#[test]
fn a_dropped_sleep_disturbs_nobody() {
    on_both(|driver| {
        on_shard(driver, async || {
            let started = Instant::now();
            for _ in 0..100 {
                let mut long = Box::pin(sleep(Duration::from_secs(3600)));
                poll_fn(|cx| {
                    assert!(long.as_mut().poll(cx).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            sleep(Duration::from_millis(1)).await;
            assert!(started.elapsed() < LOST);
            sleep(Duration::ZERO).await;
        });
    });
}

#[test]
fn an_alarm_wakes_the_task_that_has_set_it_at_its_moment() {
    on_both(|driver| {
        on_shard(driver, async || {
            at_last(async || {
                let mut late = Vec::new();
                for _ in 0..9 {
                    let at = Instant::now() + Duration::from_millis(7);
                    let mut alarm = None;
                    poll_fn(|cx| {
                        alarm.get_or_insert_with(|| Alarm::set(at, cx));
                        if now() < at { Poll::Pending } else { Poll::Ready(()) }
                    })
                    .await;
                    late.push(Instant::now().checked_duration_since(at).expect("never early"));
                }
                mostly_within(Duration::from_millis(10), late)
            })
            .await;
        });
    });
}

#[test]
fn an_alarm_that_is_called_off_wakes_nobody() {
    on_both(|driver| {
        on_shard(driver, async || {
            let mut sleep = Box::pin(sleep(Duration::from_millis(20)));
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                drop(Alarm::set(Instant::now() + Duration::from_millis(1), cx));
                sleep.as_mut().poll(cx)
            })
            .await;
            assert_eq!(polls, 2);
        });
    });
}

#[test]
fn a_deadline_is_never_early_and_at_most_two_ticks_late() {
    on_both(|driver| {
        on_shard(driver, async || {
            at_last(async || {
                let deadline = Deadline::new();
                let at = Instant::now() + Duration::from_millis(130);
                deadline.arm(at);
                poll_fn(|cx| deadline.poll_expired(cx)).await;
                let late = Instant::now().checked_duration_since(at).expect("never early");
                if late < 2 * TICK { Ok(()) } else { Err(format!("late by {late:?}")) }
            })
            .await;
        });
    });
}

#[test]
fn a_moved_deadline_counts_from_its_last_setting() {
    on_both(|driver| {
        on_shard(driver, async || {
            let deadline = Rc::new(Deadline::new());
            let started = Instant::now();
            let set = Rc::new(Cell::new(started + Duration::from_millis(100)));
            let ended = Rc::new(Cell::new(None));
            deadline.arm(set.get());
            let (waiting, told) = (deadline.clone(), ended.clone());
            spawn(async move {
                poll_fn(|cx| waiting.poll_expired(cx)).await;
                told.set(Some(Instant::now()));
            });
            // As requests on a kept connection do.
            while started.elapsed() < Duration::from_millis(300) && ended.get().is_none() {
                set.set(Instant::now() + Duration::from_millis(200));
                deadline.arm(set.get());
                sleep(Duration::from_millis(10)).await;
            }
            until("the deadline", || ended.get().is_some()).await;
            assert!(ended.get().is_some_and(|ended| ended >= set.get()), "it was early");
        });
    });
}

#[test]
fn an_earlier_deadline_overrides_a_later_one_and_a_disarmed_one_never_passes() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (early, never) = (Deadline::new(), Deadline::new());
            never.arm(Instant::now() + Duration::from_millis(50));
            poll_fn(|cx| Poll::Ready(never.poll_expired(cx).is_pending())).await;
            never.disarm();
            early.arm(Instant::now() + Duration::from_secs(3600));
            poll_fn(|cx| Poll::Ready(early.poll_expired(cx).is_pending())).await;
            early.arm(Instant::now() + Duration::from_millis(50));
            let started = Instant::now();
            poll_fn(|cx| {
                assert!(never.poll_expired(cx).is_pending());
                early.poll_expired(cx)
            })
            .await;
            assert!(started.elapsed() < LOST);
        });
    });
}

#[test]
fn the_clock_moves_with_the_turns() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (before, turns_before) = (now(), turns());
            assert_eq!(now(), before, "within a turn it stands still");
            sleep(Duration::from_millis(2)).await;
            assert!(now() >= before + Duration::from_millis(2));
            assert!(turns() > turns_before);
            assert!(now() <= Instant::now());
        });
    });
}

#[test]
fn an_idle_shard_with_armed_deadlines_neither_ticks_nor_burns() {
    const IDLE: Duration = Duration::from_millis(400);
    on_both(|driver| {
        let (turns, cpu) = on_shard(driver, async || {
            let deadlines: Vec<_> = (0..1000).map(|_| Deadline::new()).collect();
            for deadline in &deadlines {
                deadline.arm(Instant::now() + Duration::from_secs(60));
            }
            set_window(Duration::ZERO);
            sleep(Duration::from_millis(5)).await;
            let (turns_before, cpu_before) = (turns(), cpu());
            sleep(IDLE).await;
            (turns() - turns_before, cpu() - cpu_before)
        });
        // One turn would do; polling may ask for 40 µs before each sleep, many thousand turns at saturation.
        assert!(turns < 2000, "{driver}: {turns} turns");
        assert!(cpu < IDLE / 20, "{driver}: {cpu:?} of CPU");
    });
}

/// What this thread has run so far.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn a_task_that_never_waits_starves_neither_sockets_nor_timers() {
    on_both(|driver| {
        on_shard(driver, async || {
            let stop = Rc::new(Cell::new(false));
            let stopped = stop.clone();
            spawn(async move {
                while !stopped.get() {
                    yield_now().await;
                }
            });
            let listener = Listener::adopt(bind(loopback(), false).unwrap()).unwrap();
            let addr = listener.local_addr();
            spawn(serve(listener));
            let stream = Stream::connect(addr, LOST).await.unwrap();
            at_last(async || {
                let mut took = Vec::new();
                for _ in 0..20 {
                    let started = Instant::now();
                    write_all(&stream, b"x").await.unwrap();
                    read(&stream, &mut [0; 8]).await.unwrap();
                    sleep(Duration::from_millis(1)).await;
                    took.push(started.elapsed());
                }
                mostly_within(SLICE / 2, took)
            })
            .await;
            stop.set(true);
        });
    });
}
