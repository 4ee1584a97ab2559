//! How connections end, and what becomes of the calls on them.

use std::future::poll_fn;

use super::*;

#[test]
fn all_who_waited_share_a_failed_attempt_and_the_next_caller_starts_another() {
    on_each(async || {
        let world = World::new(Settings::default());
        let calls = [world.call(), world.call(), world.call()];
        drop(world.peer.accept_silently().await);
        for call in calls {
            assert_eq!(cause(call.await.unwrap()), Cause::Refused);
        }
        assert_eq!(world.stats.upstream_connects.value(), 1);
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
        assert_eq!((world.streams(), world.connections()), (0, 1));
    });
}

#[test]
fn a_goodbye_while_a_connection_is_set_up_is_a_refusal_and_a_complaint_is_a_failure() {
    on_each(async || {
        let world = World::new(Settings::default());
        for (reason, expected) in
            [(h2::Reason::NO_ERROR, Cause::Refused), (h2::Reason::INADEQUATE_SECURITY, Cause::ConnectFailed)]
        {
            for has_settings in [false, true] {
                let call = world.call();
                let session = world.peer.accept_silently().await;
                if has_settings {
                    // In one piece with the goodbye: no call may slip in between.
                    session.allow_and_go_away(100, reason).await;
                } else {
                    session.go_away_for(0, reason).await;
                }
                let error = call.await.unwrap().unwrap_err();
                assert_eq!(error.cause, expected, "{reason:?}, settings: {has_settings}: {error}");
                assert!(error.detail.contains(&world.peer.address().to_string()), "{error}");
                world.everything_is_given_back().await;
            }
        }
    });
}

#[test]
fn what_a_peer_said_before_it_went_is_read_though_nothing_can_be_written_to_it() {
    on_each(async || {
        let world = World::new(Settings::default());
        let first = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(first.await.unwrap(), Ok(200));
        // The next call is written before what has come meanwhile is read.
        let ready = world.endpoint.ready().await.unwrap();
        session.go_away(id).await;
        session.break_off();
        let Call { answer, lease, .. } = ready.send(request(), true).unwrap();
        let error = answer.await.map_err(|error| lease.explain(&error)).unwrap_err();
        assert_eq!(error.cause, Cause::Refused, "{error}");
        drop(lease);
        world.everything_is_given_back().await;
    });
}

#[test]
fn a_port_that_nobody_listens_on_fails_with_its_address() {
    on_each(async || {
        let closed = Peer::new().address();
        let world = World::towards(closed, Peer::new(), Settings::default());
        let error = world.call().await.unwrap().unwrap_err();
        assert_eq!(error.cause, Cause::ConnectFailed);
        assert!(error.detail.contains(&closed.to_string()), "{error}");
        assert!(error.detail.contains("refused"), "{error}");
        world.everything_is_given_back().await;
    });
}

#[test]
fn a_peer_that_speaks_http1_or_nothing_gets_no_request() {
    on_each(async || {
        let world = World::new(Settings { settings_timeout: 4 * SHORT, ..Settings::default() });
        let call = world.call();
        let stream = world.peer.accept_raw().await;
        poll_fn(|cx| stream.poll_write(cx, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
            .await
            .unwrap();
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.cause, Cause::ConnectFailed);
        assert!(error.detail.contains("does not speak HTTP/2"), "{error}");
        let call = world.call();
        let silent = world.peer.accept_silently().await;
        let error = call.await.unwrap().unwrap_err();
        assert!(error.detail.contains("no SETTINGS"), "{error}");
        drop(silent);
        world.everything_is_given_back().await;
    });
}

#[test]
fn a_goaway_refuses_what_lies_above_its_last_stream_and_lets_the_rest_finish() {
    on_each(async || {
        let world = World::new(Settings::default());
        let (kept, refused) = (world.call(), world.call());
        let mut old = world.peer.accept(100).await;
        let (first, _) = (old.request().await, old.request().await);
        // A peer that shuts down in order names no stream at first, then the last it will serve.
        old.go_away(0x7fff_ffff).await;
        until("it takes no more calls", || format!("{:?}", world.endpoint).contains("loads: []")).await;
        assert_eq!(world.streams(), 2, "none has failed");
        old.go_away(first).await;
        assert_eq!(cause(refused.await.unwrap()), Cause::Refused);
        // New calls go to a new connection while the old one still works.
        let next = world.call();
        let mut new = world.peer.accept(100).await;
        let id = new.request().await;
        new.answer(id).await;
        assert_eq!(next.await.unwrap(), Ok(200));
        assert_eq!((world.streams(), world.connections()), (1, 2));
        old.answer(first).await;
        assert_eq!(kept.await.unwrap(), Ok(200));
        old.goodbye().await;
        until("the old one is closed", || world.connections() == 1).await;
    });
}

#[test]
fn a_connection_lost_in_the_middle_fails_its_calls_as_closed() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        session.request().await;
        drop(session);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.cause, Cause::Closed);
        assert!(error.detail.contains(&world.peer.address().to_string()), "{error}");
        world.everything_is_given_back().await;
    });
}

#[test]
fn an_answer_that_breaks_the_rules_is_the_peers_fault() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        // A header block that names entry 61 + 9 of the tables, which is not there.
        session.send(super::peer::HEADERS, 5, id, &[0xc6]).await;
        assert_eq!(cause(call.await.unwrap()), Cause::Protocol);
        world.everything_is_given_back().await;
    });
}

#[test]
fn an_idle_connection_that_its_peer_closes_is_never_used_again() {
    on_each(async || {
        let world = World::new(Settings::default());
        for _ in 0..3 {
            let call = world.call();
            let mut session = world.peer.accept(100).await;
            let id = session.request().await;
            session.answer(id).await;
            assert_eq!(call.await.unwrap(), Ok(200));
            session.go_away(id).await;
            drop(session);
            until("it is closed", || world.connections() == 0).await;
        }
    });
}

#[test]
fn an_old_connection_takes_no_more_calls_finishes_those_it_has_and_says_goodbye() {
    on_each(async || {
        let world = World::new(Settings { age_max: SHORT, ..Settings::default() });
        let long = world.call();
        let mut old = world.peer.accept(100).await;
        let id = old.request().await;
        until("it is old", || format!("{:?}", world.endpoint).contains("loads: []")).await;
        let next = world.call();
        let mut new = world.peer.accept(100).await;
        let other = new.request().await;
        assert_eq!((world.streams(), world.connections()), (2, 2));
        new.answer(other).await;
        assert_eq!(next.await.unwrap(), Ok(200));
        old.answer(id).await;
        assert_eq!(long.await.unwrap(), Ok(200));
        old.goodbye().await;
        new.goodbye().await;
        world.everything_is_given_back().await;
    });
}

#[test]
fn a_connection_that_carries_nothing_is_closed_after_the_idle_time() {
    on_each(async || {
        let world = World::new(Settings { idle_timeout: SHORT, ..Settings::default() });
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        // Longer than the idle time: a call is no idleness.
        net::sleep(2 * SHORT).await;
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
        session.goodbye().await;
        world.everything_is_given_back().await;
    });
}

#[test]
fn connections_that_carry_nothing_are_let_go_at_once_and_others_go_on() {
    on_each(async || {
        let world = World::new(Settings { streams_per_connection: 1, ..Settings::default() });
        let running = world.call();
        let mut busy = world.peer.accept(100).await;
        let running_id = busy.request().await;
        let call = world.call();
        let mut idle = world.peer.accept(100).await;
        let id = idle.request().await;
        idle.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
        world.upstreams.let_go();
        idle.goodbye().await;
        until("the idle one is closed", || world.connections() == 1).await;
        busy.answer(running_id).await;
        assert_eq!(running.await.unwrap(), Ok(200));
        let next = world.call();
        let id = busy.request().await;
        busy.answer(id).await;
        assert_eq!(next.await.unwrap(), Ok(200));
    });
}

#[test]
fn a_peer_that_does_not_answer_a_ping_loses_its_calls_and_one_that_does_keeps_them() {
    on_each(async || {
        let settings = Settings { ping_interval: SHORT, ping_timeout: 5 * SHORT, ..Settings::default() };
        let world = World::new(settings);
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        session.request().await;
        session.pongs_left = 3;
        assert_eq!(session.frame().await, None);
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.cause, Cause::Closed);
        assert!(error.detail.contains("PING"), "{error}");
        assert_eq!(session.pings, 4, "three were answered and followed by another");
        world.everything_is_given_back().await;
    });
}

#[test]
fn when_its_pool_is_gone_an_endpoint_finishes_what_runs_and_takes_nothing_new() {
    on_each(async || {
        let World { upstreams, stats, pool, endpoint, peer } = World::new(Settings::default());
        let call = start(get(endpoint.clone()));
        let mut session: Session = peer.accept(100).await;
        let id = session.request().await;
        upstreams.release(pool);
        drop(endpoint);
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
        session.goodbye().await;
        until("all is closed", || stats.upstream_http2_open.value() == 0).await;
        // Whoever still knows the pool gets connections of its own, which nobody keeps.
        let reached =
            crate::handler::Peer { address: peer.address(), protocol: Protocol::Grpc, tls: None, pool };
        let own = upstreams.http2(&reached);
        let call = start(get(own));
        let mut session = peer.accept(100).await;
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
        session.goodbye().await;
    });
}

#[test]
fn a_head_that_does_not_come_to_an_end_takes_its_connection_with_it() {
    on_each(async || {
        let world = World::new(Settings { head_timeout: SHORT, ..Settings::default() });
        let calls = [world.call(), world.call()];
        let mut session = world.peer.accept(100).await;
        let (first, second) = (session.request().await, session.request().await);
        // Half of a block, and what is never read: the answer to the other.
        session.send(super::peer::HEADERS, 0, first, &[0x88]).await;
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!(error.cause, Cause::Closed);
            assert!(error.detail.contains("head"), "{error}");
        }
        session.answer(second).await;
        world.everything_is_given_back().await;
    });
}

/// A call that runs on the only connection there is, and another that waits for it, since a further one could not be made.
async fn running_and_waiting(
    world: &World,
) -> ([oneshot::Receiver<Result<u16, CallError>>; 2], Session, u32) {
    let first = world.call();
    let mut session = world.peer.accept(100).await;
    let id = session.request().await;
    let second = world.call();
    drop(world.peer.accept_silently().await);
    until("the attempt has failed", || format!("{:?}", world.endpoint).contains("connecting: false")).await;
    ([first, second], session, id)
}

#[test]
fn a_further_connection_that_cannot_be_made_leaves_callers_waiting_for_those_there_are() {
    on_each(async || {
        let world = World::new(Settings { streams_per_connection: 1, ..Settings::default() });
        let ([first, second], mut session, id) = running_and_waiting(&world).await;
        session.answer(id).await;
        assert_eq!(first.await.unwrap(), Ok(200));
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(second.await.unwrap(), Ok(200));
    });
}

#[test]
fn callers_that_wait_are_served_although_the_last_connection_goes_right_after_a_failed_attempt() {
    on_each(async || {
        let world = World::new(Settings { streams_per_connection: 1, ..Settings::default() });
        let ([first, second], session, id) = running_and_waiting(&world).await;
        session.go_away(id).await;
        let mut next = world.peer.accept(100).await;
        let other = next.request().await;
        next.answer(other).await;
        assert_eq!(second.await.unwrap(), Ok(200));
        session.answer(id).await;
        assert_eq!(first.await.unwrap(), Ok(200));
    });
}
