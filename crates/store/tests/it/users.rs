//! Users, their one-time links and their sessions.

use bartizan_store::{Known, LinkFor, NewSession, NewUser, UserChange};

use super::*;

const ANN: NewUser<'_> = NewUser { name: "ann", role: "admin", scope: "", created_by: "test" };
const HOUR: u64 = 3_600_000;
const IDLE: u64 = HOUR / 2;

fn session(user: &str) -> NewSession<'_> {
    NewSession { user, address: "127.0.0.1", agent: "a browser\u{1b}", life_ms: 12 * HOUR }
}

#[tokio::test]
async fn the_first_link_makes_one_user_once_and_in_time() {
    let place = Place::new();
    let store = place.store().await;
    let users = store.users();
    let old = users.link(LinkFor::First, HOUR, NOW).await.unwrap();
    let link = users.link(LinkFor::First, HOUR, NOW).await.unwrap();
    assert_eq!(users.of_link(old.expose(), NOW).await.unwrap(), None, "a newer one took its place");
    assert_eq!(users.of_link(link.expose(), NOW + HOUR).await.unwrap(), None, "it is too old");
    assert_eq!(users.of_link(link.expose(), NOW).await.unwrap(), Some(None));
    for wrong in ["", "bzl_", &link.expose().replace("bzl_", "bzs_"), &format!("{}0", link.expose())] {
        assert!(matches!(users.spend(wrong, "ann", "hash", NOW).await, Err(Error::LinkInvalid)), "{wrong}");
    }
    let ann = users.spend(link.expose(), "ann", "hash", NOW).await.unwrap();
    assert_eq!((&*ann.name, &*ann.role, ann.has_password), ("ann", "admin", true));
    assert!(matches!(users.spend(link.expose(), "bob", "hash", NOW).await, Err(Error::LinkInvalid)));
    let late = users.link(LinkFor::First, HOUR, NOW).await.unwrap();
    assert_eq!(users.of_link(late.expose(), NOW).await.unwrap(), None, "there is somebody by now");
    assert!(matches!(users.spend(late.expose(), "bob", "hash", NOW).await, Err(Error::LinkInvalid)));
    assert_eq!(users.with_password("ann").await.unwrap().unwrap().1.as_deref(), Some("hash"));
    drop(store);
    let bytes = fs::read(place.file("bartizan.db")).unwrap();
    let secret = link.expose().rsplit('_').next().unwrap().as_bytes();
    assert!(!bytes.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test]
async fn a_user_s_link_sets_their_password_and_signs_them_out() {
    let place = Place::new();
    let store = place.store().await;
    let users = store.users();
    let ann = users.add(ANN, NOW).await.unwrap();
    assert!(matches!(users.add(ANN, NOW).await, Err(Error::UserExists { .. })));
    let (_, text) = store.sessions().begin(session(&ann.id), NOW).await.unwrap();
    let link = users.link(LinkFor::User(&ann.id), HOUR, NOW).await.unwrap();
    assert_eq!(users.of_link(link.expose(), NOW).await.unwrap().unwrap().unwrap().name, "ann");
    users.spend(link.expose(), "", "new", NOW + 1).await.unwrap();
    assert_eq!(users.with_password("ann").await.unwrap().unwrap().1.as_deref(), Some("new"));
    assert_eq!(store.sessions().recognise(text.expose(), IDLE, NOW + 2).await.unwrap(), None);
    let reset = users.reset("ann", NOW + 3).await.unwrap();
    assert!(!reset.has_password && users.with_password("ann").await.unwrap().unwrap().1.is_none());
    assert!(matches!(users.reset("bob", NOW).await, Err(Error::UserUnknown { .. })));
}

#[tokio::test]
async fn a_session_ends_idle_at_its_age_by_hand_and_with_its_user() {
    let place = Place::new();
    let store = place.store().await;
    let (users, sessions) = (store.users(), store.sessions());
    let ann = users.add(ANN, NOW).await.unwrap();
    let bob = users.add(NewUser { name: "bob", role: "viewer", ..ANN }, NOW).await.unwrap();
    let (id, text) = sessions.begin(session(&bob.id), NOW).await.unwrap();
    let text = text.expose().to_owned();
    let (row, user) = sessions.recognise(&text, IDLE, NOW + IDLE - 1).await.unwrap().unwrap();
    assert_eq!((&*row.id, &*row.agent, &*user.name), (&*id, "a browser", "bob"));
    // Used meanwhile, it goes on; left alone, it ends.
    assert!(sessions.recognise(&text, IDLE, NOW + 2 * IDLE - 2).await.unwrap().is_some());
    assert!(sessions.recognise(&text, IDLE, NOW + 3 * IDLE).await.unwrap().is_none());
    assert!(sessions.recognise(&text.replace("bzs_", "bzt_"), IDLE, NOW).await.unwrap().is_none());
    assert!(sessions.recognise(&format!("{}0", &text[..text.len() - 1]), IDLE, NOW).await.unwrap().is_none());

    let (second, other) = sessions.begin(session(&bob.id), NOW).await.unwrap();
    assert!(
        sessions.recognise(other.expose(), 24 * HOUR, NOW + 12 * HOUR).await.unwrap().is_none(),
        "its age"
    );
    assert!(!sessions.end(&second, Some(&ann.id), NOW).await.unwrap(), "not somebody else's");
    assert!(sessions.end(&second, Some(&bob.id), NOW).await.unwrap());
    assert!(!sessions.end(&second, None, NOW).await.unwrap());
    assert!(sessions.recognise(other.expose(), IDLE, NOW).await.unwrap().is_none());

    let (_, third) = sessions.begin(session(&bob.id), NOW).await.unwrap();
    assert_eq!(sessions.list(Some(&bob.id), 2 * HOUR, NOW).await.unwrap().len(), 2);
    assert_eq!(sessions.list(Some(&ann.id), 2 * HOUR, NOW).await.unwrap().len(), 0);
    let change = UserChange { disabled: Some(true), ..UserChange::default() };
    users.change("bob", change, NOW).await.unwrap();
    assert!(sessions.recognise(third.expose(), IDLE, NOW).await.unwrap().is_none());
    let change = UserChange { disabled: Some(false), ..UserChange::default() };
    users.change("bob", change, NOW).await.unwrap();
    assert!(sessions.recognise(third.expose(), IDLE, NOW).await.unwrap().is_none(), "it does not come back");
    for _ in 0..30 {
        sessions.begin(session(&ann.id), NOW).await.unwrap();
    }
    assert_eq!(sessions.list(Some(&ann.id), IDLE, NOW).await.unwrap().len(), 20);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let place = Place::new();
    let store = place.store().await;
    let users = store.users();
    users.add(NewUser { name: "carl", role: "viewer", ..ANN }, NOW).await.unwrap();
    let role = |role| UserChange { role: Some(role), ..UserChange::default() };
    users.change("carl", role("operator"), NOW).await.unwrap();
    users.add(ANN, NOW).await.unwrap();
    let narrow = UserChange { scope: Some("{}"), ..UserChange::default() };
    let off = UserChange { disabled: Some(true), ..UserChange::default() };
    for change in [role("viewer"), off, narrow] {
        assert!(matches!(users.change("ann", change, NOW).await, Err(Error::LastAdmin { .. })), "{change:?}");
    }
    assert_eq!(users.find("ann").await.unwrap().role, "admin");
    users.add(NewUser { name: "bob", ..ANN }, NOW).await.unwrap();
    assert!(!users.change("ann", off, NOW).await.unwrap().is_enabled());
    assert!(matches!(users.change("bob", off, NOW).await, Err(Error::LastAdmin { .. })));
}

#[tokio::test]
async fn somebody_proven_elsewhere_is_known_by_issuer_and_subject_and_takes_nobody_s_name() {
    let place = Place::new();
    let store = place.store().await;
    let users = store.users();
    users.add(ANN, NOW).await.unwrap();
    let known = Known { issuer: "https://id.example", subject: "1", name: "dora", role: "viewer" };
    let dora = users.proven(known, NOW).await.unwrap();
    let again = users.proven(Known { name: "dora2", role: "operator", ..known }, NOW).await.unwrap();
    assert_eq!((&again.id, &*again.name, &*again.role), (&dora.id, "dora", "operator"));
    let taken = users.proven(Known { subject: "2", name: "ann", role: "admin", ..known }, NOW).await;
    assert!(matches!(taken, Err(Error::UserExists { .. })), "{taken:?}");
    let other = users.proven(Known { issuer: "https://other.example", name: "dora", ..known }, NOW).await;
    assert!(matches!(other, Err(Error::UserExists { .. })), "{other:?}");
}
