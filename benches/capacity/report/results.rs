//! Everything a run of the bench found out.

use hdrhistogram::Histogram;
use serde::Serialize;

use super::figures::Figures;
use super::statistics::{Spread, median, spread};
use crate::load::Load;
use crate::machine::Cpus;

/// The proxy that ratios refer to.
pub(super) const BASE: &str = "haproxy";

/// A run of the bench.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    /// Kernel and processor.
    pub(crate) machine: String,
    /// Which CPUs did what.
    pub(crate) cpus: Cpus,
    /// Shards, threads or workers of each proxy.
    pub(crate) shards: u16,
    /// Rounds that were run.
    pub(crate) rounds: usize,
    /// Length of a measurement, in seconds.
    pub(crate) seconds: f64,
    /// Name and version of each proxy.
    pub(crate) peers: Vec<(String, String)>,
    /// The loads.
    pub(crate) loads: Vec<Load>,
    /// One for each load and proxy.
    pub(crate) series: Vec<Series>,
    /// One for each proxy.
    pub(crate) memory: Vec<Memory>,
    /// Who was not measured where.
    pub(crate) left_out: Vec<LeftOut>,
    /// What went wrong.
    pub(crate) failures: Vec<String>,
}

/// All rounds of one proxy under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    /// The load's name.
    pub(crate) load: String,
    /// The proxy's name.
    pub(crate) peer: String,
    /// By round; `None` if it failed or was left out.
    pub(crate) rounds: Vec<Option<Figures>>,
    /// Latencies of all rounds, in nanoseconds.
    #[serde(skip)]
    pub(crate) latencies: Histogram<u64>,
}

/// A proxy that cannot be put under a load.
#[derive(Debug, Serialize)]
pub(crate) struct LeftOut {
    /// The load's name.
    pub(crate) load: String,
    /// The proxy's name.
    pub(crate) peer: String,
    /// What it lacks.
    pub(crate) why: &'static str,
}

/// Memory of a proxy that holds idle connections.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// The proxy's name.
    pub(crate) peer: String,
    /// Connections held and resident bytes.
    pub(crate) points: Vec<(usize, u64)>,
}

impl Results {
    /// Adds what a proxy did under a load in the round that is under way.
    pub(crate) fn add(&mut self, load: &str, peer: &str, measured: Option<(Figures, Histogram<u64>)>) {
        let (figures, latencies) = measured.unzip();
        match self.series.iter_mut().find(|series| series.load == load && series.peer == peer) {
            Some(series) => {
                series.rounds.push(figures);
                // All histograms here have the same bounds, so adding cannot fail.
                let _ = latencies.map(|latencies| series.latencies.add(latencies));
            }
            None => self.series.push(Series {
                load: load.to_owned(),
                peer: peer.to_owned(),
                rounds: vec![figures],
                latencies: latencies.unwrap_or_else(crate::load::latencies),
            }),
        }
    }

    /// All rounds of a proxy under a load.
    pub(super) fn series(&self, load: &str, peer: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.load == load && series.peer == peer)
    }

    /// Median over the rounds.
    pub(super) fn median(
        &self,
        load: &str,
        peer: &str,
        figure: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<f64> {
        let series = self.series(load, peer)?;
        median(series.rounds.iter().flatten().filter_map(figure))
    }

    /// The rounds' ratios to the base. Those of one round were measured within seconds of each other, so what disturbs
    /// the machine for longer cancels out.
    pub(super) fn ratio(
        &self,
        load: &str,
        peer: &str,
        figure: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<Spread> {
        self.ratio_between((load, peer), (load, BASE), figure)
    }

    /// The rounds' ratios of one series to another.
    pub(super) fn ratio_between(
        &self,
        (load, peer): (&str, &str),
        (base_load, base_peer): (&str, &str),
        figure: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<Spread> {
        let (series, base) = (self.series(load, peer)?, self.series(base_load, base_peer)?);
        let pairs = series.rounds.iter().zip(&base.rounds);
        let ratios: Vec<f64> = pairs
            .filter_map(|(own, base)| Some(figure(own.as_ref()?)? / figure(base.as_ref()?)?))
            .filter(|ratio| ratio.is_finite())
            .collect();
        spread(&ratios)
    }
}
