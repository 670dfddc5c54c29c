//! The key desk: owners of API keys replace them by themselves, at the store.
//!
//! A thread of its own works on the store; cores hand it an order and wait for a one-shot. The queue is short: whoever
//! comes when it is full is told to come again.

use std::{future::Future, pin::Pin, sync::Arc, thread};

use bartizan_identity::{KeyId, LifeTerms};
use bartizan_proxy::{
    desk::{DeskAnswer, DeskAsk, KeyDesk},
    runtime::Runtime,
};
use bartizan_store::{DataDir, Error, Rotation, Store, Successor};
use tokio::sync::{mpsc, oneshot};

use super::keys::chain;
use crate::command::when;

/// The desk; its thread ends when the last handle is gone.
pub(super) struct Desk(mpsc::Sender<Order>);

type Order = (DeskAsk, oneshot::Sender<DeskAnswer>);

impl Desk {
    /// Opens the desk. Policies are those in force when somebody comes.
    pub(super) fn open(store: DataDir, data_plane: &Arc<Runtime>) -> std::io::Result<Arc<Self>> {
        let (orders, mut queue) = mpsc::channel::<Order>(ORDERS_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Weak: the runtime holds the desk.
        let data_plane = Arc::downgrade(data_plane);
        thread::Builder::new().name("key-desk".into()).spawn(move || {
            runtime.block_on(async {
                let mut open: Option<Store> = None;
                while let Some((ask, answer)) = queue.recv().await {
                    let Some(data_plane) = data_plane.upgrade() else { return };
                    let terms = |consumer: &str| terms(&data_plane, consumer);
                    let outcome = match &open {
                        Some(store) => Ok(store.clone()),
                        None => Store::open_existing(&store).await,
                    };
                    let told = match outcome {
                        Ok(store) => {
                            open = Some(store.clone());
                            work(&store, ask, terms).await
                        }
                        Err(error) => Err(error),
                    };
                    let told = told.unwrap_or_else(|error| {
                        // The file may be another one by the next order.
                        open = None;
                        tracing::error!(error = %chain(&error), "the key desk cannot work");
                        DeskAnswer::Unavailable
                    });
                    // Whoever asked may have left; what was done is done, and `keys list` shows it.
                    let _ = answer.send(told);
                }
            });
        })?;
        Ok(Arc::new(Desk(orders)))
    }
}

impl KeyDesk for Desk {
    fn ask(&self, ask: DeskAsk) -> Pin<Box<dyn Future<Output = DeskAnswer> + Send>> {
        let (answer, answered) = oneshot::channel();
        let is_full = self.0.try_send((ask, answer)).is_err();
        Box::pin(async move {
            if is_full {
                return DeskAnswer::Unavailable;
            }
            answered.await.unwrap_or(DeskAnswer::Unavailable)
        })
    }
}

fn terms(data_plane: &Runtime, consumer: &str) -> LifeTerms {
    let live = data_plane.live();
    let plan = live.snapshot.consumers.get(consumer).and_then(|plan| plan.rotation.clone());
    plan.map_or_else(LifeTerms::default, |plan| LifeTerms::clone(&plan.terms))
}

async fn work(store: &Store, ask: DeskAsk, terms: impl Fn(&str) -> LifeTerms) -> Result<DeskAnswer, Error> {
    let now = when::now_ms();
    let mut text = None;
    let done = match ask {
        DeskAsk::Look { token } => {
            return refused(
                store
                    .claims()
                    .look(&token, now)
                    .await
                    .map(|claim| DeskAnswer::Claimable { consumer: claim.key.consumer, key: claim.key.id }),
            );
        }
        DeskAsk::Leaked { key } => {
            let row = store.keys().report_leak(&key, now).await;
            if let Ok(row) = &row {
                tracing::warn!(%key, consumer = row.consumer, "a key was reported as leaked");
            }
            return refused(row.map(|_| DeskAnswer::Done));
        }
        DeskAsk::Claim { token } => {
            let deliver = |made: &bartizan_identity::KeyText| {
                text = Some(made.clone());
                Ok(())
            };
            store.claims().claim(&token, terms, now, deliver).await
        }
        DeskAsk::Rotate { key } => rotate(store, &key, terms, now, &mut text).await,
    };
    let made = done.map(|Successor { old, new }| match text {
        Some(text) => {
            DeskAnswer::Made { id: new.id, text, consumer: new.consumer, old_ends_ms: old.expires_at_ms }
        }
        None => DeskAnswer::Unavailable,
    });
    refused(made)
}

async fn rotate(
    store: &Store,
    key: &KeyId,
    terms: impl Fn(&str) -> LifeTerms,
    now: u64,
    text: &mut Option<bartizan_identity::KeyText>,
) -> Result<Successor, Error> {
    let row = store.keys().show(key).await?;
    let terms = terms(&row.consumer);
    let rotation = Rotation { terms: &terms, expires_at_ms: None, created_by: Some("its owner") };
    let deliver = |made: &bartizan_identity::KeyText| {
        *text = Some(made.clone());
        Ok(())
    };
    store.keys().rotate(key, rotation, now, deliver).await
}

/// What is no failure of ours is an answer.
fn refused(outcome: Result<DeskAnswer, Error>) -> Result<DeskAnswer, Error> {
    match outcome {
        Err(Error::ClaimUnknown | Error::KeyUnknown { .. }) => Ok(DeskAnswer::Unknown),
        Err(Error::KeyReplaced { .. } | Error::KeyEnded { .. } | Error::ExpiryPast) => {
            Ok(DeskAnswer::Conflict)
        }
        outcome => outcome,
    }
}

/// A rotation takes milliseconds; who waits behind more of them waits too long.
const ORDERS_MAX: usize = 64;
