//! Wake-ups from other threads: none is lost, in whatever state the shard is.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use super::super::shard::set_window;
use super::super::uring::SLICE;
use super::*;

/// How the glommio driver spends its idle time. The epoll driver knows one way only.
#[derive(Clone, Copy)]
enum Idle {
    Hot,
    /// Parks after so little silence that it parks and unparks all the time.
    Flapping,
    Parked,
}

impl Idle {
    fn window(self) -> Duration {
        match self {
            Idle::Hot => SLICE,
            Idle::Flapping => Duration::from_micros(200),
            Idle::Parked => Duration::ZERO,
        }
    }
}

/// `rounds` messages with irregular gaps, each acknowledged, so that a lost wake-up is a silence.
fn check(driver: Driver, idle: Idle, rounds: u32, traffic: bool) {
    let (sender, receiver) = flume::unbounded::<u32>();
    let (ack, acked) = flume::bounded::<u32>(1);
    let listener = bind(loopback(), false).unwrap();
    let addr = listener.local_addr().unwrap();
    let thread = start(driver, async move || {
        set_window(idle.window());
        spawn(serve(Listener::adopt(listener).unwrap()));
        while let Ok(round) = receiver.recv_async().await {
            ack.send(round).unwrap();
        }
    });
    let mut client = traffic.then(|| client(addr));
    let mut gap = 1u32;
    for round in 0..rounds {
        gap = gap.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        for _ in 0..gap >> 20 {
            std::hint::spin_loop();
        }
        sender.send(round).unwrap();
        if let Some(client) = client.as_mut().filter(|_| gap.is_multiple_of(4)) {
            ping(client, b"traffic");
        }
        assert_eq!(acked.recv_timeout(LOST), Ok(round), "{driver}: a wake-up was lost");
    }
    drop(sender);
    thread.join().unwrap();
}

#[test]
fn no_wakeup_is_lost_while_the_shard_is_hot() {
    on_both(|driver| check(driver, Idle::Hot, 10_000, false));
}

#[test]
fn no_wakeup_is_lost_beside_traffic() {
    on_both(|driver| check(driver, Idle::Hot, 3_000, true));
}

#[test]
fn no_wakeup_is_lost_while_the_shard_parks_and_unparks() {
    if has_io_uring() {
        check(Driver::Uring, Idle::Flapping, 3_000, false);
        check(Driver::Uring, Idle::Flapping, 3_000, true);
    }
}

#[test]
fn no_wakeup_is_lost_while_the_shard_is_parked() {
    if has_io_uring() {
        check(Driver::Uring, Idle::Parked, 3_000, false);
    }
}

#[test]
fn several_threads_wake_at_once_and_everything_arrives() {
    const THREADS: usize = 4;
    const EACH: usize = 23_000;
    on_both(|driver| {
        let (sender, receiver) = flume::bounded::<usize>(16);
        let received = on_shard(driver, async move || {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let sender = sender.clone();
                    std::thread::spawn(move || (0..EACH).for_each(|i| sender.send(i).unwrap()))
                })
                .collect();
            drop(sender);
            let mut received = 0;
            while let Ok(i) = receiver.recv_async().await {
                received += usize::from(i < EACH);
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            received
        });
        assert_eq!(received, THREADS * EACH);
    });
}

#[test]
fn a_wakeup_in_the_middle_of_a_poll_is_a_poll_more() {
    on_both(|driver| {
        on_shard(driver, async || {
            let (sender, receiver) = std::sync::mpsc::channel::<(Arc<AtomicBool>, Waker)>();
            let waking = std::thread::spawn(move || {
                for (flag, waker) in receiver {
                    flag.store(true, Ordering::Release);
                    waker.wake();
                }
            });
            for spins in 0..3_000 {
                let flag = Arc::new(AtomicBool::new(false));
                let mut asked = false;
                poll_fn(|cx| {
                    if flag.load(Ordering::Acquire) {
                        return Poll::Ready(());
                    }
                    if !std::mem::replace(&mut asked, true) {
                        sender.send((flag.clone(), cx.waker().clone())).unwrap();
                        // The poll ends before, during or after the wake-up.
                        (0..spins).for_each(|_| std::hint::spin_loop());
                    }
                    Poll::Pending
                })
                .await;
            }
            drop(sender);
            waking.join().unwrap();
        });
    });
}

#[test]
fn the_waker_of_an_ended_task_wakes_nobody() {
    on_both(|driver| {
        on_shard(driver, async move || {
            let kept: Arc<Mutex<Vec<Waker>>> = Arc::default();
            for _ in 0..100 {
                let keep = kept.clone();
                spawn(poll_fn(move |cx| {
                    keep.lock().unwrap().push(cx.waker().clone());
                    Poll::Ready(())
                }));
            }
            until("all have run", || kept.lock().unwrap().len() == 100).await;
            // Their places are used again by tasks that nobody wakes.
            let polls = Arc::new(Mutex::new(0));
            for _ in 0..100 {
                let polls = polls.clone();
                spawn(poll_fn(move |_| {
                    *polls.lock().unwrap() += 1;
                    Poll::<()>::Pending
                }));
            }
            let wake_all = |wakers: Vec<Waker>| wakers.into_iter().for_each(Waker::wake);
            wake_all(kept.lock().unwrap().clone());
            let foreign = kept.clone();
            std::thread::spawn(move || wake_all(foreign.lock().unwrap().clone())).join().unwrap();
            sleep(Duration::from_millis(5)).await;
            assert_eq!(*polls.lock().unwrap(), 100, "{driver}: each was polled once, when it was spawned");
        });
    });
}

#[test]
fn wakers_may_outlive_their_shard() {
    on_both(|driver| {
        let waker = on_shard(driver, async || poll_fn(|cx| Poll::Ready(cx.waker().clone())).await);
        waker.wake_by_ref();
        waker.wake();
    });
}
