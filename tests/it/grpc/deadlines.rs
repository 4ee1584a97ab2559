//! Deadlines as they stand on the wire: who keeps them, and what the next hop is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use mesher::codec::grpc::parse_timeout;
use tokio::sync::Mutex;

use super::mesh::NOBODY;
use super::way::run;
use super::wire::{EMPTY_MESSAGE, ask, call, connect, on_the_wire, patient, recording};
use crate::support::fleet::Fleet;
use crate::support::servicecenter::Fault;
use crate::support::wait::PATIENCE;

#[test]
fn the_timeout_that_is_sent_on_is_what_is_left() {
    let (script, told) = recording();
    let told = Mutex::new(told);
    on_the_wire(script, |connection, service| {
        let told = &told;
        async move {
            ask(connection, call(service, &[("grpc-timeout", "30S")])).await;
            let seen = told.lock().await.recv().await.unwrap();
            let left = parse_timeout(seen.headers["grpc-timeout"].as_bytes()).unwrap();
            assert!(left < Duration::from_secs(30), "{left:?}: nothing was spent on the way");
            assert!(left > Duration::from_secs(10), "{left:?}");
        }
    });
}

#[test]
fn a_deadline_is_kept_though_neither_client_nor_server_looks_at_the_clock() {
    let (script, told) = patient(0);
    let told = Mutex::new(told);
    on_the_wire(script, |connection, service| {
        let told = &told;
        async move {
            let begun = Instant::now();
            let (head, message, _) = ask(connection, call(service, &[("grpc-timeout", "500m")])).await;
            let took = begun.elapsed();
            assert!((Duration::from_millis(490)..PATIENCE).contains(&took), "{took:?}");
            assert_eq!((head.status().as_u16(), head.headers().get("grpc-status")), (200, Some(&4.into())));
            assert_eq!(head.headers()["content-type"], "application/grpc");
            assert!(message.is_empty());
            assert_eq!(told.lock().await.recv().await, Some(Reason::CANCEL), "the server is told");
        }
    });
}

#[test]
fn a_deadline_is_kept_in_the_middle_of_an_answer() {
    let (script, told) = patient(1);
    let told = Mutex::new(told);
    on_the_wire(script, |mut connection, service| {
        let told = &told;
        async move {
            // Long enough for the beginning of the answer on a busy machine.
            let request = call(service, &[("grpc-timeout", "1S")]);
            let (response, mut body) = connection.send_request(request, false).unwrap();
            body.send_data(Bytes::from_static(EMPTY_MESSAGE), true).unwrap();
            let mut body = response.await.unwrap().into_body();
            assert_eq!(body.data().await.unwrap().unwrap(), EMPTY_MESSAGE);
            assert!(body.data().await.is_none(), "the answer goes on, or is reset");
            let trailers = body.trailers().await.unwrap().unwrap();
            assert_eq!(trailers["grpc-status"], "4");
            assert!(trailers["grpc-message"].to_str().unwrap().contains("deadline"));
            assert_eq!(told.lock().await.recv().await, Some(Reason::CANCEL), "the server is told");
        }
    });
}

#[test]
fn a_short_deadline_is_kept_to_some_milliseconds() {
    const DEADLINE: Duration = Duration::from_millis(20);
    let (script, _told) = patient(0);
    on_the_wire(script, |connection, service| async move {
        // One after the other, so that each begins when a coarse clock has just moved on. Of ten the machine hinders some;
        // of more, if it is busy.
        let (all, mut fastest, mut calls) = (Instant::now(), PATIENCE, 0);
        while calls < 10 || (fastest >= 3 * DEADLINE && all.elapsed() < PATIENCE / 2) {
            calls += 1;
            let begun = Instant::now();
            let (head, ..) = ask(connection.clone(), call(service, &[("grpc-timeout", "20m")])).await;
            let took = begun.elapsed();
            assert_eq!(head.headers()["grpc-status"], "4");
            assert!(took >= DEADLINE - Duration::from_millis(1), "{took:?}");
            fastest = fastest.min(took);
        }
        assert!(fastest < 3 * DEADLINE, "{fastest:?}");
    });
}

#[test]
fn a_deadline_that_has_passed_reaches_no_server() {
    let (script, told) = recording();
    let told = Arc::new(Mutex::new(told));
    on_the_wire(script, |connection, service| {
        let told = told.clone();
        async move {
            for passed in ["0S", "0n"] {
                let (head, ..) = ask(connection.clone(), call(service, &[("grpc-timeout", passed)])).await;
                assert_eq!((head.status().as_u16(), &head.headers()["grpc-status"]), (200, &4.into()));
            }
            ask(connection, call(service, &[("x-turn", "last")])).await;
            let seen = told.lock().await.recv().await.unwrap();
            assert_eq!(seen.headers["x-turn"], "last", "{:?}", seen.headers);
        }
    });
}

#[test]
fn a_deadline_is_kept_while_the_registry_says_nothing_of_the_service() {
    let fleet = Fleet::start();
    let caller = fleet.caller();
    for (method, path) in [("GET", "/instances"), ("POST", "/instances/action")] {
        fleet.center.plan(method, path, Fault::Hang, usize::MAX);
    }
    run(async {
        let connection = connect(caller.conf().outgoing).await;
        let begun = Instant::now();
        let (head, ..) = ask(connection, call("unheard", &[("grpc-timeout", "200m")])).await;
        assert_eq!(head.headers()["grpc-status"], "4", "{:?}", head.headers());
        // Who has set no deadline waits for five seconds.
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    });
}

#[test]
fn clients_whose_short_deadlines_pass_are_not_told_to_calm_down() {
    let (script, _told) = patient(0);
    on_the_wire(script, |connection, service| async move {
        let mut connection = connection;
        for _ in 0..8 {
            let (begun, mut calls) = (Instant::now(), Vec::new());
            for _ in 0..50 {
                connection = connection.ready().await.expect("the connection has ended");
                let request = call(service, &[("grpc-timeout", "50m")]);
                calls.push(connection.send_request(request, false).expect("cannot be sent"));
            }
            // They are under way once what was asked behind them is answered: not even looked at, they would count.
            ask(connection.clone(), call(NOBODY, &[])).await;
            // A little before the sidecars see to it themselves.
            tokio::time::sleep(Duration::from_millis(45).saturating_sub(begun.elapsed())).await;
            calls.iter_mut().for_each(|(_, body)| body.send_reset(Reason::CANCEL));
        }
        let (head, ..) = ask(connection, call(service, &[("grpc-timeout", "50m")])).await;
        assert_eq!(head.headers()["grpc-status"], "4", "{:?}", head.headers());
    });
}
