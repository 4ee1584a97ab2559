//! Scales of a chart: from a value to a place, and which values get a mark. Pure.

/// How values are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal differences, equal distances.
    Linear,
    /// Equal ratios, equal distances; values above 0 only.
    Log,
}

/// Values `min` to `max`, drawn from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    /// How values are laid out.
    pub(crate) scale: Scale,
    /// Value at `start`.
    pub(crate) min: f64,
    /// Value at `end`.
    pub(crate) max: f64,
    /// Place of `min`.
    pub(crate) start: f64,
    /// Place of `max`.
    pub(crate) end: f64,
}

impl Axis {
    /// An axis that reaches over all of `values` and to round numbers beyond them.
    pub(crate) fn over(values: impl Iterator<Item = f64>, scale: Scale, start: f64, end: f64) -> Self {
        let usable = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (low, high) =
            usable.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 1.0) };
        let (min, max) = match scale {
            Scale::Linear => {
                let step = step(high.max(f64::MIN_POSITIVE));
                (0.0, (high / step).ceil().max(1.0) * step)
            }
            Scale::Log => {
                let (min, max) = (round_down(low), round_up(high));
                (min, if max > min { max } else { min * 10.0 })
            }
        };
        Self { scale, min, max, start, end }
    }

    /// The place of a value; values beyond the ends are drawn at them.
    pub(crate) fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.min) / (self.max - self.min),
            Scale::Log => (value.max(self.min) / self.min).ln() / (self.max / self.min).ln(),
        };
        self.start + share.clamp(0.0, 1.0) * (self.end - self.start)
    }

    /// Values to mark.
    pub(crate) fn marks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.max);
                (0..=(self.max / step).round() as u32).map(|n| f64::from(n) * step).collect()
            }
            Scale::Log => {
                let decades = (self.max / self.min).log10();
                let digits: &[f64] = if decades > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                let first = self.min.log10().floor() as i32;
                let last = self.max.log10().ceil() as i32;
                let all = (first..=last)
                    .flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
                // A little room for rounding of the ends.
                all.filter(|value| *value > self.min * 0.999 && *value < self.max * 1.001).collect()
            }
        }
    }
}

/// Distance of marks that makes four to ten of them up to `max`: 1, 2 or 5 times a power of ten.
fn step(max: f64) -> f64 {
    let raw = max / 5.0;
    let power = 10_f64.powf(raw.log10().floor());
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= raw * 0.999).unwrap_or(10.0);
    digit * power
}

/// The largest of 1, 2 and 5 times a power of ten that is not above `value`.
fn round_down(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [5.0, 2.0].into_iter().map(|digit| digit * power).find(|round| *round <= value).unwrap_or(power)
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `value`.
fn round_up(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|digit| digit * power)
        .find(|round| *round >= value)
        .unwrap_or(10.0 * power)
}
