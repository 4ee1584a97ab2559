//! Calls that share connections, and those that give up.

use bytes::Bytes;
use futures::FutureExt;

use super::peer::{DATA, RST_STREAM};
use super::*;

/// Answers each request with what it was sent.
async fn echo_by_h2(peer: Peer) {
    loop {
        let stream = peer.accept_raw().await;
        net::spawn(async move {
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                net::spawn(async move {
                    let mut body = request.into_body();
                    let mut sender = respond.send_response(http::Response::new(()), false).unwrap();
                    while let Some(data) = body.data().await {
                        let data = data.unwrap();
                        body.flow_control().release_capacity(data.len()).unwrap();
                        sender.send_data(data, false).unwrap();
                    }
                    sender.send_data(Bytes::new(), true).unwrap();
                });
            }
        });
    }
}

async fn echo(endpoint: Rc<Endpoint>, number: u8) {
    let Call { answer, mut body, lease } = endpoint.ready().await.unwrap().send(request(), false).unwrap();
    body.send_data(Bytes::from(vec![number; 1000]), true).unwrap();
    let mut response = answer.await.unwrap();
    let mut received = Vec::new();
    while let Some(data) = response.body_mut().data().await {
        let data = data.unwrap();
        response.body_mut().flow_control().release_capacity(data.len()).unwrap();
        received.extend_from_slice(&data);
    }
    assert_eq!(received, vec![number; 1000]);
    drop(lease);
}

#[test]
fn many_calls_share_two_connections_and_their_handshakes() {
    on_each(async || {
        let World { upstreams, stats, pool, endpoint, peer } = World::new(Settings::default());
        net::spawn(echo_by_h2(peer));
        for round in 0..5 {
            let calls: Vec<_> = (0..100).map(|n| start(echo(endpoint.clone(), n + round))).collect();
            for call in calls {
                call.await.unwrap();
            }
        }
        assert_eq!(stats.upstream_connects.value(), 2);
        assert_eq!(stats.upstream_reused.value(), 498);
        assert_eq!((stats.upstream_http2_open.value(), stats.upstream_http2_streams.value()), (2, 0));
        drop(endpoint);
        upstreams.release(pool);
        until("it is closed", || stats.upstream_http2_open.value() == 0).await;
    });
}

#[test]
fn calls_one_after_the_other_need_no_second_connection() {
    on_each(async || {
        let World { upstreams: _kept, stats, endpoint, peer, .. } = World::new(Settings::default());
        net::spawn(echo_by_h2(peer));
        for number in 0..9 {
            echo(endpoint.clone(), number).await;
        }
        assert_eq!(stats.upstream_connects.value(), 1);
    });
}

#[test]
fn a_second_connection_that_cannot_be_had_is_left_alone_and_no_call_waits_for_it() {
    on_each(async || {
        let world = World::new(Settings::default());
        let calls = [world.call(), world.call()];
        let mut session = world.peer.accept(100).await;
        let mut asked = vec![session.request().await, session.request().await];
        // These find places, and each of them another reason to share.
        let more = [world.call(), world.call()];
        drop(world.peer.accept_raw().await);
        until("the attempt has failed", || world.connections() == 1).await;
        let last = world.call();
        for _ in 0..3 {
            asked.push(session.request().await);
        }
        for id in asked {
            session.answer(id).await;
        }
        for call in calls.into_iter().chain(more).chain([last]) {
            assert_eq!(call.await.unwrap(), Ok(200));
        }
        assert_eq!(world.stats.upstream_connects.value(), 2, "it is not tried again at once");
        assert_eq!(world.connections(), 1);
    });
}

#[test]
fn a_second_connection_that_does_not_last_is_left_alone_too() {
    on_each(async || {
        let world = World::new(Settings::default());
        let calls = [world.call(), world.call()];
        let mut first = world.peer.accept(100).await;
        let asked = [first.request().await, first.request().await];
        let third = world.call();
        let mut second = world.peer.accept(100).await;
        let asked = [asked[0], asked[1], first.request().await];
        until("both take calls", || format!("{:?}", world.endpoint).matches("Load {").count() == 2).await;
        let fourth = world.call();
        let id = second.request().await;
        second.answer(id).await;
        second.go_away(id).await;
        until("it is gone", || world.connections() == 1).await;
        let fifth = world.call();
        for id in asked.into_iter().chain([first.request().await]) {
            first.answer(id).await;
        }
        for call in calls.into_iter().chain([third, fourth, fifth]) {
            assert_eq!(call.await.unwrap(), Ok(200));
        }
        assert_eq!(world.stats.upstream_connects.value(), 2, "it is not made again at once");
    });
}

#[test]
fn nothing_is_sent_before_the_peer_has_shown_that_it_speaks_http2() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = world.call();
        let mut session = world.peer.accept_silently().await;
        assert!(session.is_quiet().await);
        drop(call);
    });
}

#[test]
fn a_refused_stream_is_told_from_a_reset_one() {
    on_each(async || {
        let world = World::new(Settings::default());
        let (refused, reset) = (world.call(), world.call());
        let mut session = world.peer.accept(100).await;
        let (first, second) = (session.request().await, session.request().await);
        session.reset(first, h2::Reason::REFUSED_STREAM).await;
        session.reset(second, h2::Reason::INTERNAL_ERROR).await;
        assert_eq!(cause(refused.await.unwrap()), Cause::Refused);
        assert_eq!(cause(reset.await.unwrap()), Cause::Reset(h2::Reason::INTERNAL_ERROR));
        assert_eq!((world.streams(), world.connections()), (0, 1), "the connection goes on");
    });
}

#[test]
fn a_call_that_is_given_up_is_cancelled_at_the_peer_and_leaves_nothing() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = start({
            let endpoint = world.endpoint.clone();
            async move { endpoint.ready().await.unwrap().send(request(), true).unwrap() }
        });
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        session.begin(id).await;
        drop(call.await.unwrap());
        let reset = session.frame().await.unwrap();
        assert_eq!((reset.kind, reset.id), (RST_STREAM, id));
        assert_eq!(reset.payload, u32::from(h2::Reason::CANCEL).to_be_bytes());
        // What was on its way is ignored, and the connection carries the next call.
        session.send(DATA, 0, id, b"late").await;
        let next = world.call();
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(next.await.unwrap(), Ok(200));
        assert_eq!((world.streams(), world.connections()), (0, 1));
    });
}

#[test]
fn a_caller_that_leaves_while_it_connects_or_waits_or_holds_a_place_leaves_nothing() {
    on_each(async || {
        let world = World::new(narrow());
        let mut connecting = Box::pin(world.endpoint.ready());
        assert!((&mut connecting).now_or_never().is_none());
        drop(connecting);
        let mut session = world.peer.accept(100).await;
        // The connection is made all the same, for the next.
        let place: Ready = world.endpoint.ready().await.unwrap();
        let mut waiting = Box::pin(world.endpoint.ready());
        let mut behind = Box::pin(world.endpoint.ready());
        assert!((&mut waiting).now_or_never().is_none());
        assert!((&mut behind).now_or_never().is_none());
        drop(place);
        // `waiting` has been handed the place and goes without having looked.
        drop(waiting);
        let place = behind.await.unwrap();
        assert_eq!(world.streams(), 1);
        drop(place);
        assert_eq!((world.streams(), world.connections()), (0, 1));
        let call = world.call();
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
    });
}

#[test]
fn a_head_that_http2_does_not_allow_is_refused_and_the_connection_goes_on() {
    on_each(async || {
        let world = World::new(Settings::default());
        let ready = start({
            let endpoint = world.endpoint.clone();
            async move { endpoint.ready().await.unwrap() }
        });
        let mut session = world.peer.accept(100).await;
        let mut head = request();
        head.headers_mut().insert("connection", http::HeaderValue::from_static("close"));
        let error = ready.await.unwrap().send(head, true).unwrap_err();
        assert_eq!(error.cause, Cause::Unsendable);
        let call = world.call();
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
    });
}
