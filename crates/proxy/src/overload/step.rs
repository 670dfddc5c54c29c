//! The figure of pressure, and the steps that follow from it.
//!
//! The bounds are fixed: an operator says how much memory there is and which routes matter most, and nothing else. What
//! is shed grows with the pressure within a step, so that the load settles where the figure stands still instead of
//! swinging between everything and nothing.

use bartizan_config::snapshot::Priority;

/// How much of what there is is used, in thousandths. 1000 means that nothing is left; it may be more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pressure(pub(super) u32);

impl Pressure {
    /// Nothing is used.
    pub const NONE: Pressure = Pressure(0);
    /// Everything is.
    pub const FULL: Pressure = Pressure(1_000);

    /// `used` of `most`; none where there is no `most`.
    pub fn of(used: u64, most: u64) -> Self {
        let thousandths = (u128::from(used) * 1_000).checked_div(u128::from(most)).unwrap_or(0);
        Pressure(u32::try_from(thousandths).unwrap_or(u32::MAX))
    }

    /// The figure.
    pub const fn thousandths(self) -> u32 {
        self.0
    }

    /// The same in hundredths, for people.
    pub const fn percent(self) -> u32 {
        self.0 / 10
    }

    /// Whether `step` is taken.
    pub const fn reaches(self, step: Step) -> bool {
        self.0 >= step.from().0
    }
}

/// What is done, from the mildest to the hardest. Each adds to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Connections without a request are closed after 5 s at most.
    ShortIdle,
    /// An HTTP/2 connection has one stream at a time; others are refused in a way that lets clients send them again.
    NoNewStreams,
    /// Requests are refused with 503, by the priority of their rules.
    Shed,
    /// Requests whose bodies hold the most memory are ended; for memory only.
    Reset,
    /// Connections stay in the system's queue.
    StopAccepting,
}

impl Step {
    /// All steps, the mildest first.
    pub const ALL: [Step; 5] =
        [Step::ShortIdle, Step::NoNewStreams, Step::Shed, Step::Reset, Step::StopAccepting];

    /// The word in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::ShortIdle => "short_idle",
            Step::NoNewStreams => "no_new_streams",
            Step::Shed => "shed",
            Step::Reset => "reset",
            Step::StopAccepting => "stop_accepting",
        }
    }

    /// From which pressure on it is taken.
    pub const fn from(self) -> Pressure {
        Pressure(match self {
            Step::ShortIdle => 800,
            Step::NoNewStreams => 850,
            Step::Shed => 900,
            Step::Reset => 970,
            Step::StopAccepting => 1_000,
        })
    }
}

/// Whether a request of this priority is shed under this pressure. `draw` is any uniform number: of those who come, a
/// share is shed that grows from nothing at the first bound to everything at the second.
pub(crate) fn sheds(pressure: Pressure, priority: Priority, draw: u64) -> bool {
    let (none, all) = match priority {
        Priority::Low => (900, 940),
        Priority::Normal => (920, 980),
        Priority::High => (960, 1_000),
        Priority::Critical => return false,
    };
    let over = pressure.0.saturating_sub(none);
    over > 0 && draw % u64::from(all - none) < u64::from(over)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_taken_from_its_bound_on_and_all_milder_ones_with_it() {
        for (at, step) in Step::ALL.into_iter().enumerate() {
            let just = Pressure(step.from().0);
            assert!(Step::ALL[..=at].iter().all(|milder| just.reaches(*milder)), "{step:?}");
            assert!(!Pressure(just.0 - 1).reaches(step), "{step:?}");
        }
    }

    #[test]
    fn what_is_shed_grows_with_the_pressure_and_the_less_important_goes_first() {
        let share = |thousandths, priority| {
            (0..1_200).filter(|draw| sheds(Pressure(thousandths), priority, *draw)).count() / 12
        };
        let cases = [
            (899, [0, 0, 0, 0]),
            (900, [0, 0, 0, 0]),
            (920, [50, 0, 0, 0]),
            (940, [100, 33, 0, 0]),
            (950, [100, 50, 0, 0]),
            (980, [100, 100, 50, 0]),
            (1_000, [100, 100, 100, 0]),
            (5_000, [100, 100, 100, 0]),
        ];
        for (pressure, expected) in cases {
            let shares = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical]
                .map(|priority| share(pressure, priority));
            assert_eq!(shares, expected, "at {pressure}");
        }
    }

    #[test]
    fn without_a_limit_nothing_presses() {
        assert_eq!(Pressure::of(5, 0), Pressure::NONE);
        assert_eq!(Pressure::of(97, 100), Pressure(970));
        assert_eq!(Pressure::of(u64::MAX, 1), Pressure(u32::MAX));
    }
}
