//! The pure parts of the capacity bench: its figures are only as good as these.

// Each file is compiled whole, and the bench uses more of it than the tests do.
#![allow(dead_code, clippy::indexing_slicing)]

use std::time::Duration;

use hdrhistogram::Histogram;

#[path = "../../benches/capacity/report/axis.rs"]
mod axis;
#[path = "../../benches/capacity/load/http2/fields.rs"]
mod fields;
#[path = "../../benches/capacity/load/http2/frame.rs"]
mod frame;
#[path = "../../benches/capacity/report/hgrm.rs"]
mod hgrm;
#[path = "../../benches/capacity/load/http2/link.rs"]
mod link;
#[path = "../../benches/capacity/load/response.rs"]
mod response;
#[path = "../../benches/capacity/load/schedule.rs"]
mod schedule;
#[path = "../../benches/capacity/report/statistics.rs"]
mod statistics;
#[path = "../../benches/capacity/report/svg.rs"]
mod svg;

use axis::{Axis, Scale};
use fields::{Encoder, Field};
use frame::{Frames, Kind};
use link::Link;
use response::Response;
use schedule::Schedule;

fn times(mut schedule: Schedule) -> Vec<u128> {
    let mut times = Vec::new();
    while let Some(due) = schedule.next() {
        times.push(due.as_millis());
        schedule.advance();
    }
    times
}

#[test]
fn a_schedule_spaces_requests_evenly_and_ends() {
    assert_eq!(times(Schedule::new(100.0, Duration::from_millis(50), 0, 1)), [0, 10, 20, 30, 40]);
    assert_eq!(times(Schedule::new(100.0, Duration::ZERO, 0, 1)), [0_u128; 0]);
}

#[test]
fn generators_share_a_schedule_without_gap_or_overlap() {
    let part = |index| times(Schedule::new(1000.0, Duration::from_millis(10), index, 3));
    assert_eq!(part(1), [1, 4, 7]);
    let mut all = [part(0), part(1), part(2)].concat();
    all.sort_unstable();
    assert_eq!(all, times(Schedule::new(1000.0, Duration::from_millis(10), 0, 1)));
}

#[test]
fn a_schedule_stands_still_until_its_request_is_sent() {
    let mut schedule = Schedule::new(10.0, Duration::from_secs(1), 0, 1);
    assert_eq!(schedule.next(), schedule.next());
    schedule.advance();
    assert_eq!(schedule.next(), Some(Duration::from_millis(100)));
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-length: 5\r\n\r\nhello";

#[test]
fn a_response_is_complete_at_its_last_byte_however_it_is_cut() {
    for first in 0..ANSWER.len() {
        for second in first..ANSWER.len() {
            let mut response = Response::expecting(5);
            assert_eq!(response.take(&ANSWER[..first]), Ok(false), "cut at {first}");
            assert_eq!(response.take(&ANSWER[first..second]), Ok(false), "cut at {first} and {second}");
            assert_eq!(response.take(&ANSWER[second..]), Ok(true), "cut at {first} and {second}");
            assert_eq!(response.take(ANSWER), Ok(true), "the next one after cuts at {first} and {second}");
        }
    }
}

#[test]
fn a_response_that_is_not_what_was_asked_for_is_refused() {
    let refused = |answer: &[u8]| Response::expecting(5).take(answer).unwrap_err();
    assert_eq!(
        refused(b"HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nhello"),
        "answered `HTTP/1.1 503 Busy`"
    );
    assert_eq!(
        refused(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell"),
        "Content-Length 4 where 5 was asked for"
    );
    assert_eq!(
        refused(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        "an answer without Content-Length"
    );
    assert_eq!(refused(&[ANSWER, b"HT"].concat()), "2 bytes after the end of the response");
    assert!(refused(&[b'x'; 20_000]).contains("head of more than"), "an endless head");
}

/// Kind, flags, stream and payload.
type Found = (Kind, u8, u32, Vec<u8>);

/// The frames that end in this piece of a connection.
fn found(frames: &mut Frames, piece: &[u8]) -> Result<Vec<Found>, String> {
    let mut found = Vec::new();
    frames.take(piece, |frame| {
        found.push((frame.kind, frame.flags, frame.stream, frame.payload.to_vec()));
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn frames_are_found_however_they_are_cut() {
    let mut bytes = Vec::new();
    frame::write(&mut bytes, Kind::Settings, frame::ACK, 0, &[]);
    frame::write_with(&mut bytes, Kind::Headers, frame::END_HEADERS, 3, |out| out.push(0x88));
    frame::write(&mut bytes, Kind::Data, frame::END_STREAM, 3, b"hello");
    let whole = found(&mut Frames::default(), &bytes).unwrap();
    assert_eq!(whole[1], (Kind::Headers, frame::END_HEADERS, 3, vec![0x88]));
    assert_eq!(whole[2], (Kind::Data, frame::END_STREAM, 3, b"hello".to_vec()));
    for first in 0..bytes.len() {
        for second in first..bytes.len() {
            let mut frames = Frames::default();
            let pieces = [&bytes[..first], &bytes[first..second], &bytes[second..]];
            let parts = pieces.map(|piece| found(&mut frames, piece).unwrap());
            assert_eq!(parts.concat(), whole, "cut at {first} and {second}");
        }
    }
}

#[test]
fn a_frame_that_is_too_long_is_refused_at_its_header() {
    let refused = found(&mut Frames::default(), &[0, 0x40, 1, 0, 0, 0, 0, 0, 1]).unwrap_err();
    assert_eq!(refused, "a frame of 16385 bytes where 16384 are allowed");
}

#[test]
fn a_field_is_sent_whole_once_and_as_one_byte_from_then_on() {
    let fields = [
        Field::kept(":method", "GET"),
        Field::passing(":path", "/sample/path"),
        Field::kept("custom-key", "custom-header"),
        Field::kept("te", "trailers"),
        Field::passing("content-length", "128"),
    ];
    let mut encoder = Encoder::new(fields.into());
    let mut block = |places: std::ops::Range<usize>| {
        let mut out = Vec::new();
        encoder.block(&mut out, places);
        out
    };
    // The examples of RFC 7541, appendix C.2.
    let path = b"\x04\x0c/sample/path";
    let custom = b"\x40\x0acustom-key\x0dcustom-header";
    assert_eq!(block(0..3), [&b"\x82"[..], path, custom].concat());
    assert_eq!(block(0..3), [&b"\x82"[..], path, b"\xbe"].concat());
    assert_eq!(block(3..5), b"\x40\x02te\x08trailers\x0f\x0d\x03128");
    assert_eq!(block(2..4), b"\xbf\xbe", "the newest entry has the lowest number");
}

#[test]
fn an_answer_with_200_is_known_by_its_first_bytes() {
    for block in [&b"\x88"[..], b"\x88\xbe", b"\x20\x88", b"\x3f\xe1\x1f\x88", b"\x20\x3f\x01\x88"] {
        assert!(fields::begins_with_200(block), "{block:x?}");
    }
    for block in [&b""[..], b"\x8d", b"\xbe\x88", b"\x20", b"\x3f\xe1", b"\x08\x03503"] {
        assert!(!fields::begins_with_200(block), "{block:x?}");
    }
}

/// What one end of a connection sends in reply to a frame.
fn reply(link: &mut Link, kind: Kind, payload: &[u8]) -> Result<Vec<Found>, String> {
    link.out.clear();
    link.control(&frame::Frame { kind, flags: 0, stream: 0, payload })?;
    found(&mut Frames::default(), &link.out)
}

#[test]
fn both_ends_acknowledge_settings_and_pings() {
    for mut link in [Link::client(), Link::server()] {
        assert_eq!(reply(&mut link, Kind::Settings, &[]), Ok(vec![(Kind::Settings, frame::ACK, 0, vec![])]));
        let ping = vec![(Kind::Ping, frame::ACK, 0, b"12345678".to_vec())];
        assert_eq!(reply(&mut link, Kind::Ping, b"12345678"), Ok(ping));
        assert_eq!(reply(&mut link, Kind::Other, b"?"), Ok(vec![]));
    }
}

#[test]
fn settings_under_which_the_load_cannot_work_are_named() {
    let mut link = Link::client();
    assert!(reply(&mut link, Kind::Settings, &[0, 1, 0, 0, 0, 0]).unwrap_err().contains("table of 0 bytes"));
    assert!(reply(&mut link, Kind::Settings, &[0, 4, 0, 0, 0, 9]).unwrap_err().contains("only 9 bytes"));
    assert!(reply(&mut link, Kind::Settings, &[0, 3, 0, 0, 0, 7]).is_ok() && link.streams_max == 7);
}

#[test]
fn bodies_stay_within_the_window_of_the_connection() {
    let mut link = Link::server();
    let send = |link: &mut Link| link.data(0, 1, &[0; 13_107]);
    assert!((0..5).all(|_| send(&mut link).is_ok()), "65,535 bytes may be sent at first");
    assert!(send(&mut link).is_err());
    let mut link = Link::server();
    reply(&mut link, Kind::WindowUpdate, &13_107_u32.to_be_bytes()).unwrap();
    assert!((0..6).all(|_| send(&mut link).is_ok()) && send(&mut link).is_err());
}

#[test]
fn the_other_side_is_given_window_before_it_runs_out() {
    let mut link = Link::client();
    link.out.clear();
    (0..512).for_each(|_| link.received(1 << 20));
    assert!(link.out.is_empty(), "half of the window is left");
    link.received(1);
    let update = (Kind::WindowUpdate, 0, 0, ((512_u32 << 20) + 1).to_be_bytes().to_vec());
    assert_eq!(found(&mut Frames::default(), &link.out), Ok(vec![update]));
}

#[test]
fn the_median_is_the_middle() {
    assert_eq!(statistics::median([]), None);
    assert_eq!(statistics::median([7.0]), Some(7.0));
    assert_eq!(statistics::median([3.0, 1.0, 100.0]), Some(3.0));
    assert_eq!(statistics::median([4.0, 1.0, 100.0, 3.0]), Some(3.5));
    let spread = statistics::spread(&[2.0, 9.0, 1.0]).unwrap();
    assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 9.0));
}

#[test]
fn a_line_is_found_through_points_and_says_how_well_it_fits() {
    let exact = statistics::fit(&[(0.0, 10.0), (100.0, 30.0), (200.0, 50.0)]).unwrap();
    assert!((exact.offset - 10.0).abs() < 1e-9 && (exact.slope - 0.2).abs() < 1e-9);
    assert!((exact.r_squared - 1.0).abs() < 1e-9);
    let loose = statistics::fit(&[(0.0, 0.0), (1.0, 5.0), (2.0, 0.0), (3.0, 5.0)]).unwrap();
    assert!(loose.r_squared < 0.5, "{loose:?}");
    assert_eq!(statistics::fit(&[(1.0, 2.0)]), None);
    assert_eq!(statistics::fit(&[(1.0, 2.0), (1.0, 3.0)]), None);
}

#[test]
fn a_histogram_is_written_as_hdrhistogram_writes_it() {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for (value, count) in [(1_000_000, 90), (2_000_000, 9), (5_000_000, 1)] {
        histogram.record_n(value, count).unwrap();
    }
    let text = hgrm::text(&histogram, 1e6);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
    assert_eq!(lines[1], "");
    assert_eq!(lines[2], "       1.000 0.000000000000         90           1.00");
    let last = lines[lines.len() - 4];
    assert_eq!(last, "       5.001 1.000000000000        100", "the row of 100 % has no 1/(1-p)");
    assert_eq!(lines[lines.len() - 3], "#[Mean    =        1.130, StdDeviation   =        0.483]");
    assert_eq!(lines[lines.len() - 2], "#[Max     =        5.001, Total count    =          100]");
    assert_eq!(lines[lines.len() - 1], "#[Buckets =           26, SubBuckets     =         2048]");
}

#[test]
fn a_linear_axis_starts_at_zero_and_ends_on_a_round_number() {
    let axis = Axis::over([300.0, 58_000.0].into_iter(), Scale::Linear, 100.0, 700.0);
    assert_eq!((axis.min, axis.max), (0.0, 60_000.0));
    assert_eq!(axis.marks(), [0.0, 20_000.0, 40_000.0, 60_000.0]);
    assert_eq!((axis.place(0.0), axis.place(30_000.0), axis.place(1e9)), (100.0, 400.0, 700.0));
}

#[test]
fn a_log_axis_gives_equal_ratios_equal_room() {
    let axis = Axis::over([1.0, 1000.0].into_iter(), Scale::Log, 0.0, 300.0);
    let places = [1.0, 10.0, 100.0, 1000.0].map(|value| axis.place(value).round());
    assert_eq!(places, [0.0, 100.0, 200.0, 300.0]);
    assert_eq!(axis.place(0.0), 0.0, "what cannot be drawn is drawn at the end");
    let upwards = Axis::over([0.12, 3.0].into_iter(), Scale::Log, 400.0, 50.0);
    assert_eq!((upwards.min, upwards.max), (0.1, 5.0));
    assert_eq!(upwards.marks().len(), 6, "0.1 0.2 0.5 1 2 5");
    assert!(upwards.place(0.2) > upwards.place(2.0), "larger values are higher up");
}

#[test]
fn an_axis_without_values_can_still_be_drawn() {
    for scale in [Scale::Linear, Scale::Log] {
        let axis = Axis::over(std::iter::empty(), scale, 0.0, 10.0);
        assert!(axis.place(1.0).is_finite() && !axis.marks().is_empty(), "{axis:?}");
    }
}

#[test]
fn a_chart_draws_each_line_and_escapes_what_it_is_told() {
    let quantity =
        |label: &str| svg::Quantity { label: label.to_owned(), scale: Scale::Log, print: |v| v.to_string() };
    let line = |name: &str| svg::Line { name: name.to_owned(), points: vec![(1.0, 2.0), (10.0, 20.0)] };
    let chart = svg::Chart {
        title: "a < b".to_owned(),
        x: quantity("x & y"),
        y: quantity("ms"),
        lines: vec![line("one"), line("two")],
    };
    let text = chart.svg();
    assert_eq!(text.matches("<polyline").count(), 2);
    assert!(text.contains("a &lt; b") && text.contains("x &amp; y") && text.contains(">two</text>"));
    assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
}
