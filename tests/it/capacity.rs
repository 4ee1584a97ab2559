//! The pure parts of the capacity bench: its figures are only as good as these.

// Each file is compiled whole, and the bench uses more of it than the tests do.
#![allow(dead_code, clippy::indexing_slicing)]

use std::time::Duration;

use hdrhistogram::Histogram;

#[path = "../../benches/capacity/report/axis.rs"]
mod axis;
#[path = "../../benches/capacity/report/hgrm.rs"]
mod hgrm;
#[path = "../../benches/capacity/load/response.rs"]
mod response;
#[path = "../../benches/capacity/load/schedule.rs"]
mod schedule;
#[path = "../../benches/capacity/report/statistics.rs"]
mod statistics;
#[path = "../../benches/capacity/report/svg.rs"]
mod svg;

use axis::{Axis, Scale};
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
