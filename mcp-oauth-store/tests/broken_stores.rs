//! The contract notices each of the mistakes that a store can make: what passes it has not made them.

#![allow(clippy::unwrap_used, reason = "what does not hold here fails the test")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use mcp_oauth_core::clock::{Clock as _, ManualClock};
use mcp_oauth_core::store::contract::{self, Database};
use mcp_oauth_core::store::{
    Counts, FeedPage, FeedPosition, Kept, Key, KeyPage, Kind, ListPosition, MAXIMUM_MEMBERS, MemberPage, Store,
    StoreError,
};
use mcp_oauth_store::MemoryStore;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    AnInsertionOverwrites,
    AnInsertionLooksAndThenWrites,
    AReplacementLooksAndThenWrites,
    AReplacementCreates,
    AReplacementKeepsTheTimeToLive,
    AReplacementComparesTheBeginning,
    ARemovalSaysYes,
    ARemovalLooksAndThenRemoves,
    NothingExpires,
    EverythingExpiresEarly,
    NothingIsForEver,
    AnAdditionLengthensTheLife,
    AnAdditionReadsAndThenWrites,
    KindsAreMixed,
    CaseIsFolded,
    SpaceIsTrimmed,
    LongIdentifiersAreCut,
    LargeRecordsAreCut,
    RecordsAreText,
    TheFeedIsReversed,
    TheFeedForgetsItsFirst,
    TheFeedSkips,
    TheFeedRepeats,
    AForeignPositionIsTheEnd,
    EveryHandleHasItsOwnFeed,
    TimesToLiveAreMadeUp,
    AMemberIsAddedTwice,
    AMemberGoesSoonerWhenItIsAddedAgain,
    MembersOutliveTheirTime,
    SetsAreMixed,
    ARemovalFromASetSaysYes,
    AdditionsToASetAreLost,
    AFullSetRefuses,
    AFullSetGrows,
    MembersAreCountedOffByPage,
    AMemberPageIsTheLast,
    APageSkipsAMember,
    AListEndsAfterAPage,
    AListSkips,
    AListHasOtherKinds,
    AListHasEscapedIdentifiers,
    AListPositionMustBeOurs,
    SetsAreNotListed,
    OnlyClientsAreCounted,
    NobodyIsHome,
}

use Mistake as M;

#[derive(Clone, Debug)]
struct Broken {
    mistake: Mistake,
    store: MemoryStore,
    /// For feeds that are not shared.
    own: MemoryStore,
}

const LONG: Duration = Duration::from_secs(1_000_000);

impl Broken {
    fn does(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    fn key(&self, key: &Key) -> Key {
        let kind = if self.does(M::KindsAreMixed) {
            Kind::Grant
        } else {
            key.kind()
        };
        let id = match self.mistake {
            M::CaseIsFolded => key.id().to_lowercase(),
            M::SpaceIsTrimmed => key.id().trim().to_owned(),
            M::LongIdentifiersAreCut => key.id().chars().take(60_000).collect(),
            _ => key.id().to_owned(),
        };
        Key::new(kind, id)
    }

    fn set(&self, set: &Key) -> Key {
        if self.does(M::SetsAreMixed) {
            return Key::new(Kind::UserGrants, set.id());
        }
        set.clone()
    }

    fn record(&self, record: Bytes) -> Bytes {
        match self.mistake {
            M::LargeRecordsAreCut => record.slice(..record.len().min(65_535)),
            M::RecordsAreText => String::from_utf8_lossy(&record).into_owned().into(),
            _ => record,
        }
    }

    fn life(&self, time_to_live: Option<Duration>) -> Option<Duration> {
        match (self.mistake, time_to_live) {
            (M::NothingExpires, _) => None,
            (M::EverythingExpiresEarly, Some(time_to_live)) => Some(time_to_live / 3),
            (M::NothingIsForEver, None) => Some(Duration::from_secs(3)),
            (_, time_to_live) => time_to_live,
        }
    }

    fn feed(&self) -> &MemoryStore {
        if self.does(M::EveryHandleHasItsOwnFeed) {
            &self.own
        } else {
            &self.store
        }
    }
}

#[async_trait]
impl Store for Broken {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.store.get(&self.key(key)).await
    }

    async fn insert(&self, key: &Key, record: Bytes, time_to_live: Option<Duration>) -> Result<bool, StoreError> {
        let (key, record, life) = (self.key(key), self.record(record), self.life(time_to_live));
        if self.does(M::AnInsertionOverwrites) {
            self.store.remove(&key).await?;
        }
        if self.does(M::AnInsertionLooksAndThenWrites) {
            if self.store.get(&key).await?.is_some() {
                return Ok(false);
            }
            tokio::task::yield_now().await;
            self.store.remove(&key).await?;
            self.store.insert(&key, record, life).await?;
            return Ok(true);
        }
        self.store.insert(&key, record, life).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: &[u8],
        record: Bytes,
        time_to_live: Option<Duration>,
    ) -> Result<bool, StoreError> {
        let (key, record, life) = (self.key(key), self.record(record), self.life(time_to_live));
        let found = self.store.get(&key).await?;
        match self.mistake {
            M::AReplacementCreates if found.is_none() => self.store.insert(&key, record, life).await,
            M::AReplacementKeepsTheTimeToLive => {
                self.store
                    .compare_and_set(&key, expected, record, Some(Duration::from_secs(2)))
                    .await
            }
            M::AReplacementComparesTheBeginning => match found {
                Some(found) if found.starts_with(expected) => {
                    self.store.compare_and_set(&key, &found, record, life).await
                }
                _ => Ok(false),
            },
            M::AReplacementLooksAndThenWrites => {
                if found.is_none_or(|found| found != expected) {
                    return Ok(false);
                }
                tokio::task::yield_now().await;
                let Some(now) = self.store.get(&key).await? else {
                    return Ok(false);
                };
                self.store.compare_and_set(&key, &now, record, life).await?;
                Ok(true)
            }
            _ => self.store.compare_and_set(&key, expected, record, life).await,
        }
    }

    async fn remove(&self, key: &Key) -> Result<bool, StoreError> {
        let key = self.key(key);
        if self.does(M::ARemovalLooksAndThenRemoves) {
            let found = self.store.get(&key).await?.is_some();
            tokio::task::yield_now().await;
            self.store.remove(&key).await?;
            return Ok(found);
        }
        Ok(self.store.remove(&key).await? || self.does(M::ARemovalSaysYes))
    }

    async fn increment(&self, key: &Key, time_to_live: Duration) -> Result<u64, StoreError> {
        let key = self.key(key);
        let life = self.life(Some(time_to_live));
        let Some(time_to_live) = life else {
            return self.store.increment(&key, LONG).await;
        };
        let (reads, lengthens) = (M::AnAdditionReadsAndThenWrites, M::AnAdditionLengthensTheLife);
        let found = self
            .store
            .get(&key)
            .await?
            .filter(|_| self.does(reads) || self.does(lengthens));
        let Some(found) = found else {
            return self.store.increment(&key, time_to_live).await;
        };
        let sum = std::str::from_utf8(&found).unwrap().parse::<u64>().unwrap() + 1;
        tokio::task::yield_now().await;
        let now = self.store.get(&key).await?.unwrap_or(found);
        self.store
            .compare_and_set(&key, &now, sum.to_string().into(), life)
            .await?;
        Ok(sum)
    }

    async fn publish_ended(&self, entry: &str, time_to_live: Duration) -> Result<(), StoreError> {
        self.feed().publish_ended(entry, time_to_live).await
    }

    async fn read_ended(&self, position: Option<&FeedPosition>) -> Result<FeedPage, StoreError> {
        let mut page = self.feed().read_ended(position).await?;
        match self.mistake {
            M::TheFeedIsReversed => page.entries.reverse(),
            M::TheFeedForgetsItsFirst => page.entries.drain(..page.entries.len().min(1)).for_each(drop),
            M::TheFeedSkips if page.entries.len() > 100 => page.entries.truncate(100),
            M::TheFeedRepeats => return self.store.read_ended(None).await,
            M::AForeignPositionIsTheEnd if position.is_some_and(|position| position.0.len() < 18) => {
                page.entries.clear();
            }
            _ => {}
        }
        Ok(page)
    }

    async fn inspect(&self, key: &Key) -> Result<Option<Kept>, StoreError> {
        let kept = self.store.inspect(&self.key(key)).await?;
        Ok(kept.map(|kept| match self.mistake {
            M::TimesToLiveAreMadeUp => Kept::new(kept.record, Some(LONG)),
            _ => kept,
        }))
    }

    async fn add_member(&self, set: &Key, member: &str, time_to_live: Duration) -> Result<(), StoreError> {
        let set = self.set(set);
        match self.mistake {
            M::AMemberGoesSoonerWhenItIsAddedAgain => {
                self.store.remove_member(&set, member).await?;
            }
            M::AdditionsToASetAreLost if time_to_live > Duration::from_secs(3600) => return Ok(()),
            M::AFullSetRefuses if self.store.members(&set, None, 1).await?.total == MAXIMUM_MEMBERS => {
                return Err(StoreError::Full(set.kind()));
            }
            M::AMemberIsAddedTwice => {
                let again = format!("{member} again");
                self.store.add_member(&set, &again, time_to_live).await?;
            }
            _ => {}
        }
        let life = if self.does(M::MembersOutliveTheirTime) {
            LONG
        } else {
            time_to_live
        };
        self.store.add_member(&set, member, life).await
    }

    async fn remove_member(&self, set: &Key, member: &str) -> Result<bool, StoreError> {
        let removed = self.store.remove_member(&self.set(set), member).await?;
        Ok(removed || self.does(M::ARemovalFromASetSaysYes))
    }

    async fn members(
        &self,
        set: &Key,
        position: Option<&ListPosition>,
        limit: usize,
    ) -> Result<MemberPage, StoreError> {
        let mut page = self.store.members(&self.set(set), position, limit).await?;
        match self.mistake {
            M::MembersAreCountedOffByPage => page.total = page.members.len(),
            M::AFullSetGrows if page.total == MAXIMUM_MEMBERS => page.total += 1,
            M::AMemberPageIsTheLast => page.next = None,
            M::APageSkipsAMember if position.is_some() => page.members.drain(..1).for_each(drop),
            _ => {}
        }
        Ok(page)
    }

    async fn list(&self, kind: Kind, position: Option<&ListPosition>, limit: usize) -> Result<KeyPage, StoreError> {
        let foreign = position.is_some_and(|position| !position.0.starts_with("after "));
        if (foreign && self.does(M::AListPositionMustBeOurs)) || (kind.is_set() && self.does(M::SetsAreNotListed)) {
            return Ok(KeyPage::default());
        }
        let mut page = self.store.list(kind, position, limit).await?;
        match self.mistake {
            M::AListEndsAfterAPage => page.next = None,
            M::AListSkips if position.is_some() => page.keys.drain(..1).for_each(drop),
            M::AListHasOtherKinds => page.keys.push(Key::new(Kind::Keys, "of another kind")),
            M::AListHasEscapedIdentifiers => {
                let escaped = |key: &Key| Key::new(key.kind(), key.id().escape_default().to_string());
                page.keys = page.keys.iter().map(escaped).collect();
            }
            _ => {}
        }
        Ok(page)
    }

    async fn count(&self) -> Result<Counts, StoreError> {
        let all = Store::count(&self.store).await?;
        if !self.does(M::OnlyClientsAreCounted) {
            return Ok(all);
        }
        let mut counts = Counts::default();
        counts.add(Kind::Client, all.of(Kind::Client));
        Ok(counts)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        match self.mistake {
            M::NobodyIsHome => Err(StoreError::Unavailable("nobody is home".into())),
            _ => Ok(()),
        }
    }
}

struct BrokenDatabase {
    mistake: Mistake,
    store: MemoryStore,
    clock: ManualClock,
}

impl BrokenDatabase {
    fn with(mistake: Mistake) -> Self {
        let clock = ManualClock::default();
        Self {
            mistake,
            store: MemoryStore::default().with_clock(clock.clone()),
            clock,
        }
    }
}

#[async_trait]
impl Database for BrokenDatabase {
    async fn open(&self) -> Arc<dyn Store> {
        Arc::new(Broken {
            mistake: self.mistake,
            store: self.store.clone(),
            own: MemoryStore::default().with_clock(self.clock.clone()),
        })
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(ManualClock::default().now())
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// Each mistake with the promises that it breaks.
macro_rules! notices {
    ($($mistake:ident: $($promise:ident),+;)+) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn the_contract_notices_each_of_the_mistakes_that_a_store_can_make() {
            $($(
                // Those that look and then write get away with it when nobody happens to come between.
                let mut noticed = false;
                for _ in 0..10 {
                    let promise = tokio::spawn(async {
                        contract::$promise(&BrokenDatabase::with(M::$mistake)).await;
                    });
                    noticed = noticed || promise.await.is_err();
                    if noticed {
                        break;
                    }
                }
                assert!(noticed, "{} does not notice {:?}", stringify!($promise), M::$mistake);
            )+)+
        }
    };
}

notices! {
    AnInsertionOverwrites: a_record_is_written_once, of_many_inserts_at_once_one_wins;
    AnInsertionLooksAndThenWrites: of_many_inserts_at_once_one_wins;
    AReplacementLooksAndThenWrites: of_many_replacements_at_once_one_wins, chains_of_replacements_lose_none,
        a_code_pays_once_over_all_servers, deciding_twice_is_deciding_once,
        parallel_refreshes_over_all_servers_give_one_successor;
    AReplacementCreates: a_record_is_replaced_only_while_it_is_as_expected, removing_twice_is_removing_once;
    AReplacementKeepsTheTimeToLive: a_replacement_brings_its_own_time_to_live, a_record_for_ever_stays;
    AReplacementComparesTheBeginning: a_record_is_replaced_only_while_it_is_as_expected;
    ARemovalSaysYes: removing_twice_is_removing_once, of_many_removals_at_once_one_wins;
    ARemovalLooksAndThenRemoves: of_many_removals_at_once_one_wins;
    NothingExpires: every_kind_of_record_ends_with_its_time, what_is_over_is_out_of_the_way,
        adding_does_not_lengthen_the_life_of_a_number;
    EverythingExpiresEarly: every_kind_of_record_ends_with_its_time;
    NothingIsForEver: a_record_for_ever_stays;
    AnAdditionLengthensTheLife: adding_does_not_lengthen_the_life_of_a_number;
    AnAdditionReadsAndThenWrites: many_additions_at_once_all_count;
    KindsAreMixed: kinds_are_kept_apart;
    CaseIsFolded: identifiers_may_be_anything;
    SpaceIsTrimmed: identifiers_may_be_anything;
    LongIdentifiersAreCut: identifiers_may_be_anything;
    LargeRecordsAreCut: records_may_be_empty_or_large;
    RecordsAreText: records_may_be_empty_or_large;
    TheFeedIsReversed: the_feed_keeps_its_order;
    TheFeedForgetsItsFirst: the_feed_keeps_its_order, an_entry_of_the_feed_lives_for_its_time;
    TheFeedSkips: a_long_feed_is_read_to_its_end;
    TheFeedRepeats: the_feed_keeps_its_order;
    AForeignPositionIsTheEnd: a_position_of_another_store_begins_at_the_beginning;
    EveryHandleHasItsOwnFeed: the_feed_keeps_its_order, a_reader_misses_nothing_that_is_published_meanwhile,
        a_revocation_reaches_every_server_within_the_bound, deleting_a_client_ends_what_it_had_at_every_server,
        a_late_replay_ends_the_grant_at_every_server;
    TimesToLiveAreMadeUp: a_record_is_inspected_with_the_time_that_it_has;
    AMemberIsAddedTwice: what_was_added_is_a_member, members_may_be_anything_and_sets_are_kept_apart;
    AMemberGoesSoonerWhenItIsAddedAgain: a_member_stays_for_the_longer_of_its_times;
    MembersOutliveTheirTime: a_member_stays_for_the_longer_of_its_times, what_is_over_is_on_no_list;
    SetsAreMixed: members_may_be_anything_and_sets_are_kept_apart;
    ARemovalFromASetSaysYes: what_was_added_is_a_member,
        many_additions_and_removals_at_once_leave_what_was_not_removed;
    AdditionsToASetAreLost: a_full_set_makes_room;
    AFullSetRefuses: a_full_set_makes_room;
    AFullSetGrows: a_full_set_makes_room;
    MembersAreCountedOffByPage: a_set_is_read_page_by_page_those_first_that_go_first;
    AMemberPageIsTheLast: a_set_is_read_page_by_page_those_first_that_go_first,
        what_stays_in_a_set_is_seen_while_others_come_and_go;
    APageSkipsAMember: a_set_is_read_page_by_page_those_first_that_go_first,
        what_stays_in_a_set_is_seen_while_others_come_and_go;
    AListEndsAfterAPage: every_record_of_a_kind_is_listed_and_no_other, what_stays_is_listed_while_others_write;
    AListSkips: every_record_of_a_kind_is_listed_and_no_other, what_stays_is_listed_while_others_write;
    AListHasOtherKinds: every_record_of_a_kind_is_listed_and_no_other;
    AListHasEscapedIdentifiers: every_record_of_a_kind_is_listed_and_no_other;
    AListPositionMustBeOurs: any_position_leads_through_the_whole_list;
    SetsAreNotListed: every_record_of_a_kind_is_listed_and_no_other;
    OnlyClientsAreCounted: records_are_counted_by_kind;
    NobodyIsHome: the_store_answers;
}
