//! All accounts of a process, and the decision over those that bear on a call: all of them hold what it may use, or none.
//!
//! Accounts are found by a text of names, because they outlive the process: the policy, the unit, the period, whether it
//! only watches, and the bucket. Not by the amount or the zone: a changed number keeps what was spent. The map is
//! bounded; where it is full and nothing idle can be forgotten, the callers of one policy share one account, which can
//! refuse them but never admits too much.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::{
    account::{Account, Answer, Standing},
    calendar::{Calendar, Window},
    policy::{QuotaLimit, QuotaPolicy, QuotaUnit},
};
use crate::policy::Bite;

/// Accounts of a process unless told otherwise: about 30 MB when they are all there.
pub const ACCOUNTS_MAX: usize = 100_000;
/// Maps that share the accounts, so that cores seldom meet.
const SHARDS: usize = 64;
/// What a caller is told to wait where only calls under way hold what is left.
const HELD_RETRY: Duration = Duration::from_secs(1);

/// All accounts of a process.
pub struct Quotas {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    accounts_max: usize,
    accounts: AtomicUsize,
    overflowed: AtomicU64,
    /// Whether what was counted before is known.
    knows: AtomicBool,
}

type Shard = HashMap<Box<str>, Arc<Account>>;

/// One policy that bears on a call.
#[derive(Clone, Copy, Debug)]
pub struct QuotaAsk<'a> {
    /// The policy.
    pub policy: &'a QuotaPolicy,
    /// Whose use it counts as, from [`QuotaPolicy::bucket`].
    pub bucket: &'a str,
    /// Whether it is enforced for the caller.
    pub bite: Bite,
}

/// What a call asks for. What is not known yet is `None`: then it is only asked whether anything is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    /// Calls, spent at once: 1, or 0 where they were counted before.
    pub requests: u64,
    /// Tokens it may use at most.
    pub tokens: Option<u64>,
    /// Picodollars it may cost at most.
    pub cost: Option<u64>,
}

/// What a call used in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Tokens.
    pub tokens: u64,
    /// Picodollars.
    pub cost: u64,
}

/// What the judge says.
#[derive(Debug)]
pub struct QuotaVerdict {
    /// What is held, or which enforced quota refused.
    pub decision: Result<Holds, QuotaRefusal>,
    /// Where each enforced quota stands after the decision.
    pub states: Vec<QuotaState>,
    /// What shadow policies would have refused.
    pub would: Vec<QuotaRefusal>,
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaRefusal {
    /// The ask whose policy decided.
    pub ask: usize,
    /// The quota of that policy.
    pub limit: usize,
    /// When it may be worth another try.
    pub retry_after: Duration,
    /// What was asked for; 0 where it was only asked whether anything is left.
    pub asked: u64,
    /// What was left.
    pub left: u64,
}

/// Where a quota stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaState {
    /// The ask.
    pub ask: usize,
    /// The quota of its policy.
    pub limit: usize,
    /// What is left, less what calls under way hold.
    pub remaining: u64,
    /// When the next window begins, in milliseconds since 1970.
    pub reset_ms: u64,
}

/// An account as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Its name.
    pub key: Box<str>,
    /// Its window.
    pub window: Window,
    /// What was spent.
    pub spent: u64,
}

/// What a call holds of its accounts. Dropping it releases everything: a call of which nothing is known used nothing.
#[must_use = "what is dropped is released"]
#[derive(Debug, Default)]
pub struct Holds(Vec<Hold>);

struct Hold {
    account: Arc<Account>,
    calendar: Calendar,
    unit: QuotaUnit,
    limit: u64,
    /// What is held; for requests nothing is, they were spent.
    amount: u64,
}

impl Quotas {
    /// Room for `accounts_max` accounts ([`ACCOUNTS_MAX`] is usual).
    pub fn new(accounts_max: usize, hasher: RandomState) -> Self {
        Quotas {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher,
            accounts_max,
            accounts: AtomicUsize::new(0),
            overflowed: AtomicU64::new(0),
            knows: AtomicBool::new(true),
        }
    }

    /// What was counted before cannot be read yet: until it is restored, nothing can be decided.
    pub fn forget(&self) {
        self.knows.store(false, Relaxed);
    }

    /// Whether what was counted before is known.
    pub fn knows(&self) -> bool {
        self.knows.load(Relaxed)
    }

    /// Decides on a call at `now_ms`. The order of asks is the order of policies: the first that refuses is named.
    pub fn reserve(&self, now_ms: u64, asks: &[QuotaAsk<'_>], amounts: &Amounts) -> QuotaVerdict {
        let mut states = Vec::new();
        let mut holds = Holds::default();
        let mut refused: Option<QuotaRefusal> = None;
        for (index, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.bite == Bite::Enforce) {
            match self.take(now_ms, index, ask, amounts, &mut states) {
                Ok(more) => holds.0.extend(more.into_inner()),
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let decision = match refused {
            Some(refusal) => {
                holds.undo();
                Err(refusal)
            }
            None => Ok(holds),
        };
        let mut would = Vec::new();
        let mut watched = Holds::default();
        for (index, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.bite == Bite::Shadow) {
            match self.take(now_ms, index, ask, amounts, &mut Vec::new()) {
                Ok(more) => watched.0.extend(more.into_inner()),
                Err(refusal) => would.push(refusal),
            }
        }
        // A shadow counts calls that go; one that is refused used nothing.
        let decision = match decision {
            Ok(mut holds) => {
                holds.0.extend(watched.into_inner());
                Ok(holds)
            }
            Err(refusal) => {
                watched.undo();
                Err(refusal)
            }
        };
        QuotaVerdict { decision, states, would }
    }

    /// Takes back what was written down before. Accounts that are there already stay as they are.
    pub fn restore(&self, saved: impl IntoIterator<Item = Saved>) {
        for Saved { key, window, spent } in saved {
            let mut shard = self.shard(&key);
            if shard.contains_key(&key) || !self.claim() {
                continue;
            }
            let account = Arc::new(Account::new(key.clone(), window, spent));
            shard.insert(key, account);
        }
        self.knows.store(true, Relaxed);
    }

    /// Everything that has changed since it was last asked; what cannot be written is handed to [`Quotas::unsaved_still`].
    pub fn unsaved(&self) -> Vec<Saved> {
        let mut all = Vec::new();
        for shard in &self.shards {
            for account in lock(shard).values() {
                if let Some(Standing { window, spent, .. }) = account.take_unsaved() {
                    all.push(Saved { key: account.key.clone(), window, spent });
                }
            }
        }
        all
    }

    /// These could not be written: they are told again.
    pub fn unsaved_still(&self, saved: &[Saved]) {
        for one in saved {
            if let Some(account) = self.shard(&one.key).get(&one.key) {
                account.mark_unsaved();
            }
        }
    }

    /// Forgets everything; for rehearsals.
    pub fn clear(&self) {
        self.shards.iter().for_each(|shard| lock(shard).clear());
        self.accounts.store(0, Relaxed);
        self.overflowed.store(0, Relaxed);
    }

    /// Accounts in memory.
    pub fn accounts(&self) -> usize {
        self.accounts.load(Relaxed)
    }

    /// How often a call was judged by its policy's shared account because there was no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed.load(Relaxed)
    }

    /// Takes all quotas of one policy or none.
    fn take(
        &self,
        now_ms: u64,
        index: usize,
        ask: &QuotaAsk<'_>,
        amounts: &Amounts,
        states: &mut Vec<QuotaState>,
    ) -> Result<Holds, QuotaRefusal> {
        let mut holds = Holds::default();
        for (number, limit) in ask.policy.limits.iter().enumerate() {
            let account = self.account(now_ms, ask, limit);
            let (answer, amount) = match limit.unit {
                QuotaUnit::Requests if amounts.requests == 0 => continue,
                QuotaUnit::Requests => {
                    let asked = amounts.requests;
                    (account.spend(&limit.calendar, limit.amount, now_ms, asked), asked)
                }
                QuotaUnit::Tokens => hold(&account, limit, now_ms, amounts.tokens),
                QuotaUnit::Cost => hold(&account, limit, now_ms, amounts.cost),
            };
            let (Answer::Taken(standing) | Answer::Refused(standing)) = answer;
            let remaining = left(&standing, limit.amount);
            states.push(QuotaState {
                ask: index,
                limit: number,
                remaining,
                reset_ms: standing.window.end_ms,
            });
            if matches!(answer, Answer::Refused(_)) {
                holds.undo();
                let is_held = standing.spent.saturating_add(amount) <= limit.amount && standing.held > 0;
                let wait = Duration::from_millis(standing.window.end_ms.saturating_sub(now_ms));
                let retry_after = if is_held { HELD_RETRY.min(wait) } else { wait };
                return Err(QuotaRefusal {
                    ask: index,
                    limit: number,
                    retry_after,
                    asked: amount,
                    left: remaining,
                });
            }
            let is_known = match limit.unit {
                QuotaUnit::Requests => true,
                QuotaUnit::Tokens => amounts.tokens.is_some(),
                QuotaUnit::Cost => amounts.cost.is_some(),
            };
            // Who only asks whether anything is left comes again with an amount, and is charged once.
            if is_known {
                let (calendar, unit) = (limit.calendar.clone(), limit.unit);
                holds.0.push(Hold { account, calendar, unit, limit: limit.amount, amount });
            }
        }
        Ok(holds)
    }

    fn account(&self, now_ms: u64, ask: &QuotaAsk<'_>, limit: &QuotaLimit) -> Arc<Account> {
        let key = account_key(ask.policy, limit, ask.bite, ask.bucket);
        if let Some(account) = self.shard(&key).get(&*key) {
            return account.clone();
        }
        if !self.claim() {
            self.make_room(now_ms);
            if !self.claim() {
                self.overflowed.fetch_add(1, Relaxed);
                let shared = account_key(ask.policy, limit, ask.bite, OVERFLOW);
                let begin = || Account::new(shared.clone(), limit.calendar.window(now_ms), 0);
                return self
                    .shard(&shared)
                    .entry(shared.clone())
                    .or_insert_with(|| Arc::new(begin()))
                    .clone();
            }
        }
        let begun = match ask.bite {
            // A shadow begins as a copy of what is enforced, or its first window would admit what is refused now.
            Bite::Shadow => {
                let enforced = account_key(ask.policy, limit, Bite::Enforce, ask.bucket);
                let found = self.shard(&enforced).get(&*enforced).cloned();
                found.map(|account| account.copy_as(key.clone()))
            }
            Bite::Enforce | Bite::Off => None,
        };
        let begun = begun.unwrap_or_else(|| Account::new(key.clone(), limit.calendar.window(now_ms), 0));
        let mut shard = self.shard(&key);
        if let Some(theirs) = shard.get(&*key) {
            self.accounts.fetch_sub(1, Relaxed);
            return theirs.clone();
        }
        let account = Arc::new(begun);
        shard.insert(key, account.clone());
        account
    }

    /// Claims room for one account.
    fn claim(&self) -> bool {
        let one_more = |accounts| (accounts < self.accounts_max).then_some(accounts + 1);
        self.accounts.fetch_update(Relaxed, Relaxed, one_more).is_ok()
    }

    /// Forgets what is idle in the shard next in turn.
    fn make_room(&self, now_ms: u64) {
        let turn = self.overflowed.load(Relaxed) as usize;
        for shard in self.shards.iter().cycle().skip(turn % SHARDS).take(2) {
            let mut shard = lock(shard);
            let before = shard.len();
            shard.retain(|_, account| Arc::strong_count(account) > 1 || !account.is_idle(now_ms));
            self.accounts.fetch_sub(before - shard.len(), Relaxed);
        }
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        let number = self.hasher.hash_one(key) as usize % SHARDS;
        #[expect(clippy::indexing_slicing, reason = "there are SHARDS shards")]
        lock(&self.shards[number])
    }
}

impl Default for Quotas {
    fn default() -> Self {
        Quotas::new(ACCOUNTS_MAX, RandomState::new())
    }
}

impl fmt::Debug for Quotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quotas").field("accounts", &self.accounts()).finish_non_exhaustive()
    }
}

impl Holds {
    /// Whether nothing is held.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds what another decision holds.
    pub fn join(&mut self, other: Holds) {
        self.0.extend(other.into_inner());
    }

    /// The call has ended: what it used is spent, the rest is there again.
    pub fn settle(self, now_ms: u64, used: Used) {
        for hold in self.into_inner() {
            let spent = match hold.unit {
                QuotaUnit::Requests => continue,
                QuotaUnit::Tokens => used.tokens,
                QuotaUnit::Cost => used.cost,
            };
            hold.account.settle(&hold.calendar, hold.limit, now_ms, hold.amount, spent);
        }
    }

    /// The call has ended and used all that it held.
    pub fn spend(self, now_ms: u64) {
        for hold in self.into_inner() {
            if hold.unit != QuotaUnit::Requests {
                hold.account.settle(&hold.calendar, hold.limit, now_ms, hold.amount, hold.amount);
            }
        }
    }

    /// Gives everything back, also what was spent at once.
    fn undo(self) {
        for hold in self.into_inner() {
            match hold.unit {
                QuotaUnit::Requests => hold.account.unspend(hold.amount),
                QuotaUnit::Tokens | QuotaUnit::Cost => hold.account.release(hold.amount),
            }
        }
    }

    fn into_inner(mut self) -> Vec<Hold> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Holds {
    fn drop(&mut self) {
        for hold in self.0.drain(..) {
            match hold.unit {
                // A call that was admitted counts, however it ends.
                QuotaUnit::Requests => {}
                QuotaUnit::Tokens | QuotaUnit::Cost => hold.account.release(hold.amount),
            }
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} of {}", self.amount, self.unit.as_str(), self.account.key)
    }
}

fn hold(account: &Account, limit: &QuotaLimit, now_ms: u64, amount: Option<u64>) -> (Answer, u64) {
    let amount = amount.unwrap_or(0);
    (account.hold(&limit.calendar, limit.amount, now_ms, amount), amount)
}

const fn left(standing: &Standing, limit: u64) -> u64 {
    limit.saturating_sub(standing.spent.saturating_add(standing.held))
}

/// The bucket of all callers for whom there is no room. No bucket of names has this form.
const OVERFLOW: &str = "*";

fn account_key(policy: &QuotaPolicy, limit: &QuotaLimit, bite: Bite, bucket: &str) -> Box<str> {
    let shadow = if bite == Bite::Shadow { " shadow" } else { "" };
    let (unit, period) = (limit.unit.as_str(), limit.calendar.period().as_str());
    format!("{} {unit}/{period}{shadow} {bucket}", policy.label).into()
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // Nothing that runs under the lock panics.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
