//! Sets of members: who is in, for how long, and what a reader sees while others come and go.

use std::collections::BTreeSet;
use std::time::Duration;

use super::records::{HOSTILE, shortened};
use super::{Database, MANY, at_once, fresh, fresh_key, handles, pass_until};
use crate::store::{Key, Kind, ListPosition, MAXIMUM_MEMBERS, Member, Store};

/// Long enough for every test here.
const LONG: Duration = Duration::from_secs(3600);

/// Reads a set to its end, page by page.
async fn all(store: &dyn Store, set: &Key, limit: usize) -> Vec<Member> {
    let (mut members, mut position) = (Vec::new(), None);
    loop {
        let page = store.members(set, position.as_ref(), limit).await.unwrap();
        assert!(page.members.len() <= limit, "a page has more than {limit} members");
        members.extend(page.members);
        position = page.next;
        if position.is_none() {
            return members;
        }
    }
}

async fn names(store: &dyn Store, set: &Key) -> BTreeSet<String> {
    all(store, set, 100)
        .await
        .into_iter()
        .map(|member| member.name)
        .collect()
}

fn set_of(members: &[&str]) -> BTreeSet<String> {
    members.iter().map(|member| (*member).to_owned()).collect()
}

/// What one handle has added, another sees, once, until it is removed; a set without members is none.
///
/// # Panics
///
/// When it does not hold.
pub async fn what_was_added_is_a_member(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let set = fresh_key(Kind::UserGrants);
    assert!(all(other.as_ref(), &set, 10).await.is_empty());
    assert!(!other.remove_member(&set, "a").await.unwrap());
    for member in ["a", "b", "a"] {
        store.add_member(&set, member, LONG).await.unwrap();
    }
    let page = other.members(&set, None, 10).await.unwrap();
    assert_eq!((page.members.len(), page.total, page.next), (2, 2, None));
    assert_eq!(names(other.as_ref(), &set).await, set_of(&["a", "b"]));
    assert!(other.remove_member(&set, "a").await.unwrap());
    assert!(!store.remove_member(&set, "a").await.unwrap(), "it was removed before");
    assert_eq!(names(store.as_ref(), &set).await, set_of(&["b"]));
    assert!(store.remove_member(&set, "b").await.unwrap());
    assert_eq!(other.members(&set, None, 10).await.unwrap().total, 0);
}

/// Members and sets are named from outside: whatever is in their names, they are told apart.
///
/// # Panics
///
/// When it does not hold.
pub async fn members_may_be_anything_and_sets_are_kept_apart(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let (set, unique) = (fresh_key(Kind::UserGrants), fresh(""));
    let long = "{x}".repeat(700);
    for member in HOSTILE.into_iter().chain([long.as_str()]) {
        store.add_member(&set, member, LONG).await.unwrap();
    }
    let mut expected = set_of(&HOSTILE);
    expected.insert(long);
    assert_eq!(names(other.as_ref(), &set).await, expected);
    assert_eq!(
        all(other.as_ref(), &set, 1).await.len(),
        expected.len(),
        "one by one they are as many"
    );
    for hostile in HOSTILE {
        assert!(other.remove_member(&set, hostile).await.unwrap(), "{hostile:?}");
    }
    for hostile in HOSTILE {
        for kind in [Kind::UserGrants, Kind::ClientGrants] {
            let key = Key::new(kind, format!("{unique}{hostile}"));
            store.add_member(&key, &key.to_string(), LONG).await.unwrap();
        }
    }
    for hostile in HOSTILE {
        for kind in [Kind::UserGrants, Kind::ClientGrants] {
            let key = Key::new(kind, format!("{unique}{hostile}"));
            let found = names(other.as_ref(), &key).await;
            assert_eq!(found, set_of(&[&key.to_string()]), "{:?}", shortened(key.id()));
        }
    }
}

/// A member is there until its time is over, and not after it; added again, it stays for the longer of its times.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_member_stays_for_the_longer_of_its_times(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let (set, alone, moment) = (
        fresh_key(Kind::ClientGrants),
        fresh_key(Kind::ClientGrants),
        database.moment(),
    );
    let before = database.elapsed();
    for (member, moments) in [("short", 2), ("lengthened", 2), ("kept", 1000), ("long", 1000)] {
        store.add_member(&set, member, moment * moments).await.unwrap();
    }
    store.add_member(&alone, "short", moment * 2).await.unwrap();
    other.add_member(&set, "lengthened", moment * 1000).await.unwrap();
    other.add_member(&set, "kept", moment).await.unwrap();
    let in_time = database.elapsed() < before + moment * 2;
    let after = database.elapsed();
    if in_time {
        let found = names(other.as_ref(), &set).await;
        if database.elapsed() < before + moment * 2 {
            assert_eq!(found, set_of(&["short", "lengthened", "kept", "long"]));
        }
    }
    pass_until(database, after + moment * 2).await;
    assert_eq!(
        names(other.as_ref(), &set).await,
        set_of(&["lengthened", "kept", "long"])
    );
    assert!(
        !store.remove_member(&set, "short").await.unwrap() || !in_time,
        "what is over is no member"
    );
    assert_eq!(store.members(&alone, None, 10).await.unwrap().total, 0);
    for member in all(other.as_ref(), &set, 10).await {
        assert!(member.time_to_live <= moment * 1000, "{member:?}");
        assert!(
            member.time_to_live + database.elapsed() + moment >= before + moment * 1000,
            "{member:?}"
        );
    }
}

/// Pages have at most as many members as were asked for, know how many there are in all, and follow each other in the
/// order in which the members go.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_set_is_read_page_by_page_those_first_that_go_first(database: &dyn Database) {
    let (store, other) = (database.open().await, database.open().await);
    let set = fresh_key(Kind::UserGrants);
    // Each goes a minute after the one before it, and some go at the same time.
    let life = |number: u32| LONG + Duration::from_secs(60) * (number / 3);
    for number in (0..30).rev() {
        let member = format!("{number:02}");
        store.add_member(&set, &member, life(number)).await.unwrap();
    }
    for limit in [1, 7, 30, 1000] {
        let read = all(other.as_ref(), &set, limit).await;
        assert_eq!(read.len(), 30, "by {limit}: each once, since nobody writes");
        let order: Vec<u32> = read
            .iter()
            .map(|member| member.name.parse::<u32>().unwrap() / 3)
            .collect();
        assert!(order.is_sorted(), "by {limit}: {order:?}");
    }
    let first = other.members(&set, None, 7).await.unwrap();
    assert_eq!((first.members.len(), first.total), (7, 30));
    // The page behind a member that was removed meanwhile is found all the same.
    let last = first.members[6].name.clone();
    assert!(store.remove_member(&set, &last).await.unwrap());
    let rest = other.members(&set, first.next.as_ref(), 100).await.unwrap();
    let mut seen: BTreeSet<_> = first
        .members
        .into_iter()
        .chain(rest.members)
        .map(|member| member.name)
        .collect();
    seen.remove(&last);
    assert_eq!(seen.len(), 29);
    for foreign in [
        "",
        " ",
        "x",
        "17",
        "toy 99 a",
        "0.0..0",
        "99999999999999999999999 a",
        "-1 a",
        "\r\n",
        "nan b",
        "1e9 a",
    ] {
        let position = ListPosition(foreign.to_owned());
        let page = other.members(&set, Some(&position), 100).await.unwrap();
        assert_eq!(page.members.len(), 29, "{foreign:?}");
    }
}

/// A set has its bound. At the bound there is room for what stays longer than others, at their cost.
///
/// # Panics
///
/// When it does not hold.
pub async fn a_full_set_makes_room(database: &dyn Database) {
    let handles = handles(database).await;
    let set = fresh_key(Kind::ClientGrants);
    at_once(&handles, |number, store| {
        let set = set.clone();
        async move {
            for member in 0..=MAXIMUM_MEMBERS / MANY {
                store
                    .add_member(&set, &format!("short {number} {member}"), LONG)
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let store = &handles[0];
    assert_eq!(store.members(&set, None, 1).await.unwrap().total, MAXIMUM_MEMBERS);
    store.add_member(&set, "long", LONG * 2).await.unwrap();
    let members = all(handles[1].as_ref(), &set, 1000).await;
    assert_eq!(members.len(), MAXIMUM_MEMBERS);
    assert_eq!(members.last().map(|member| member.name.as_str()), Some("long"));
}

/// Many that add and remove at the same time do not get in each other's way.
///
/// # Panics
///
/// When it does not hold.
pub async fn many_additions_and_removals_at_once_leave_what_was_not_removed(database: &dyn Database) {
    let handles = handles(database).await;
    let set = fresh_key(Kind::UserGrants);
    let removed = at_once(&handles, |number, store| {
        let set = set.clone();
        async move {
            for member in ["stays", "goes"] {
                let member = format!("{member} {number}");
                store.add_member(&set, &member, LONG).await.unwrap();
            }
            store.remove_member(&set, &format!("goes {number}")).await.unwrap()
        }
    });
    assert!(removed.await.into_iter().all(|removed| removed));
    let expected: BTreeSet<_> = (0..MANY).map(|number| format!("stays {number}")).collect();
    assert_eq!(names(handles[1].as_ref(), &set).await, expected);
    let winners = at_once(&handles, |_, store| {
        let set = set.clone();
        async move { store.remove_member(&set, "stays 0").await.unwrap() }
    });
    assert_eq!(winners.await.into_iter().filter(|won| *won).count(), 1);
}

/// A reader that goes from page to page sees everything that stays, also what is given more time meanwhile.
///
/// # Panics
///
/// When it does not hold.
pub async fn what_stays_in_a_set_is_seen_while_others_come_and_go(database: &dyn Database) {
    let handles = handles(database).await;
    let set = fresh_key(Kind::ClientGrants);
    let staying: BTreeSet<_> = (0..40).map(|number| format!("stays {number}")).collect();
    for member in &staying {
        handles[0].add_member(&set, member, LONG).await.unwrap();
    }
    let seen = at_once(&handles, |number, store| {
        let (set, staying) = (set.clone(), staying.clone());
        async move {
            if number % 8 == 0 {
                return Some(all(store.as_ref(), &set, 3).await);
            }
            for round in 0..3_u32 {
                let passing = format!("passes {number} {round}");
                store.add_member(&set, &passing, LONG).await.unwrap();
                let again = staying.iter().nth(number % 40).unwrap();
                store.add_member(&set, again, LONG * (round + 2)).await.unwrap();
                store.remove_member(&set, &passing).await.unwrap();
            }
            None
        }
    });
    for seen in seen.await.into_iter().flatten() {
        let seen: BTreeSet<_> = seen.into_iter().map(|member| member.name).collect();
        let missed: Vec<_> = staying.difference(&seen).collect();
        assert!(missed.is_empty(), "a reader missed {missed:?}");
    }
}
