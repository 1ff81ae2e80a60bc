//! The keys that all nodes share: which of them signs when.
//!
//! Each key has the time from which it signs; it does so until the next one's time has come. So the change from one
//! key to the next needs no write and happens everywhere at once. Writes only add a key, or drop one.

use std::time::Duration;

use super::algorithm::{Algorithm, KeyError};
use super::pair::SigningKey;
use super::public::PublicKeys;
use super::rotation::{KeyRotation, MAXIMUM_KEYS, RETIREMENT_MARGIN};
use crate::clock::UnixTime;

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// It is published and will sign.
    Announced {
        /// From then on.
        signs_from: UnixTime,
    },
    /// It signs.
    Signing {
        /// Since then.
        since: UnixTime,
    },
    /// It does not sign any more; its tokens are still good.
    Retired {
        /// It is published until then.
        published_until: UnixTime,
    },
}

/// What an operator wants to know of a key in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyStatus {
    /// Its name.
    pub kid: String,
    /// What it is for.
    pub algorithm: Algorithm,
    /// When it was made.
    pub created_at: UnixTime,
    /// Where it is in its life.
    pub state: KeyState,
}

/// A key with its times.
#[derive(Clone, Debug)]
pub(super) struct RingKey {
    pub(super) key: SigningKey,
    pub(super) created_at: UnixTime,
    pub(super) signs_from: UnixTime,
    /// The longest life of a token that it may have signed.
    pub(super) token_lifetime: Duration,
}

/// The keys of a server; never none, in the order in which they sign.
#[derive(Clone, Debug)]
pub(crate) struct Ring {
    pub(super) keys: Vec<RingKey>,
}

/// What new keys are made for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyPlan {
    pub(crate) rotation: KeyRotation,
    pub(crate) algorithm: Algorithm,
    /// The life of the tokens that this process issues.
    pub(crate) token_lifetime: Duration,
}

impl KeyPlan {
    fn key(&self, created_at: UnixTime, signs_from: UnixTime) -> Result<RingKey, KeyError> {
        Ok(RingKey {
            key: SigningKey::generate(self.algorithm)?,
            created_at,
            signs_from,
            token_lifetime: self.token_lifetime,
        })
    }
}

impl Ring {
    /// The first key, which has to sign at once.
    pub(crate) fn begin(plan: &KeyPlan, now: UnixTime) -> Result<Self, KeyError> {
        Ok(Self {
            keys: vec![plan.key(now, now)?],
        })
    }

    /// The position of the key that signs. Where the clock is so far behind that none has begun, the first one does.
    fn position(&self, now: UnixTime) -> usize {
        self.keys.iter().rposition(|key| key.signs_from <= now).unwrap_or(0)
    }

    /// The key that signs.
    pub(crate) fn signing(&self, now: UnixTime) -> &SigningKey {
        &self.keys[self.position(now)].key
    }

    /// The name of a key that `before` does not have.
    pub(crate) fn made_since(&self, before: &Self) -> Option<&str> {
        let had = |kid: &str| before.keys.iter().any(|key| key.key.kid() == kid);
        self.keys.iter().map(|key| key.key.kid()).find(|kid| !had(kid))
    }

    /// The keys that do not sign yet.
    fn announced(&self, now: UnixTime) -> &[RingKey] {
        &self.keys[self.position(now) + 1..]
    }

    /// Until when a key is published; `None` as long as no other one follows it.
    fn published_until(&self, position: usize) -> Option<UnixTime> {
        let successor = self.keys.get(position + 1)?;
        Some(successor.signs_from + self.keys[position].token_lifetime + RETIREMENT_MARGIN)
    }

    /// What is in the JWKS.
    pub(crate) fn published(&self, now: UnixTime) -> PublicKeys {
        let mut public = PublicKeys::default();
        for (position, key) in self.keys.iter().enumerate() {
            if self.published_until(position).is_none_or(|until| now < until) {
                public.add(key.key.public().clone());
            }
        }
        public
    }

    /// When what is published changes next, if nobody writes before.
    pub(crate) fn changes_at(&self, now: UnixTime) -> Option<UnixTime> {
        let ends = (0..self.keys.len()).filter_map(|position| self.published_until(position));
        ends.filter(|until| *until > now).min()
    }

    /// All keys, in the order in which they sign.
    pub(crate) fn status(&self, now: UnixTime) -> Vec<KeyStatus> {
        let signing = self.position(now);
        let state = |position: usize, key: &RingKey| match self.published_until(position) {
            Some(published_until) if position < signing => KeyState::Retired { published_until },
            _ if position == signing => KeyState::Signing { since: key.signs_from },
            _ => KeyState::Announced {
                signs_from: key.signs_from,
            },
        };
        let keys = self.keys.iter().enumerate();
        keys.map(|(position, key)| KeyStatus {
            kid: key.key.kid().to_owned(),
            algorithm: key.key.algorithm(),
            created_at: key.created_at,
            state: state(position, key),
        })
        .collect()
    }

    /// What the schedule asks to be written now, if anything: the next key, what has expired, or that tokens live
    /// longer than before.
    pub(crate) fn upkeep(&self, plan: &KeyPlan, now: UnixTime) -> Result<Option<Self>, KeyError> {
        let mut next = self.without_expired(now);
        let mut changed = next.keys.len() < self.keys.len();
        let signing = next.position(now);
        for key in &mut next.keys[signing..] {
            if key.token_lifetime < plan.token_lifetime {
                key.token_lifetime = plan.token_lifetime;
                changed = true;
            }
        }
        if let Some(every) = plan.rotation.every {
            let planned = next.keys[signing].signs_from + every;
            let earliest = now + plan.rotation.announce_before;
            if next.announced(now).is_empty() && earliest >= planned && next.keys.len() < MAXIMUM_KEYS {
                next.keys.push(plan.key(now, earliest.max(planned))?);
                changed = true;
            }
        }
        Ok(changed.then_some(next))
    }

    /// The ring with a next key that signs as soon as it has been announced for long enough; `None` if one is
    /// announced already, or if there is no room.
    pub(crate) fn rotated(&self, plan: &KeyPlan, now: UnixTime) -> Result<Option<Self>, KeyError> {
        if self.announces(now) {
            return Ok(None);
        }
        Ok(self.with_next(SigningKey::generate(plan.algorithm)?, plan, now))
    }

    /// Whether there is a key that does not sign yet.
    pub(crate) fn announces(&self, now: UnixTime) -> bool {
        !self.announced(now).is_empty()
    }

    /// The ring with a key from elsewhere as the next one, which signs as soon as it has been announced for long enough;
    /// `None` if one is announced already, or if there is no room.
    pub(crate) fn with_next(&self, key: SigningKey, plan: &KeyPlan, now: UnixTime) -> Option<Self> {
        let mut next = self.without_expired(now);
        if next.announces(now) || next.keys.len() >= MAXIMUM_KEYS {
            return None;
        }
        next.keys.push(RingKey {
            key,
            created_at: now,
            signs_from: now + plan.rotation.announce_before,
            token_lifetime: plan.token_lifetime,
        });
        Some(next)
    }

    /// The ring without one of its keys; `None` if it has no such key. If that one signed, the announced one takes
    /// its place at once, or else a new one.
    pub(crate) fn withdrawn(&self, kid: &str, plan: &KeyPlan, now: UnixTime) -> Result<Option<Self>, KeyError> {
        let Some(position) = self.keys.iter().position(|key| key.key.kid() == kid) else {
            return Ok(None);
        };
        let signing = self.position(now);
        let mut next = self.clone();
        next.keys.remove(position);
        if position == signing {
            match next.keys.get_mut(position) {
                Some(announced) => announced.signs_from = now,
                None => next.keys.push(plan.key(now, now)?),
            }
        }
        Ok(Some(next))
    }

    fn without_expired(&self, now: UnixTime) -> Self {
        let keys = self.keys.iter().enumerate();
        let published = keys.filter(|(position, _)| self.published_until(*position).is_none_or(|until| now < until));
        Self {
            keys: published.map(|(_, key)| key.clone()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3600;
    const DAY: u64 = 24 * HOUR;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_seconds(1_790_000_000 + seconds)
    }

    fn plan() -> KeyPlan {
        KeyPlan {
            rotation: KeyRotation::default(),
            algorithm: Algorithm::EdDsa,
            token_lifetime: Duration::from_secs(HOUR),
        }
    }

    fn kids(ring: &Ring, now: UnixTime) -> Vec<String> {
        ring.published(now).keys.into_iter().map(|key| key.kid).collect()
    }

    /// A ring whose second key is announced at the end of the first one's 90 days.
    fn with_two() -> (Ring, String, String) {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let ring = ring.upkeep(&plan(), at(90 * DAY - HOUR)).unwrap().unwrap();
        let (first, second) = (ring.keys[0].key.kid().to_owned(), ring.keys[1].key.kid().to_owned());
        (ring, first, second)
    }

    #[test]
    fn a_key_is_announced_an_hour_before_it_signs_and_published_until_its_last_token_has_expired() {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        assert!(ring.upkeep(&plan(), at(90 * DAY - HOUR - 1)).unwrap().is_none());
        let (ring, first, second) = with_two();
        assert_eq!(ring.signing(at(90 * DAY - 1)).kid(), first);
        assert_eq!(kids(&ring, at(90 * DAY - HOUR)), [first.as_str(), &second]);
        assert_eq!(ring.signing(at(90 * DAY)).kid(), second);
        let last_token_and_margin = 90 * DAY + HOUR + 300;
        assert_eq!(kids(&ring, at(last_token_and_margin - 1)), [first.as_str(), &second]);
        assert_eq!(ring.changes_at(at(0)), Some(at(last_token_and_margin)));
        assert_eq!(kids(&ring, at(last_token_and_margin)), [second]);
        assert!(ring.upkeep(&plan(), at(last_token_and_margin - 1)).unwrap().is_none());
        let ring = ring.upkeep(&plan(), at(last_token_and_margin)).unwrap().unwrap();
        assert_eq!(ring.keys.len(), 1);
    }

    #[test]
    fn however_late_somebody_comes_the_next_key_is_announced_for_an_hour() {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let ring = ring.upkeep(&plan(), at(300 * DAY)).unwrap().unwrap();
        let [_, next] = ring.keys.as_slice() else {
            panic!("two keys")
        };
        assert_eq!(next.signs_from, at(300 * DAY + HOUR));
    }

    #[test]
    fn a_command_given_twice_rotates_once() {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let ring = ring.rotated(&plan(), at(5)).unwrap().unwrap();
        assert!(ring.rotated(&plan(), at(6)).unwrap().is_none());
        assert_eq!(ring.keys[1].signs_from, at(5 + HOUR));
        assert!(ring.rotated(&plan(), at(5 + HOUR)).unwrap().is_some());
    }

    #[test]
    fn a_key_that_was_made_since_is_named() {
        let (ring, first, second) = with_two();
        let before = Ring::begin(&plan(), at(0)).unwrap();
        assert_eq!(ring.made_since(&ring), None);
        assert_eq!(ring.made_since(&before), Some(first.as_str()), "the first that is new");
        let one = ring.withdrawn(&second, &plan(), at(1)).unwrap().unwrap();
        assert_eq!(ring.made_since(&one), Some(second.as_str()));
        assert_eq!(one.made_since(&ring), None, "what has gone was not made");
    }

    #[test]
    fn the_last_place_in_a_ring_is_taken_and_none_beyond_it() {
        let mut plan = plan();
        plan.token_lifetime = Duration::from_secs(1000 * DAY);
        let mut ring = Ring::begin(&plan, at(0)).unwrap();
        for day in 1..(MAXIMUM_KEYS as u64 - 1) {
            ring = ring.rotated(&plan, at(day * DAY)).unwrap().unwrap();
        }
        assert_eq!(ring.keys.len(), MAXIMUM_KEYS - 1);
        let full = ring.upkeep(&plan, at(300 * DAY)).unwrap().unwrap();
        assert_eq!(full.keys.len(), MAXIMUM_KEYS);
        assert!(full.rotated(&plan, at(600 * DAY)).unwrap().is_none());
    }

    #[test]
    fn without_a_schedule_nothing_is_exchanged_by_itself() {
        let mut plan = plan();
        plan.rotation.every = None;
        let ring = Ring::begin(&plan, at(0)).unwrap();
        assert!(ring.upkeep(&plan, at(10_000 * DAY)).unwrap().is_none());
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let mut plan = plan();
        plan.token_lifetime = Duration::from_secs(1000 * DAY);
        let mut ring = Ring::begin(&plan, at(0)).unwrap();
        for day in 1..100 {
            ring = ring.rotated(&plan, at(day * DAY)).unwrap().unwrap_or(ring);
        }
        assert_eq!(ring.keys.len(), MAXIMUM_KEYS);
        let due = ring.upkeep(&plan, at(300 * DAY)).unwrap();
        assert!(due.is_none(), "the schedule makes no room either");
    }

    #[test]
    fn when_tokens_live_longer_their_key_is_published_longer() {
        let (ring, first, _) = with_two();
        let mut longer = plan();
        longer.token_lifetime = Duration::from_secs(DAY);
        let ring = ring.upkeep(&longer, at(90 * DAY - 1)).unwrap().unwrap();
        assert_eq!(ring.changes_at(at(91 * DAY)), Some(at(91 * DAY + 300)));
        assert_eq!(
            ring.changes_at(at(91 * DAY + 300)),
            None,
            "what has changed does not change again"
        );
        assert!(kids(&ring, at(91 * DAY + 299)).contains(&first));
        assert!(!kids(&ring, at(91 * DAY + 300)).contains(&first));
        assert!(
            ring.upkeep(&plan(), at(90 * DAY - 1)).unwrap().is_none(),
            "a process whose tokens live shorter takes nothing back"
        );
    }

    #[test]
    fn when_the_signing_key_is_withdrawn_the_announced_one_takes_over_at_once() {
        let (ring, first, second) = with_two();
        let now = at(90 * DAY - 10);
        let ring = ring.withdrawn(&first, &plan(), now).unwrap().unwrap();
        assert_eq!(ring.signing(now).kid(), second);
        assert_eq!(kids(&ring, now), [second]);
    }

    #[test]
    fn when_the_only_key_is_withdrawn_a_new_one_takes_over_at_once() {
        let ring = Ring::begin(&plan(), at(0)).unwrap();
        let kid = ring.signing(at(0)).kid().to_owned();
        let next = ring.withdrawn(&kid, &plan(), at(7)).unwrap().unwrap();
        assert_ne!(next.signing(at(7)).kid(), kid);
        assert_eq!(kids(&next, at(7)).len(), 1);
        assert!(next.withdrawn(&kid, &plan(), at(7)).unwrap().is_none());
    }

    #[test]
    fn withdrawing_a_key_that_does_not_sign_leaves_the_one_that_does() {
        let (ring, first, second) = with_two();
        let before = at(90 * DAY - 10);
        let without_next = ring.withdrawn(&second, &plan(), before).unwrap().unwrap();
        assert_eq!(without_next.signing(before).kid(), first);
        let after = at(90 * DAY + 10);
        let without_retired = ring.withdrawn(&first, &plan(), after).unwrap().unwrap();
        assert_eq!(without_retired.signing(after).kid(), second);
        assert_eq!(without_retired.keys[0].signs_from, at(90 * DAY));
    }

    #[test]
    fn with_a_clock_that_is_behind_there_is_a_key_that_signs_all_the_same() {
        let ring = Ring::begin(&plan(), at(100)).unwrap();
        assert_eq!(ring.signing(at(0)).kid(), ring.signing(at(100)).kid());
    }

    #[test]
    fn an_operator_sees_where_each_key_is_in_its_life() {
        let (ring, ..) = with_two();
        let states = |now| ring.status(now).into_iter().map(|key| key.state).collect::<Vec<_>>();
        let since = KeyState::Signing { since: at(0) };
        let signs_from = at(90 * DAY);
        assert_eq!(states(at(90 * DAY - 1)), [since, KeyState::Announced { signs_from }]);
        let published_until = at(90 * DAY + HOUR + 300);
        let retired = KeyState::Retired { published_until };
        assert_eq!(states(at(90 * DAY)), [retired, KeyState::Signing { since: signs_from }]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Look,
        Rotate,
        Withdraw(prop::sample::Index),
        Sign,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1..2 * HOUR).prop_map(Step::Wait),
            1 => (1..60 * DAY).prop_map(Step::Wait),
            3 => Just(Step::Look),
            1 => Just(Step::Rotate),
            1 => any::<prop::sample::Index>().prop_map(Step::Withdraw),
            4 => Just(Step::Sign),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever is done in whatever order: a key signs only after everybody could know it, unless another one was
        /// withdrawn; and what it signs is good until it expires, unless its key was withdrawn.
        #[test]
        fn no_order_of_events_makes_a_good_token_bad(steps in proptest::collection::vec(step(), 0..80)) {
            let mut now = 0;
            let mut ring = Ring::begin(&plan(), at(now)).unwrap();
            let mut known_since: std::collections::HashMap<String, u64> = [(ring.signing(at(0)).kid().to_owned(), 0)].into();
            let mut may_sign_at_once: std::collections::HashSet<String> = [ring.signing(at(0)).kid().to_owned()].into();
            let mut tokens: Vec<(String, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Wait(seconds) => now += seconds,
                    Step::Look => ring = ring.upkeep(&plan(), at(now)).unwrap().unwrap_or(ring),
                    Step::Rotate => ring = ring.rotated(&plan(), at(now)).unwrap().unwrap_or(ring),
                    Step::Withdraw(which) => {
                        let kid = ring.keys[which.index(ring.keys.len())].key.kid().to_owned();
                        let signed = ring.signing(at(now)).kid() == kid;
                        ring = ring.withdrawn(&kid, &plan(), at(now)).unwrap().unwrap();
                        tokens.retain(|(signed_with, _)| *signed_with != kid);
                        if signed {
                            may_sign_at_once.insert(ring.signing(at(now)).kid().to_owned());
                        }
                        prop_assert!(!kids(&ring, at(now)).contains(&kid));
                    }
                    Step::Sign => {
                        let kid = ring.signing(at(now)).kid().to_owned();
                        prop_assert!(may_sign_at_once.contains(&kid) || now - known_since[&kid] >= HOUR);
                        tokens.push((kid, now + HOUR));
                    }
                }
                let public = kids(&ring, at(now));
                for kid in &public {
                    known_since.entry(kid.clone()).or_insert(now);
                }
                prop_assert!(public.len() <= MAXIMUM_KEYS);
                prop_assert!(tokens.iter().all(|(kid, expires)| *expires <= now || public.contains(kid)));
                let signing = ring.status(at(now)).iter().filter(|key| matches!(key.state, KeyState::Signing { .. })).count();
                prop_assert_eq!(signing, 1);
            }
        }
    }
}
