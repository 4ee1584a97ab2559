//! Calls that are given up before their answer begins: peers end connections on which too many are (a defence against
//! "rapid reset"), and others share those connections.

use super::peer::RST_STREAM;
use super::*;

/// Calls that a peer has seen, none of which it has answered.
async fn calls(world: &World, session: &mut Session, count: usize) -> Vec<Call> {
    let mut calls = Vec::new();
    for _ in 0..count {
        calls.push(world.endpoint.ready().await.unwrap().send(request(), true).unwrap());
        session.request().await;
    }
    calls
}

async fn resets(session: &mut Session, count: usize) {
    for _ in 0..count {
        assert_eq!(session.frame().await.map(|frame| frame.kind), Some(RST_STREAM));
    }
}

/// A call that runs on a connection, and the connection.
async fn innocent(world: &World) -> (oneshot::Receiver<Result<u16, CallError>>, Session, u32) {
    let call = world.call();
    let mut session = world.peer.accept(100).await;
    let id = session.request().await;
    (call, session, id)
}

#[test]
fn a_burst_of_cancelled_calls_is_told_to_the_peer_little_by_little_and_the_others_go_on() {
    on_each(async || {
        let world = World::new(Settings::default());
        let (call, mut session, id) = innocent(&world).await;
        let burst = calls(&world, &mut session, 40).await;
        let begun = net::now();
        drop(burst);
        resets(&mut session, 16).await;
        assert_eq!(world.streams(), 25, "those that are not cancelled yet keep their places");
        // New calls do not share the connection meanwhile.
        let (other, second, other_id) = innocent(&world).await;
        second.answer(other_id).await;
        assert_eq!(other.await.unwrap(), Ok(200));
        resets(&mut session, 1).await;
        assert!(net::now() - begun >= Duration::from_millis(200));
        session.answer(id).await;
        assert_eq!(call.await.unwrap(), Ok(200));
        // Those that are answered need no reset.
        for id in (id + 2..).step_by(2).take(40) {
            session.answer(id).await;
        }
        until("all places are given back", || world.streams() == 0).await;
        assert_eq!(world.connections(), 2);
    });
}

#[test]
fn where_there_can_be_no_other_connection_calls_are_cancelled_at_once_and_new_ones_served() {
    on_each(async || {
        let world = World::new(Settings { connections_per_endpoint: 1, ..Settings::default() });
        let (call, mut session, id) = innocent(&world).await;
        drop(calls(&world, &mut session, 40).await);
        resets(&mut session, 40).await;
        let next = world.call();
        let next_id = session.request().await;
        for id in [id, next_id] {
            session.answer(id).await;
        }
        assert_eq!((call.await.unwrap(), next.await.unwrap()), (Ok(200), Ok(200)));
        assert_eq!(world.stats.upstream_connects.value(), 1);
    });
}

#[test]
fn a_connection_that_rests_serves_on_if_another_cannot_be_made() {
    on_each(async || {
        let world = World::new(Settings::default());
        let (call, mut session, id) = innocent(&world).await;
        drop(calls(&world, &mut session, 40).await);
        resets(&mut session, 16).await;
        let next = world.call();
        drop(world.peer.accept_silently().await);
        let next_id = loop {
            let frame = session.frame().await.unwrap();
            if frame.kind == super::peer::HEADERS {
                break frame.id;
            }
        };
        for id in [id, next_id] {
            session.answer(id).await;
        }
        assert_eq!((call.await.unwrap(), next.await.unwrap()), (Ok(200), Ok(200)));
    });
}
