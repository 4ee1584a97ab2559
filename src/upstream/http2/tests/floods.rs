//! Peers that send frames that ask for no work, without end.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

use super::peer::{DATA, END_HEADERS, GOAWAY, PING, PUSH_PROMISE};
use super::*;

#[test]
fn a_peer_that_floods_is_told_to_calm_down_and_loses_its_calls() {
    on_each(async || {
        let world = World::new(Settings::default());
        let calls = [world.call(), world.call()];
        let mut session = world.peer.accept(100).await;
        for _ in &calls {
            session.request().await;
        }
        session.flood(PING, 8).await;
        let last = session.frame().await.expect("a reason is told");
        assert_eq!((last.kind, last.id, &last.payload[4..]), (GOAWAY, 0, &[0, 0, 0, 0xb][..]));
        assert_eq!(session.frame().await, None);
        for call in calls {
            let error = call.await.unwrap().unwrap_err();
            assert_eq!(error.cause, Cause::Closed);
            assert!(error.detail.contains("ask for no work"), "{error}");
        }
        drop(session);
        world.everything_is_given_back().await;
        assert_eq!(world.stats.upstream_http2_calmed.value(), 1);
        // The next is served on another connection.
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
    });
}

#[test]
fn a_peer_that_breaks_the_rules_is_given_up_whatever_the_crate_makes_of_it() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = world.call();
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        // A promise, which nobody has allowed, with a field that no message has: the crate only resets a stream.
        let promised = [&[0, 0, 0, 2][..], b"\0\x0aconnection\x01x"].concat();
        session.send(PUSH_PROMISE, END_HEADERS, id, &promised).await;
        assert!(call.await.unwrap().is_err());
        world.everything_is_given_back().await;
    });
}

/// Sends a body without end, and counts it, until the call is over. The peer gets no credit for it, so that few frames are a
/// flood.
async fn pour(endpoint: Rc<Endpoint>, poured: Rc<Cell<usize>>) -> Result<u16, CallError> {
    let Call { answer, mut body, lease } = endpoint.ready().await?.send(request(), false)?;
    loop {
        body.reserve_capacity(16 << 10);
        let Some(Ok(_)) = poll_fn(|cx| match body.capacity() {
            0 => body.poll_capacity(cx),
            room => Poll::Ready(Some(Ok(room))),
        })
        .await
        else {
            break;
        };
        let room = body.capacity();
        let Ok(()) = body.send_data(vec![0; room].into(), false) else { break };
        poured.set(poured.get() + room);
    }
    answer.await.map(|answer| answer.status().as_u16()).map_err(|error| lease.explain(&error))
}

#[test]
fn a_peer_that_floods_and_does_not_read_is_told_between_two_frames_once_it_does() {
    on_each(async || {
        let world = World::new(Settings::default());
        let poured = Rc::<Cell<usize>>::default();
        let call = start(pour(world.endpoint.clone(), poured.clone()));
        let mut session = world.peer.accept(100).await;
        let id = session.request().await;
        session.widen(id).await;
        let (mut last, mut looks) = (0, 0);
        until("the sockets are full", || {
            looks = if last == poured.get() && last > 1 << 20 { looks + 1 } else { 0 };
            last = poured.get();
            looks > 20
        })
        .await;
        session.flood(0xbb, 8).await;
        let mut frames = Vec::new();
        while let Some(frame) = session.frame().await {
            frames.push((frame.kind, frame.payload));
        }
        let (kind, payload) = frames.pop().expect("what was on its way");
        assert_eq!((kind, &payload[4..]), (GOAWAY, &[0, 0, 0, 0xb][..]));
        assert!(frames.iter().all(|(kind, bytes)| *kind == DATA && bytes.iter().all(|byte| *byte == 0)));
        assert_eq!(cause(call.await.unwrap()), Cause::Closed);
        drop(session);
        world.everything_is_given_back().await;
    });
}

#[test]
fn a_peer_that_floods_in_place_of_its_settings_is_no_connection() {
    on_each(async || {
        let world = World::new(Settings::default());
        let call = world.call();
        let mut session = world.peer.accept_silently().await;
        session.flood(0xbb, 8).await;
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.cause, Cause::ConnectFailed);
        assert!(error.detail.contains("ask for no work"), "{error}");
        let last = session.frame().await.expect("a reason is told");
        assert_eq!((last.kind, &last.payload[4..]), (GOAWAY, &[0, 0, 0, 0xb][..]));
        drop(session);
        world.everything_is_given_back().await;
        assert_eq!(world.stats.upstream_http2_calmed.value(), 1);
    });
}
