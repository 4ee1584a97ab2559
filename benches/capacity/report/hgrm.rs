//! HdrHistogram's percentile distribution as text (`.hgrm`), as its plotters read it. Pure.

use std::fmt::Write;

use hdrhistogram::Histogram;

/// Rows for each halving of the distance to 100 %.
const TICKS: u32 = 5;

/// The distribution of `histogram`, values divided by `unit` (1e6 makes milliseconds of nanoseconds).
pub(crate) fn text(histogram: &Histogram<u64>, unit: f64) -> String {
    let mut out = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
    let mut total = 0;
    for row in histogram.iter_quantiles(TICKS) {
        total += row.count_since_last_iteration();
        let (value, quantile) = (row.value_iterated_to() as f64 / unit, row.quantile_iterated_to());
        let _ = write!(out, "{value:12.3} {quantile:2.12} {total:10}");
        // The last row is at infinity, and has no such number.
        if quantile < 1.0 {
            let _ = write!(out, " {:14.2}", 1.0 / (1.0 - quantile));
        }
        out.push('\n');
    }
    let (mean, deviation) = (histogram.mean() / unit, histogram.stdev() / unit);
    let _ = writeln!(out, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(
        out,
        "#[Max     = {:12.3}, Total count    = {:12}]",
        histogram.max() as f64 / unit,
        histogram.len()
    );
    let _ = writeln!(
        out,
        "#[Buckets = {:12}, SubBuckets     = {:12}]",
        histogram.buckets(),
        sub_buckets(histogram)
    );
    out
}

/// Sub-buckets of a bucket: twice the resolution of its significant digits, rounded up to a power of two.
fn sub_buckets(histogram: &Histogram<u64>) -> u64 {
    (2 * 10_u64.pow(u32::from(histogram.sigfig()))).next_power_of_two()
}
