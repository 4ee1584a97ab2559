//! How many calls and connections there may be, and who waits.

use super::*;

#[test]
fn a_peer_is_told_every_limit() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        // RFC 9113 section 6.5.2: table, push, streams, window, frame, header list.
        let told = [(1, 4096), (2, 0), (3, 0), (4, 65_536), (5, 16_384), (6, 65_536)];
        assert_eq!(session.told, told);
        assert_eq!(session.credit, 100 * 65_536 - 65_535);
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
    });
}

#[test]
fn a_full_connection_is_followed_by_a_second_and_places_that_come_free_are_used_first() {
    on_each(async || {
        let world = World::new(Settings { streams_per_connection: 2, ..Settings::default() });
        let (one, two, three) = (world.call(), world.call(), world.call());
        let mut first = world.peer.accept(100).await;
        let (a, b) = (first.request().await, first.request().await);
        let mut second = world.peer.accept(100).await;
        let c = second.request().await;
        assert_eq!((world.streams(), world.connections()), (3, 2));
        first.answer(a).await;
        assert_eq!(one.await.unwrap(), Ok(200));
        let four = world.call();
        let d = first.request().await;
        first.answer(b).await;
        first.answer(d).await;
        second.answer(c).await;
        for call in [two, three, four] {
            assert_eq!(call.await.unwrap(), Ok(200));
        }
        assert_eq!(world.stats.upstream_connects.value(), 2);
    });
}

#[test]
fn beyond_the_last_connection_calls_wait_and_beyond_the_last_place_in_the_queue_they_are_refused() {
    on_each(async || {
        let world = World::new(Settings { waiting_per_endpoint: 1, ..narrow() });
        let running = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        let waiting = world.call();
        net::yield_now().await;
        let refused = world.call().await.unwrap().unwrap_err();
        assert_eq!(refused.cause, Cause::Overflow);
        assert!(refused.detail.contains(&world.peer.address().to_string()), "{refused}");
        session.answer(id).await;
        assert_eq!(running.await.unwrap(), Ok(200));
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(waiting.await.unwrap(), Ok(200));
        assert_eq!(world.stats.upstream_connects.value(), 1);
    });
}

#[test]
fn a_peer_that_takes_one_stream_at_a_time_gets_one_at_a_time() {
    on_each(async || {
        let world = World::new(Settings { connections_per_endpoint: 1, ..Settings::default() });
        let calls = [world.call(), world.call(), world.call()];
        let mut session = world.peer.accept(1).await;
        for call in calls {
            let id = session.request().await;
            net::sleep(Duration::from_millis(5)).await;
            assert_eq!(world.streams(), 1);
            session.answer(id).await;
            assert_eq!(call.await.unwrap(), Ok(200));
        }
    });
}

#[test]
fn a_peer_that_takes_no_stream_is_waited_for_on_one_connection() {
    on_each(async || {
        let world = World::new(Settings::default());
        let calls = [world.call(), world.call()];
        let mut session = world.peer.accept(0).await;
        until("the connection is made", || world.connections() == 1).await;
        assert!(session.is_quiet().await);
        assert_eq!(world.stats.upstream_connects.value(), 1);
        drop(calls);
    });
    on_each(async || {
        let world = World::new(Settings::default());
        let calls = [world.call(), world.call()];
        let mut session = world.peer.accept(0).await;
        session.allow(2).await;
        for _ in 0..2 {
            let id = session.request().await;
            session.answer(id).await;
        }
        for call in calls {
            assert_eq!(call.await.unwrap(), Ok(200));
        }
        assert_eq!(world.stats.upstream_connects.value(), 1);
    });
}

#[test]
fn a_peer_that_takes_fewer_streams_than_run_gets_no_more_until_they_are_over() {
    on_each(async || {
        let world = World::new(Settings { connections_per_endpoint: 1, ..Settings::default() });
        let running = [world.call(), world.call()];
        let mut session = world.peer.accept(2).await;
        let ids = [session.request().await, session.request().await];
        session.allow(1).await;
        let waiting = world.call();
        session.answer(ids[0]).await;
        let [first, second] = running;
        assert_eq!(first.await.unwrap(), Ok(200));
        assert_eq!(world.streams(), 1);
        session.answer(ids[1]).await;
        assert_eq!(second.await.unwrap(), Ok(200));
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(waiting.await.unwrap(), Ok(200));
    });
}
