//! Small drawings: a dot for a rate, a whisker for its interval, on an axis that a suite's endpoints share.

use super::format::{percent, range};
use crate::domain::Interval;

const WIDTH: f64 = 200.0;
const HEIGHT: f64 = 20.0;
const PAD: f64 = 6.0;
/// The axis begins at a multiple of this, below the lowest interval.
const AXIS_STEP: f64 = 0.05;
/// Widest part of the axis that is cut off.
const AXIS_START_MAX: f64 = 0.9;

/// The part of \[0, 1\] that is drawn: from here to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Axis {
    start: f64,
}

impl Axis {
    /// An axis on which all intervals lie.
    pub fn of(intervals: impl IntoIterator<Item = Interval>) -> Self {
        let lowest = intervals.into_iter().map(|i| i.lo).fold(1.0, f64::min);
        let start = (lowest / AXIS_STEP).floor() * AXIS_STEP;
        Axis { start: start.clamp(0.0, AXIS_START_MAX) }
    }

    fn x(self, share: f64) -> f64 {
        let share = share.clamp(self.start, 1.0);
        PAD + (share - self.start) / (1.0 - self.start) * (WIDTH - 2.0 * PAD)
    }

    /// The ends of the axis, for the head of a column.
    pub fn labels(self) -> (String, String) {
        (format!("{:.0}", self.start * 100.0), "100\u{202f}%".to_owned())
    }

    /// Dot and whisker. Holds numbers and fixed words alone, so it needs no escaping.
    pub fn draw(self, rate: f64, interval: Interval) -> String {
        let (lo, at, hi) = (self.x(interval.lo), self.x(rate), self.x(interval.hi));
        let (left, right, middle) = (self.x(self.start), self.x(1.0), HEIGHT / 2.0);
        let (top, bottom) = (middle - 4.0, middle + 4.0);
        format!(
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" role=\"img\" \
             aria-label=\"{}, 95 % interval {}\">\
             <line class=\"axis\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <path class=\"end\" d=\"M{left:.1} {top}V{bottom}M{right:.1} {top}V{bottom}\"/>\
             <line class=\"whisker\" x1=\"{lo:.1}\" x2=\"{hi:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>\
             <path class=\"cap\" d=\"M{lo:.1} {top}V{bottom}M{hi:.1} {top}V{bottom}\"/>\
             <circle class=\"dot\" cx=\"{at:.1}\" cy=\"{middle}\" r=\"3.5\"/></svg>",
            percent(rate),
            range(interval),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interval_lies_on_the_axis() {
        let intervals = [Interval { lo: 0.62, hi: 0.7 }, Interval { lo: 0.97, hi: 1.0 }];
        let axis = Axis::of(intervals);
        assert_eq!(axis.labels().0, "60");
        assert!((axis.x(1.0) - (WIDTH - PAD)).abs() < 1e-9);
        assert!(axis.x(0.62) > PAD && axis.x(0.62) < axis.x(0.97));
        assert_eq!(Axis::of([]).labels().0, "90");
        assert_eq!(Axis::of([Interval { lo: 0.0, hi: 0.1 }]).labels().0, "0");
    }
}
