//! One account: what one bucket has spent of one quota in the window, and what calls under way hold of it.
//!
//! Behind a lock that is held for a few additions: several numbers change together, and a call to a model costs a
//! million times more. What is held does not end with a window: a call is charged to the window in which it ends, and until
//! then what it may use is held in the window that is. What was spent beyond the quota is a debt: the next window
//! begins with it.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{
        AtomicBool,
        Ordering::{AcqRel, Relaxed, Release},
    },
};

use super::calendar::{Calendar, Window};

/// How far a clock may go back without the window going back with it: readings of several cores differ by a second, and a
/// window that was left must not be entered again. A clock that was a day ahead was wrong.
const CLOCK_BACK_MS: u64 = 24 * 3_600_000;

/// What one bucket has of one quota.
#[derive(Debug)]
pub(crate) struct Account {
    /// Under which name it is found and kept.
    pub(crate) key: Box<str>,
    state: Mutex<State>,
    /// Whether it has changed since it was last written down.
    unsaved: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    window: Window,
    spent: u64,
    held: u64,
    /// The quota when it was last asked for.
    limit: u64,
}

/// Where an account stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) window: Window,
    pub(crate) spent: u64,
    pub(crate) held: u64,
}

/// What an account answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The amount is held or spent now.
    Taken(Standing),
    /// It is more than is left.
    Refused(Standing),
}

impl Account {
    pub(crate) fn new(key: Box<str>, window: Window, spent: u64) -> Self {
        let state = State { window, spent, held: 0, limit: 0 };
        Account { key, state: Mutex::new(state), unsaved: AtomicBool::new(false) }
    }

    /// A shadow's account, which begins where the enforced one stands.
    pub(crate) fn copy_as(&self, key: Box<str>) -> Self {
        let state = *self.lock();
        Account::new(key, state.window, state.spent)
    }

    /// Holds an amount for a call under way; `amount` 0 asks whether there is anything left.
    pub(crate) fn hold(&self, calendar: &Calendar, limit: u64, now_ms: u64, amount: u64) -> Answer {
        let mut state = self.at(calendar, limit, now_ms);
        let taken = state.spent.saturating_add(state.held);
        let is_over = if amount == 0 { taken >= limit } else { taken.saturating_add(amount) > limit };
        if is_over {
            return Answer::Refused(state.standing());
        }
        state.held = state.held.saturating_add(amount);
        Answer::Taken(state.standing())
    }

    /// Spends an amount at once.
    pub(crate) fn spend(&self, calendar: &Calendar, limit: u64, now_ms: u64, amount: u64) -> Answer {
        let mut state = self.at(calendar, limit, now_ms);
        if state.spent.saturating_add(state.held).saturating_add(amount) > limit {
            return Answer::Refused(state.standing());
        }
        state.spent = state.spent.saturating_add(amount);
        let standing = state.standing();
        drop(state);
        self.unsaved.store(true, Release);
        Answer::Taken(standing)
    }

    /// Gives back what was spent at once, because another quota refused the same call.
    pub(crate) fn unspend(&self, amount: u64) {
        let mut state = self.lock();
        state.spent = state.spent.saturating_sub(amount);
    }

    /// Ends a hold: `used` of it was spent, be it less or more.
    pub(crate) fn settle(&self, calendar: &Calendar, limit: u64, now_ms: u64, held: u64, used: u64) {
        let mut state = self.at(calendar, limit, now_ms);
        state.held = state.held.saturating_sub(held);
        state.spent = state.spent.saturating_add(used);
        drop(state);
        if used > 0 {
            self.unsaved.store(true, Release);
        }
    }

    /// Ends a hold of which nothing was spent.
    pub(crate) fn release(&self, held: u64) {
        let mut state = self.lock();
        state.held = state.held.saturating_sub(held);
    }

    /// Where it stands at a moment.
    #[cfg(test)]
    pub(crate) fn standing(&self, calendar: &Calendar, limit: u64, now_ms: u64) -> Standing {
        self.at(calendar, limit, now_ms).standing()
    }

    /// What is to be written down, if it has changed since it was last asked.
    pub(crate) fn take_unsaved(&self) -> Option<Standing> {
        self.unsaved.swap(false, AcqRel).then(|| self.lock().standing())
    }

    /// Writing it down failed.
    pub(crate) fn mark_unsaved(&self) {
        self.unsaved.store(true, Release);
    }

    /// Whether forgetting it changes nothing: its window is over, nobody holds it, all is written down, and it owes
    /// nothing.
    pub(crate) fn is_idle(&self, now_ms: u64) -> bool {
        let state = self.lock();
        let is_over = state.window.end_ms < now_ms;
        is_over && state.held == 0 && state.spent <= state.limit && !self.unsaved.load(Relaxed)
    }

    /// The state in the window of `now_ms`.
    fn at(&self, calendar: &Calendar, limit: u64, now_ms: u64) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.limit = limit;
        let window = state.window;
        if now_ms >= window.end_ms {
            let debt = state.spent.saturating_sub(limit);
            let between = calendar.windows_between(window.end_ms, now_ms);
            state.spent = debt.saturating_sub(limit.saturating_mul(between));
            state.window = calendar.window(now_ms);
        } else if now_ms.saturating_add(CLOCK_BACK_MS) < window.begin_ms {
            // What was spent stays spent: only the name of the window was wrong.
            state.window = calendar.window(now_ms);
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that runs under the lock panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn standing(&self) -> Standing {
        Standing { window: self.window, spent: self.spent, held: self.held }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::calendar::Period, *};

    const HOUR: u64 = 3_600_000;

    fn account() -> (Account, Calendar) {
        let calendar = Calendar::utc(Period::Hour);
        (Account::new("a".into(), calendar.window(0), 0), calendar)
    }

    fn account_again() -> (Account, Calendar) {
        account()
    }

    fn spent(account: &Account, calendar: &Calendar, now_ms: u64) -> (u64, u64) {
        let standing = account.standing(calendar, 100, now_ms);
        (standing.spent, standing.held)
    }

    #[test]
    fn what_is_held_counts_until_it_is_settled_or_released() {
        let (account, calendar) = account();
        assert!(matches!(account.hold(&calendar, 100, 0, 60), Answer::Taken(_)));
        assert!(matches!(account.hold(&calendar, 100, 0, 41), Answer::Refused(_)));
        assert!(matches!(account.hold(&calendar, 100, 0, 40), Answer::Taken(_)));
        assert!(matches!(account.hold(&calendar, 100, 0, 0), Answer::Refused(_)), "nothing is left");
        account.settle(&calendar, 100, 0, 60, 10);
        assert_eq!(spent(&account, &calendar, 0), (10, 40));
        account.release(40);
        assert_eq!(spent(&account, &calendar, 0), (10, 0));
        assert!(matches!(account.hold(&calendar, 100, 0, 0), Answer::Taken(_)));
    }

    #[test]
    fn debt_is_carried_into_the_next_windows_and_each_pays_it_off_by_the_quota() {
        let (account, calendar) = account();
        account.settle(&calendar, 100, 0, 0, 330);
        assert_eq!(spent(&account, &calendar, HOUR - 1), (330, 0));
        assert_eq!(spent(&account, &calendar, HOUR), (230, 0));
        assert_eq!(spent(&account, &calendar, 2 * HOUR), (130, 0));
        assert!(matches!(account.hold(&calendar, 100, 2 * HOUR, 1), Answer::Refused(_)));
        assert_eq!(spent(&account, &calendar, 3 * HOUR), (30, 0));
        assert!(matches!(account.hold(&calendar, 100, 3 * HOUR, 70), Answer::Taken(_)));
        // Nobody called for a long time: the windows between count as well.
        let (account, calendar) = account_again();
        account.settle(&calendar, 100, 0, 0, 330);
        assert_eq!(spent(&account, &calendar, 3 * HOUR), (30, 0));
        account.settle(&calendar, 100, 3 * HOUR, 0, 1_000_000);
        assert_eq!(spent(&account, &calendar, u64::MAX / 2), (0, 0));
    }

    #[test]
    fn a_call_across_an_edge_is_held_and_charged_in_the_window_in_which_it_ends() {
        let (account, calendar) = account();
        account.hold(&calendar, 100, HOUR - 1, 80);
        assert!(matches!(account.hold(&calendar, 100, HOUR, 21), Answer::Refused(_)));
        account.settle(&calendar, 100, HOUR, 80, 50);
        assert_eq!(spent(&account, &calendar, HOUR), (50, 0));
    }

    #[test]
    fn a_clock_that_goes_back_enters_no_window_again_and_forgives_nothing() {
        let (account, calendar) = account();
        account.settle(&calendar, 100, HOUR + 5, 0, 70);
        assert_eq!(spent(&account, &calendar, HOUR - 5), (70, 0), "a second back is another core's reading");
        let (account, calendar) = account_again();
        account.settle(&calendar, 100, 1_000 * HOUR, 0, 70);
        assert_eq!(spent(&account, &calendar, HOUR), (70, 0), "a clock that was weeks ahead");
        assert_eq!(account.standing(&calendar, 100, HOUR).window, calendar.window(HOUR));
    }

    #[test]
    fn only_what_was_spent_is_written_down_and_only_once() {
        let (account, calendar) = account();
        account.hold(&calendar, 100, 0, 60);
        assert_eq!(account.take_unsaved(), None);
        account.settle(&calendar, 100, 0, 60, 5);
        assert_eq!(account.take_unsaved().map(|standing| standing.spent), Some(5));
        assert_eq!(account.take_unsaved(), None);
        account.mark_unsaved();
        assert!(account.take_unsaved().is_some());
        assert!(!account.is_idle(0));
        assert!(account.is_idle(2 * HOUR));
    }
}
