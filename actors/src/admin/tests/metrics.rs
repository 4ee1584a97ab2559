//! Names and sums of the metrics, and that any label makes a sound text.

use super::*;

#[test]
fn metrics_carry_mesher_names_and_ours_summed_over_the_shards() {
    let fixture = Fixture::new();
    for (index, requests) in [1, 2].into_iter().enumerate() {
        let board = fixture.board.of_shard(index);
        let series = board.series(labels(Direction::Outgoing, "RESTServer", "0.0.1"));
        for _ in 0..requests {
            series.record(200, None, Duration::from_millis(2));
            series.record(304, None, Duration::from_millis(2));
            series.record(404, None, Duration::from_millis(2));
            series.record(503, Some(Failure::NoHealthyInstance), Duration::from_secs(20));
        }
        series.record(0, Some(Failure::ClientGone), Duration::ZERO);
        series.retries.add(5);
        let shard = board.stats();
        shard.downstream_open.add(10 * requests);
        shard.upstream_open.add(1);
        shard.turns.add(100 * requests);
    }
    let answer = fixture.get("/metrics");
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = parse(&answer.body);
    let value = |sample: &str| {
        *samples.iter().find(|(name, _)| name == sample).map(|(_, value)| value).unwrap_or_else(|| {
            panic!("{sample} is missing in\n{}", answer.body);
        })
    };

    let service = r#"{app="shop",service_name="RESTServer",version="0.0.1"}"#;
    assert_eq!(value(&format!("requests_total{service}")), 14.0);
    assert_eq!(value(&format!("successes_total{service}")), 3.0);
    assert_eq!(value(&format!("failures_total{service}")), 8.0);
    assert_eq!(value(&format!("status_4xx{service}")), 3.0);
    assert_eq!(value(&format!("status_5xx{service}")), 3.0);
    assert_eq!(value(&format!("request_latency_seconds_count{service}")), 14.0);
    assert!((value(&format!("request_latency_seconds_sum{service}")) - 60.018).abs() < 1e-9);
    assert!(value(r#"start_time_seconds{app="shop",service_name="cart \"9\"",version="1.2.3"}"#) > 1.6e9);

    let ours = r#"direction="outgoing",service="RESTServer",version="0.0.1""#;
    let requests = |class: &str, flag: &str| {
        value(&format!(r#"mesher_requests_total{{{ours},code_class="{class}",flag="{flag}"}}"#))
    };
    assert_eq!((requests("2xx", ""), requests("5xx", "UH"), requests("none", "DC")), (3.0, 3.0, 2.0));
    let duration = "mesher_request_duration_seconds";
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="0.00025"}}"#)), 2.0);
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="0.0025"}}"#)), 11.0);
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="10"}}"#)), 11.0);
    assert_eq!(value(&format!(r#"{duration}_bucket{{{ours},le="+Inf"}}"#)), 14.0);
    assert_eq!(value(&format!("mesher_retries_total{{{ours}}}")), 10.0);

    assert_eq!(value(r#"mesher_connections{side="downstream"}"#), 30.0);
    assert_eq!(value(r#"mesher_connections{side="upstream"}"#), 2.0);
    assert_eq!(value(r#"mesher_shard_turns_total{shard="1"}"#), 200.0);
    assert_eq!(value(r#"mesher_build_info{version="0.1.0",driver="uring"}"#), 1.0);
    assert_eq!((value("mesher_memory_limit_bytes"), value("mesher_memory_used_bytes")), (100.0, 95.0));
    assert_eq!((value("mesher_memory_short"), value("mesher_memory_shortages_total")), (1.0, 3.0));
    assert_eq!(value("mesher_config_reloads_total"), 3.0);
    assert_eq!(value(r#"mesher_tls_certificate_not_after_seconds{file="conf/me.crt"}"#), 2e9);
    assert_eq!(value("mesher_config_last_reload_successful"), 0.0);
    for single in [
        "mesher_requests_in_flight",
        "mesher_downstream_accepted_total",
        "mesher_downstream_http2_calmed_total",
        "mesher_upstream_connects_total",
        "mesher_upstream_http2_calmed_total",
        "mesher_upstream_http2_connections",
        "mesher_upstream_http2_streams",
        "mesher_upstream_reused_total",
        "mesher_panics_total",
        "mesher_accept_pauses_total",
        "mesher_shard_restarts_total",
        "mesher_series_refused_total",
    ] {
        assert_eq!(value(single), 0.0, "{single}");
    }
    for process in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"]
    {
        assert!(value(&format!("process_{process}")) >= 0.0);
    }
}

#[test]
fn metrics_of_services_with_odd_names_are_well_formed() {
    let fixture = Fixture::new();
    for name in ["", "a\"b", "a\\", "a\nb 1", "{}=,", "größe", "\u{202e}x", "__overflow__"] {
        for direction in [Direction::Incoming, Direction::Outgoing] {
            fixture.board.of_shard(0).series(labels(direction, name, name)).record(200, None, Duration::ZERO);
        }
    }
    for path in ["/metrics", "/v1/mesher/metrics"] {
        let samples = parse(&fixture.get(path).body);
        let counted = samples.iter().filter(|(name, _)| name.starts_with("mesher_requests_total{"));
        assert_eq!(counted.map(|(_, value)| value).sum::<f64>(), 16.0);
        assert!(samples.iter().any(|(name, _)| name.contains(r#"service="a\nb 1""#)));
    }
}

/// Reads the text format strictly: each family has HELP then TYPE before its samples, all its samples together, and
/// no name with the same labels twice. Gives the samples as (name with labels as written, value).
fn parse(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with('\n'));
    let mut seen = std::collections::HashSet::new();
    let mut samples = Vec::new();
    let mut helped = None;
    let mut family: Option<(&str, &str)> = None;
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect(line);
            assert!(!help.trim().is_empty() && seen.insert(format!("# {name}")), "{line}");
            helped = Some(name);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').expect(line);
            assert_eq!(helped.take(), Some(name), "{line}");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
            family = Some((name, kind));
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let name = sample.split('{').next().unwrap();
            let (base, kind) = family.expect(line);
            let suffixes: &[&str] = match kind {
                "histogram" => &["_bucket", "_sum", "_count"],
                "summary" => &["_sum", "_count"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(base).expect(line);
            assert!(helped.is_none() && suffixes.contains(&suffix), "{line}");
            check_labels(&sample[name.len()..]);
            assert!(seen.insert(sample.to_owned()), "twice: {line}");
            samples.push((sample.to_owned(), value.parse().expect(line)));
        }
    }
    samples
}

/// `{name="value",…}` or nothing; in a value `\` only before `\`, `"` and `n`.
fn check_labels(mut rest: &str) {
    if rest.is_empty() {
        return;
    }
    rest = rest.strip_prefix('{').expect("labels begin with a brace");
    loop {
        let (name, value) = rest.split_once("=\"").expect("a label is name=\"value\"");
        assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        let mut chars = value.char_indices();
        let end = loop {
            match chars.next().expect("a value is closed") {
                (_, '\\') => assert!(matches!(chars.next(), Some((_, '\\' | '"' | 'n'))), "{value}"),
                (at, '"') => break at,
                _ => {}
            }
        };
        rest = &value[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return assert_eq!(rest, "}"),
        }
    }
}
