//! What models were used for, added up by team, consumer and model: for the store, and for the metrics.
//!
//! One table of the process behind one lock, taken once at the end of a call to a model, which lasts a million times
//! longer. It is bounded; beyond the bound callers are counted together. Money is in whole picodollars.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    metrics::cell::{Histogram, HistogramSum, TOTAL_BOUNDS},
    record::ModelRecord,
};

/// Teams, consumers and models that are told apart between two looks. Beyond it they are counted under [`OTHERS`].
pub const ROWS_MAX: usize = 10_000;
/// Those that have series of their own in the metrics.
pub const SERIES_MAX: usize = 2_000;

/// Who and what is counted together where there is no room.
pub const OTHERS: &str = "_overflow";

/// Whose use it is, of what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UsageKey {
    /// The team; none: the consumer is in none.
    pub team: Option<Arc<str>>,
    /// The consumer; none: the caller is anonymous.
    pub consumer: Option<Arc<str>>,
    /// The public name of the model.
    pub model: Arc<str>,
}

/// Sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageSums {
    /// Calls.
    pub requests: u64,
    /// Calls that no target served.
    pub failed: u64,
    /// Input tokens.
    pub input: u64,
    /// Share of them that came from a provider's cache.
    pub cached: u64,
    /// Output tokens.
    pub output: u64,
    /// Share of them that is reasoning.
    pub reasoning: u64,
    /// Picodollars.
    pub cost_pico: u64,
    /// Calls whose model has no price: they cost something that is not in `cost_pico`.
    pub unpriced: u64,
    /// Calls whose tokens are an estimate, or were cut off.
    pub estimated: u64,
    /// Targets that did not serve before another did.
    pub fallbacks: u64,
    /// Calls that said something.
    pub answered: u64,
    /// Their times to the first token, in microseconds.
    pub first_token_micros: u64,
}

/// The sums of a day, since they were last taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Days since 1970-01-01, by UTC.
    pub day: u32,
    /// Whose.
    pub key: UsageKey,
    /// How much.
    pub sums: UsageSums,
}

/// The table.
#[derive(Debug, Default)]
pub struct UsageTable(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    /// Since the process began, for the metrics.
    all: HashMap<UsageKey, UsageSums>,
    /// Times to the first token by model.
    first_tokens: BTreeMap<Arc<str>, Histogram>,
    /// Since they were last taken, by day.
    fresh: HashMap<(u32, UsageKey), UsageSums>,
}

const DAY_MS: u64 = 86_400_000;

impl UsageTable {
    /// Counts a call that has ended. A call that asked no model counts nothing.
    pub fn add(&self, unix_ms: u64, consumer: Option<&Arc<str>>, record: &ModelRecord) {
        let Some(model) = &record.model else { return };
        let key = UsageKey { team: record.team.clone(), consumer: consumer.cloned(), model: model.clone() };
        let sums = UsageSums::of(record);
        let day = u32::try_from(unix_ms / DAY_MS).unwrap_or(u32::MAX);
        let mut tables = self.lock();
        let others = || UsageKey { team: None, consumer: Some(OTHERS.into()), model: OTHERS.into() };
        if let Some(first) = record.first_token {
            let has_room = tables.first_tokens.len() < SERIES_MAX || tables.first_tokens.contains_key(model);
            let model = if has_room { model.clone() } else { OTHERS.into() };
            tables.first_tokens.entry(model).or_default().observe(TOTAL_BOUNDS, first);
        }
        let has_room = tables.all.len() < SERIES_MAX || tables.all.contains_key(&key);
        let series = if has_room { key.clone() } else { others() };
        tables.all.entry(series).or_default().add(&sums);
        let row = (day, key);
        let has_room = tables.fresh.len() < ROWS_MAX || tables.fresh.contains_key(&row);
        let row = if has_room { row } else { (day, others()) };
        tables.fresh.entry(row).or_default().add(&sums);
    }

    /// The sums since they were last taken.
    pub fn take(&self) -> Vec<UsageRow> {
        let fresh = std::mem::take(&mut self.lock().fresh);
        let mut rows: Vec<UsageRow> =
            fresh.into_iter().map(|((day, key), sums)| UsageRow { day, key, sums }).collect();
        rows.sort_by(|one, other| (one.day, &one.key).cmp(&(other.day, &other.key)));
        rows
    }

    /// Rows that could not be written: they are taken again.
    pub fn put_back(&self, rows: Vec<UsageRow>) {
        let mut tables = self.lock();
        for UsageRow { day, key, sums } in rows {
            tables.fresh.entry((day, key)).or_default().add(&sums);
        }
    }

    /// The sums since the process began, in order.
    pub fn all(&self) -> Vec<(UsageKey, UsageSums)> {
        let mut rows: Vec<_> = self.lock().all.iter().map(|(key, sums)| (key.clone(), *sums)).collect();
        rows.sort_by(|(one, _), (other, _)| one.cmp(other));
        rows
    }

    /// Times to the first token by model, since the process began.
    pub(crate) fn first_tokens(&self) -> Vec<(Arc<str>, HistogramSum)> {
        let tables = self.lock();
        let sum = |histogram: &Histogram| {
            let mut sum = HistogramSum::default();
            histogram.add_to(&mut sum);
            sum
        };
        tables.first_tokens.iter().map(|(model, histogram)| (model.clone(), sum(histogram))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Nothing that runs under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsageSums {
    fn of(record: &ModelRecord) -> Self {
        let is_used = !record.usage_source.is_empty();
        let tokens = |count: Option<u64>| count.unwrap_or(0);
        let first =
            record.first_token.map(|time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        UsageSums {
            requests: 1,
            failed: u64::from(!is_used),
            input: tokens(record.input_tokens),
            cached: tokens(record.cached_tokens),
            output: tokens(record.output_tokens),
            reasoning: tokens(record.reasoning_tokens),
            cost_pico: tokens(record.cost_pico),
            unpriced: u64::from(is_used && record.cost_pico.is_none()),
            estimated: u64::from(is_used && record.usage_source != "provider"),
            fallbacks: if is_used { record.failures.len() as u64 } else { 0 },
            answered: u64::from(first.is_some()),
            first_token_micros: first.unwrap_or(0),
        }
    }

    /// Adds others; a sum stays at its largest instead of wrapping.
    pub fn add(&mut self, more: &UsageSums) {
        let UsageSums {
            requests,
            failed,
            input,
            cached,
            output,
            reasoning,
            cost_pico,
            unpriced,
            estimated,
            fallbacks,
            answered,
            first_token_micros,
        } = self;
        for (sum, more) in [
            (requests, more.requests),
            (failed, more.failed),
            (input, more.input),
            (cached, more.cached),
            (output, more.output),
            (reasoning, more.reasoning),
            (cost_pico, more.cost_pico),
            (unpriced, more.unpriced),
            (estimated, more.estimated),
            (fallbacks, more.fallbacks),
            (answered, more.answered),
            (first_token_micros, more.first_token_micros),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(model: &str, cost: Option<u64>) -> ModelRecord {
        ModelRecord {
            model: Some(model.into()),
            team: Some("shop".into()),
            input_tokens: Some(10),
            output_tokens: Some(5),
            usage_source: "provider",
            cost_pico: cost,
            ..ModelRecord::default()
        }
    }

    #[test]
    fn calls_add_up_by_day_team_consumer_and_model_and_are_taken_once() {
        let table = UsageTable::default();
        let anna: Arc<str> = "anna".into();
        table.add(DAY_MS - 1, Some(&anna), &record("m", Some(7)));
        table.add(DAY_MS, Some(&anna), &record("m", None));
        table.add(DAY_MS, Some(&anna), &record("m", Some(3)));
        table.add(DAY_MS, None, &ModelRecord { model: Some("m".into()), ..ModelRecord::default() });
        table.add(DAY_MS, None, &ModelRecord::default());
        let rows = table.take();
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                let UsageSums { requests, failed, cost_pico, unpriced, .. } = row.sums;
                (row.day, row.key.consumer.as_deref(), requests, failed, cost_pico, unpriced)
            })
            .collect();
        assert_eq!(
            told,
            [(0, Some("anna"), 1, 0, 7, 0), (1, None, 1, 1, 0, 0), (1, Some("anna"), 2, 0, 3, 1)]
        );
        assert!(table.take().is_empty());
        table.put_back(rows.clone());
        assert_eq!(table.take(), rows);
        let all = table.all();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].1.requests, 3);
    }

    #[test]
    fn beyond_the_bound_callers_are_counted_together() {
        let table = UsageTable::default();
        for number in 0..ROWS_MAX + 3 {
            table.add(0, Some(&format!("c{number}").into()), &record("m", Some(1)));
        }
        let all = table.all();
        assert_eq!(all.len(), SERIES_MAX + 1);
        let others = all.iter().find(|(key, _)| &*key.model == OTHERS).unwrap();
        assert_eq!(others.1.requests, (ROWS_MAX + 3 - SERIES_MAX) as u64);
        let rows = table.take();
        assert_eq!(rows.len(), ROWS_MAX + 1);
        assert_eq!(rows.iter().find(|row| &*row.key.model == OTHERS).unwrap().sums.requests, 3);
    }
}
