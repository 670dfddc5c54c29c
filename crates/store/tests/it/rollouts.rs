//! Rollouts at rest: one at a time, moved by whoever saw where it stands, with what each gateway saw.

use bartizan_store::{
    NewMove, NewRevision, NewRollout, RevisionFile, RevisionRef, RolloutRow, SetDigest, Standing, Store,
};

use super::*;

const SHADOW: Standing<'static> = Standing { phase: "shadow", step: None };
const FIRST: Standing<'static> = Standing { phase: "share", step: Some(0) };

/// The active revision 1 and the proposed revision 2.
async fn two_revisions(store: &Store) {
    let files = |mark: u8| [RevisionFile { name: "a.yaml".to_owned(), text: format!("mark: {mark}\n") }];
    let (first, second) = (files(1), files(2));
    let new = |files, mark| NewRevision {
        files,
        digest: SetDigest::new([mark; 32]),
        documents: 1,
        author: "ann",
        reason: "because",
    };
    store.revisions().put(new(&first, 1), None, NOW).await.unwrap();
    assert_eq!(store.revisions().propose(new(&second, 2), NOW).await.unwrap().number, 2);
}

async fn begin(store: &Store, base: u64, author: &str) -> Result<RolloutRow, Error> {
    let new = NewRollout {
        candidate: 2,
        base,
        plan: "{\"steps\":[100]}",
        standing: SHADOW,
        author,
        reason: "a trial",
    };
    store.rollouts().begin(new, NOW + 5).await
}

const fn to<'a>(to: Standing<'a>, actor: &'a str, activates: bool) -> NewMove<'a> {
    NewMove { to, actor, why: "it was time", activates }
}

#[tokio::test]
async fn a_rollout_is_kept_with_its_moves_and_outlives_the_process() {
    let place = Place::new();
    let store = place.store().await;
    assert_eq!(store.rollouts().latest().await.unwrap(), None);
    two_revisions(&store).await;
    let row = begin(&store, 1, "bob").await.unwrap();
    assert_eq!((row.number, row.candidate, row.base, row.looks), (1, 2, 1, 0));
    assert_eq!((row.standing(), row.since_ms, &*row.author), (SHADOW, NOW + 5, "bob"));
    assert_ne!(row.salt, [0; 16], "shares are drawn with randomness");
    let moved = store.rollouts().advance(1, SHADOW, to(FIRST, "gateway", false), NOW + 9).await.unwrap();
    assert_eq!(moved.unwrap().standing(), FIRST);
    drop(store);
    let store = place.store().await;
    let row = store.rollouts().latest().await.unwrap().unwrap();
    assert_eq!((row.standing(), row.since_ms, &*row.plan), (FIRST, NOW + 9, "{\"steps\":[100]}"));
    let moves = store.rollouts().moves(1).await.unwrap();
    let told: Vec<_> = moves.iter().map(|one| (&*one.phase, one.step, &*one.actor)).collect();
    assert_eq!(told, [("shadow", None, "bob"), ("share", Some(0), "gateway")]);
}

#[tokio::test]
async fn there_is_one_at_a_time_on_the_revision_that_is_active() {
    let place = Place::new();
    let store = place.store().await;
    two_revisions(&store).await;
    assert!(matches!(begin(&store, 2, "bob").await, Err(Error::RevisionConflict { .. })));
    assert!(matches!(begin(&store, 1, "").await, Err(Error::BadText { .. })));
    begin(&store, 1, "bob").await.unwrap();
    assert!(matches!(begin(&store, 1, "eve").await, Err(Error::RolloutOpen { number: 1 })));
    let ended = Standing { phase: "aborted", step: None };
    store.rollouts().advance(1, SHADOW, to(ended, "bob", false), NOW).await.unwrap().unwrap();
    let second = begin(&store, 1, "eve").await.unwrap();
    assert_eq!(second.number, 2);
    assert_eq!(store.rollouts().latest().await.unwrap().unwrap(), second);
}

#[tokio::test]
async fn of_many_who_want_to_move_it_the_first_does_and_the_others_see_that() {
    let place = Place::new();
    let store = place.store().await;
    two_revisions(&store).await;
    begin(&store, 1, "bob").await.unwrap();
    let mut movers = tokio::task::JoinSet::new();
    for number in 0..8 {
        let dir = place.dir();
        movers.spawn(async move {
            let store = Store::open(&dir).await.unwrap();
            let actor = format!("gateway-{number}");
            store.rollouts().advance(1, SHADOW, to(FIRST, &actor, false), NOW).await.unwrap().is_some()
        });
    }
    let moved = movers.join_all().await.into_iter().filter(|moved| *moved).count();
    assert_eq!(moved, 1);
    assert_eq!(store.rollouts().moves(1).await.unwrap().len(), 2);
    assert!(store.rollouts().advance(7, SHADOW, to(FIRST, "nobody", false), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn a_promotion_makes_the_candidate_active_only_where_the_base_still_is() {
    let place = Place::new();
    let store = place.store().await;
    two_revisions(&store).await;
    begin(&store, 1, "bob").await.unwrap();
    let promoted = Standing { phase: "promoted", step: None };
    store.rollouts().advance(1, SHADOW, to(promoted, "bob", true), NOW).await.unwrap().unwrap();
    assert_eq!(store.revisions().active().await.unwrap().unwrap().number, 2);

    // Beside another one that became active meanwhile nothing moves.
    let place = Place::new();
    let store = place.store().await;
    two_revisions(&store).await;
    begin(&store, 1, "bob").await.unwrap();
    let files = [RevisionFile { name: "a.yaml".to_owned(), text: "mark: 3\n".to_owned() }];
    let third = NewRevision {
        files: &files,
        digest: SetDigest::new([3; 32]),
        documents: 1,
        author: "eve",
        reason: "between",
    };
    store.revisions().put(third, Some(1), NOW).await.unwrap();
    let refused = store.rollouts().advance(1, SHADOW, to(promoted, "bob", true), NOW).await;
    assert!(matches!(refused, Err(Error::RevisionConflict { .. })), "{refused:?}");
    assert_eq!(store.rollouts().latest().await.unwrap().unwrap().standing(), SHADOW);
    assert_ne!(store.revisions().find(&RevisionRef::Active).await.unwrap().number, 2);
}

#[tokio::test]
async fn what_gateways_saw_is_kept_by_step_and_replaced_by_what_they_see_later() {
    let place = Place::new();
    let store = place.store().await;
    two_revisions(&store).await;
    let row = begin(&store, 1, "bob").await.unwrap();
    let rollouts = || store.rollouts();
    rollouts().put_tally(1, None, "east", "{\"a\":1}", NOW).await.unwrap();
    rollouts().put_tally(1, None, "west", "{\"a\":2}", NOW).await.unwrap();
    rollouts().put_tally(1, None, "east", "{\"a\":3}", NOW + 1).await.unwrap();
    rollouts().put_tally(1, Some(0), "east", "{\"a\":9}", NOW + 1).await.unwrap();
    let mut seen = rollouts().tallies(1, None).await.unwrap();
    seen.sort();
    let pair = |gateway: &str, tally: &str| (gateway.to_owned(), tally.to_owned());
    assert_eq!(seen, [pair("east", "{\"a\":3}"), pair("west", "{\"a\":2}")]);
    assert_eq!(rollouts().tallies(1, Some(0)).await.unwrap().len(), 1);
    assert!(rollouts().tallies(2, None).await.unwrap().is_empty());

    // A look is noted once, and not for a step that has gone by.
    rollouts().looked(&row, 2).await.unwrap();
    rollouts().looked(&row, 1).await.unwrap();
    assert_eq!(rollouts().latest().await.unwrap().unwrap().looks, 2);
    rollouts().advance(1, SHADOW, to(FIRST, "gateway", false), NOW + 50).await.unwrap();
    rollouts().looked(&row, 3).await.unwrap();
    assert_eq!(rollouts().latest().await.unwrap().unwrap().looks, 0);
}
