//! Everything at once, from a seed: callers that come, wait and leave; a peer that answers, resets, says GOAWAY and dies.
//! Whatever the order, every call has an outcome and nothing stays behind.

use std::cell::RefCell;
use std::collections::BTreeMap;

use futures::future::{Either, select};

use super::*;

const CALLS: usize = 400;

/// xorshift64.
#[derive(Clone)]
struct Random(Rc<RefCell<u64>>);

impl Random {
    fn below(&self, end: u64) -> u64 {
        let mut state = self.0.borrow_mut();
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        *state % end
    }

    async fn pause(&self, ms_max: u64) {
        let us = self.below(ms_max * 1000 + 1);
        net::sleep(Duration::from_micros(us)).await;
    }
}

async fn serve(peer: Peer, random: Random) {
    loop {
        let stream = peer.accept_raw().await;
        net::spawn(serve_one(stream, random.clone()));
    }
}

/// Serves some streams, three at a time, and then ends in order or not.
async fn serve_one(stream: net::Stream, random: Random) {
    let mut builder = h2::server::Builder::new();
    let Ok(mut connection) = builder.max_concurrent_streams(3).handshake::<_, bytes::Bytes>(stream).await
    else {
        return;
    };
    let life = 5 + random.below(10);
    let mut served = 0;
    while let Some(Ok((_, respond))) = connection.accept().await {
        net::spawn(answer(respond, random.clone()));
        served += 1;
        if served == life {
            match random.below(3) {
                0 => return,
                1 => connection.abrupt_shutdown(h2::Reason::ENHANCE_YOUR_CALM),
                _ => connection.graceful_shutdown(),
            }
        }
    }
}

async fn answer(mut respond: h2::server::SendResponse<bytes::Bytes>, random: Random) {
    random.pause(2).await;
    match random.below(10) {
        0 => respond.send_reset(h2::Reason::INTERNAL_ERROR),
        1 => {}
        _ => {
            let _ = respond.send_response(http::Response::new(()), true);
        }
    }
}

/// A call; two of three callers leave after a while, whatever they are doing then, the others wait for their outcome.
async fn call(endpoint: Rc<Endpoint>, random: Random) -> Option<Result<u16, CallError>> {
    random.pause(100).await;
    if random.below(3) == 0 {
        return Some(get(endpoint).await);
    }
    let patience = random.pause(20);
    match select(Box::pin(get(endpoint)), Box::pin(patience)).await {
        Either::Left((outcome, _)) => Some(outcome),
        Either::Right(_) => None,
    }
}

async fn churn(seed: u64) {
    let random = Random(Rc::new(RefCell::new(seed)));
    let settings = Settings { connections_per_endpoint: 4, waiting_per_endpoint: 300, ..Settings::default() };
    let World { upstreams, stats, pool, endpoint, peer } = World::new(settings);
    net::spawn(serve(peer, random.clone()));
    let calls: Vec<_> = (0..CALLS).map(|_| start(call(endpoint.clone(), random.clone()))).collect();
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for call in calls {
        let name = match call.await.unwrap() {
            None => "left".to_owned(),
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => {
                assert!(
                    !matches!(error.cause, Cause::Protocol | Cause::Unsendable),
                    "seed {seed}: {error:?}"
                );
                format!("{:?}", error.cause)
            }
        };
        *outcomes.entry(name).or_default() += 1;
    }
    assert!(outcomes.get("200").is_some_and(|ok| *ok > 10), "seed {seed}: {outcomes:?}");
    assert!(outcomes.len() > 3, "seed {seed}: {outcomes:?}");
    assert_eq!(stats.upstream_http2_streams.value(), 0, "seed {seed}: {endpoint:?}");
    assert!(stats.upstream_connects.value() > 4, "seed {seed}: connections came and went");
    assert_eq!(net::panics(), 0, "seed {seed}");
    drop(endpoint);
    upstreams.release(pool);
    until("all is closed", || stats.upstream_http2_open.value() == 0).await;
}

#[test]
fn nothing_stays_behind_whatever_happens_in_whatever_order() {
    for seed in [1, 77, 4_242_424_242] {
        on_each(move || churn(seed));
    }
}
