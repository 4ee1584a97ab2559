//! Heads and bodies of HTTP/1: read, and written for the next hop.

use divan::Bencher;
use divan::counter::BytesCount;
use mesher::codec::{Body, Framing, Limits, Parse, RequestHead, RequestKind, ResponseHead, Version};
use mesher::handler::context::SourceContext;
use mesher_actors::snapshot::stats::Direction;

use super::forward::{self, Additions, Delivery};
use super::samples::{Sample, chunked, requests, responses};

/// A head that has arrived in one piece.
#[divan::bench(args = requests())]
fn request_head(bencher: Bencher<'_, '_>, sample: &Sample) {
    let (mut head, limits) = (RequestHead::new(), Limits::default());
    bencher.counter(BytesCount::of_slice(&sample.bytes)).bench_local(|| {
        head.reset();
        head.buffer().extend_from_slice(&sample.bytes);
        assert_eq!(head.parse(&limits), Ok(Parse::Complete));
    });
}

#[divan::bench(args = responses())]
fn response_head(bencher: Bencher<'_, '_>, sample: &Sample) {
    let (mut head, limits) = (ResponseHead::new(), Limits::default());
    bencher.counter(BytesCount::of_slice(&sample.bytes)).bench_local(|| {
        head.reset();
        head.buffer().extend_from_slice(&sample.bytes);
        assert_eq!(head.parse(&limits, RequestKind::Plain), Ok(Parse::Complete));
    });
}

/// A body of 16 KiB that arrives in one piece and goes on as it came, by the size of its chunks.
#[divan::bench(args = [16, 256, 4096])]
fn chunked_body(bencher: Bencher<'_, '_>, size: usize) {
    let bytes = chunked(size);
    let mut out = Vec::new();
    bencher.counter(BytesCount::of_slice(&bytes)).bench_local(|| {
        let mut body = Body::new(Framing::Chunked);
        let taken = body.forward(&bytes, &mut out).map(|forwarded| forwarded.taken());
        assert_eq!(taken, Ok(bytes.len()));
    });
}

/// A request head written for the origin, with what mesher adds.
#[divan::bench(args = requests())]
fn forwarded_request(bencher: Bencher<'_, '_>, sample: &Sample) {
    let mut head = RequestHead::new();
    head.buffer().extend_from_slice(&sample.bytes);
    head.parse(&Limits::default()).unwrap();
    let source = SourceContext::new("consumer");
    let additions = Additions {
        direction: Direction::Outgoing,
        peer: [10, 0, 0, 1].into(),
        port: None,
        source: &source,
        scheme: "http",
        upstream: Some(([10, 0, 0, 2], 8080).into()),
    };
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        forward::request(&mut out, &head, &additions);
        assert!(out.len() > sample.bytes.len() / 2);
    });
}

/// A response head written for the client.
#[divan::bench(args = responses())]
fn forwarded_response(bencher: Bencher<'_, '_>, sample: &Sample) {
    let mut head = ResponseHead::new();
    head.buffer().extend_from_slice(&sample.bytes);
    head.parse(&Limits::default(), RequestKind::Plain).unwrap();
    let delivery = Delivery { version: Version::Http11, keep_alive: true };
    let mut out = Vec::with_capacity(4096);
    bencher.bench_local(|| {
        out.clear();
        forward::response(&mut out, &head, delivery, || mesher::codec::imf_fixdate(1_700_000_000));
        assert!(out.len() > sample.bytes.len() / 2);
    });
}
