//! The figures of one measurement.

use serde::Serialize;

use crate::load::Outcome;

/// What one proxy did under one load in one round.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Figures {
    /// Requests answered, all with 200 and complete.
    pub(crate) requests: u64,
    /// Answers a second.
    pub(crate) requests_per_second: f64,
    /// Latency that half of them kept, in microseconds.
    pub(crate) p50_us: f64,
    /// The same for 90 %.
    pub(crate) p90_us: f64,
    /// The same for 99 %.
    pub(crate) p99_us: f64,
    /// The same for 99.9 %.
    pub(crate) p999_us: f64,
    /// The longest.
    pub(crate) max_us: f64,
    /// CPU time of the proxy a request, in microseconds; of a proxy only.
    pub(crate) cpu_us: Option<f64>,
    /// Times a thread of the proxy went to sleep, a request.
    pub(crate) switches: Option<f64>,
    /// Share of the time that the proxy was ready to run and something else had its CPU; 0 on a quiet machine.
    pub(crate) waited: f64,
    /// How busy the machine was.
    pub(crate) load_average: f64,
}

impl Figures {
    /// `of_process`: what was used is that of a proxy, not of nobody.
    pub(crate) fn new(outcome: &Outcome, of_process: bool, load_average: f64) -> Self {
        let requests = outcome.latencies.len();
        let quantile = |quantile| outcome.latencies.value_at_quantile(quantile) as f64 / 1e3;
        let per_request = |total: f64| (of_process && requests > 0).then(|| total / requests as f64);
        Self {
            requests,
            requests_per_second: requests as f64 / outcome.elapsed.as_secs_f64(),
            p50_us: quantile(0.5),
            p90_us: quantile(0.9),
            p99_us: quantile(0.99),
            p999_us: quantile(0.999),
            max_us: outcome.latencies.max() as f64 / 1e3,
            cpu_us: per_request(outcome.used.cpu_ns as f64 / 1e3),
            switches: per_request(outcome.used.switches as f64),
            waited: outcome.used.waited_ns as f64 / outcome.elapsed.as_nanos() as f64,
            load_average,
        }
    }
}
