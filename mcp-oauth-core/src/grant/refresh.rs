//! The refresh tokens of a grant: a chain in which each use brings forth the next (OAuth 2.1 §4.3).
//!
//! A token is `<grant>.<generation, secret and tag in base64url>`. The secret decides whether a token is good; the
//! grant keeps the digest of the current one. The tag, made with a key of the grant, tells a token that this grant
//! once issued from one that somebody made up: only the former can end the grant, so the identifier of a grant,
//! which every access token shows, is of no use to anybody who wants to do harm. The tag alone gets nobody a token.
//!
//! When a token is used, its successor is kept sealed under a key that follows from the used token. Whoever presents
//! that token again within the window gets the same successor; whoever reads the store cannot open it.

use std::str::FromStr;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{EndReason, Grant, GrantId, InvalidGrantId, Transition};
use crate::client::ClientId;
use crate::clock::UnixTime;
use crate::randomness::{Randomness, random_bytes};
use crate::secret::{MarkingKey, Secret, SecretDigest};

/// Of this many rotations the times are remembered, to tell a straggler from a thief.
const REMEMBERED_ROTATIONS: usize = 8;

const GENERATION: usize = 4;
const SECRET: usize = 32;

/// A refresh token as the client gets it.
#[derive(Clone, Debug)]
pub struct RefreshToken {
    grant: GrantId,
    generation: u32,
    secret: Secret,
    tag: String,
}

impl RefreshToken {
    fn new(grant: &GrantId, generation: u32, secret: Secret, key: &MarkingKey) -> Self {
        let tag = tag(key, grant, generation, &secret);
        Self {
            grant: grant.clone(),
            generation,
            secret,
            tag,
        }
    }

    /// The grant that the token belongs to.
    #[must_use]
    pub fn grant(&self) -> &GrantId {
        &self.grant
    }

    /// The written form, for the client.
    #[must_use]
    pub fn expose(&self) -> Secret {
        let generation = URL_SAFE_NO_PAD.encode(self.generation.to_be_bytes());
        Secret::from(format!(
            "{}.{generation}{}{}",
            self.grant,
            self.secret.expose(),
            self.tag
        ))
    }
}

fn tag(key: &MarkingKey, grant: &GrantId, generation: u32, secret: &Secret) -> String {
    key.mark(&[
        "refresh token",
        grant.as_str(),
        &generation.to_string(),
        secret.expose(),
    ])
}

impl FromStr for RefreshToken {
    type Err = InvalidGrantId;

    fn from_str(text: &str) -> Result<Self, InvalidGrantId> {
        // Each part is encoded by itself: 4 bytes in 6 characters, 32 in 43, 16 in 22.
        let (grant, rest) = text.split_once('.').ok_or(InvalidGrantId)?;
        if rest.len() != 6 + 43 + 22 || !rest.is_ascii() {
            return Err(InvalidGrantId);
        }
        let generation = URL_SAFE_NO_PAD.decode(&rest[..6]).map_err(|_| InvalidGrantId)?;
        let generation: [u8; GENERATION] = generation.try_into().map_err(|_| InvalidGrantId)?;
        Ok(Self {
            grant: grant.parse()?,
            generation: u32::from_be_bytes(generation),
            secret: Secret::from(&rest[6..49]),
            tag: rest[49..].to_owned(),
        })
    }
}

/// Why a refresh token gets nothing. To the client all of these are `invalid_grant`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefreshRefused {
    /// This grant never issued it.
    #[error("the refresh token is unknown")]
    Unknown,
    /// It was issued to another client.
    #[error("the refresh token was issued to another client")]
    OtherClient,
    /// It is newer than anything that is stored of the grant: the store was restored from a backup, or has lost a write.
    #[error("the refresh token is newer than what is known here")]
    Ahead,
    /// It was replaced so recently that its use may be a straggler's: refused, and nothing else happens.
    #[error("the refresh token was replaced, use the newest one")]
    Superseded,
}

/// The chain, as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RefreshChain {
    /// Makes tags. Readable at rest, which is fine: a tag gets nobody a token.
    tag_key: String,
    generation: u32,
    current: SecretDigest,
    /// The current token, sealed under its predecessor.
    sealed: Option<String>,
    predecessor: Option<SecretDigest>,
    /// When the last generations were rotated out, oldest first.
    rotated_at: Vec<UnixTime>,
}

impl RefreshChain {
    pub(super) fn start(grant: &GrantId, random: &dyn Randomness) -> (Self, RefreshToken) {
        let tag_key = Secret::drawn_from(random);
        let token = RefreshToken::new(grant, 0, Secret::drawn_from(random), &MarkingKey::from_secret(&tag_key));
        let chain = Self {
            tag_key: tag_key.expose().to_owned(),
            generation: 0,
            current: token.secret.digest(),
            sealed: None,
            predecessor: None,
            rotated_at: Vec::new(),
        };
        (chain, token)
    }

    fn marking_key(&self) -> MarkingKey {
        MarkingKey::from_secret(&Secret::from(self.tag_key.as_str()))
    }

    fn rotate(
        &self,
        grant: &GrantId,
        presented: &RefreshToken,
        now: UnixTime,
        random: &dyn Randomness,
    ) -> (Self, RefreshToken) {
        let generation = self.generation.wrapping_add(1);
        let bytes = Zeroizing::new(random_bytes::<SECRET>(random));
        let token = RefreshToken::new(grant, generation, Secret::encode(bytes.as_slice()), &self.marking_key());
        let mut rotated_at = self.rotated_at.clone();
        if rotated_at.len() == REMEMBERED_ROTATIONS {
            rotated_at.remove(0);
        }
        rotated_at.push(now);
        let chain = Self {
            tag_key: self.tag_key.clone(),
            generation,
            current: token.secret.digest(),
            sealed: seal(&presented.secret, bytes.as_slice()),
            predecessor: Some(self.current),
            rotated_at,
        };
        (chain, token)
    }

    /// The current token again, for somebody who presents the one before it.
    fn successor_of(&self, grant: &GrantId, presented: &RefreshToken) -> Option<RefreshToken> {
        self.predecessor.filter(|digest| digest.matches(&presented.secret))?;
        let bytes = unseal(&presented.secret, self.sealed.as_deref()?)?;
        Some(RefreshToken::new(
            grant,
            self.generation,
            Secret::encode(&bytes),
            &self.marking_key(),
        ))
    }

    /// Whether a token is of a generation that is still to come. Somebody has got it, so nothing is known of what became of
    /// the one that is current here; but nobody has done anything wrong.
    fn is_ahead(&self, generation: u32) -> bool {
        (1..=u32::MAX / 2).contains(&generation.wrapping_sub(self.generation))
    }

    /// Whether a token of an earlier generation may have been rotated out within the window.
    fn may_be_straggler(&self, generation: u32, now: UnixTime, window: Duration) -> bool {
        let age = self.generation.wrapping_sub(generation) as usize;
        // What is too old to be remembered was rotated out no later than the oldest that is.
        let position = self.rotated_at.len().saturating_sub(age);
        self.rotated_at
            .get(position)
            .is_some_and(|rotated_at| now.since(*rotated_at) < window)
    }
}

/// The key is derived from a secret that is used for one rotation only, so one nonce is enough: of several
/// rotations that meet, only one is ever stored.
fn sealing_key(presented: &Secret) -> Option<LessSafeKey> {
    let key = presented.derive_bytes("seal the successor");
    UnboundKey::new(&AES_256_GCM, key.as_slice()).ok().map(LessSafeKey::new)
}

fn seal(presented: &Secret, successor: &[u8]) -> Option<String> {
    let mut sealed = successor.to_vec();
    sealing_key(presented)?
        .seal_in_place_append_tag(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut sealed)
        .ok()?;
    Some(URL_SAFE_NO_PAD.encode(sealed))
}

fn unseal(presented: &Secret, sealed: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(sealed).ok()?);
    let length = sealing_key(presented)?
        .open_in_place(Nonce::assume_unique_for_key([0; 12]), Aad::empty(), &mut bytes)
        .ok()?
        .len();
    bytes.truncate(length);
    Some(bytes)
}

impl Grant {
    /// Whether this grant once issued the token to this client, whether or not it is still good.
    pub(crate) fn issued(&self, presented: &RefreshToken, client_id: &ClientId) -> bool {
        let Some(chain) = &self.refresh else { return false };
        let expected = tag(&chain.marking_key(), &self.id, presented.generation, &presented.secret);
        SecretDigest::of(&expected).matches(&Secret::from(presented.tag.as_str())) && self.client_id == *client_id
    }

    /// Whether the token is the one to use next.
    pub(crate) fn is_current(&self, presented: &RefreshToken) -> bool {
        let current = self.refresh.as_ref().map(|chain| chain.current);
        !self.has_ended() && current.is_some_and(|current| current.matches(&presented.secret))
    }

    /// Uses a refresh token.
    pub(crate) fn refresh(
        &self,
        presented: &RefreshToken,
        client_id: &ClientId,
        now: UnixTime,
        window: Duration,
        random: &dyn Randomness,
    ) -> Transition<RefreshToken, RefreshRefused> {
        let Some(chain) = &self.refresh else {
            return Transition::Refuse(RefreshRefused::Unknown);
        };
        let expected = tag(&chain.marking_key(), &self.id, presented.generation, &presented.secret);
        let issued_here = SecretDigest::of(&expected).matches(&Secret::from(presented.tag.as_str()));
        if !issued_here {
            return Transition::Refuse(RefreshRefused::Unknown);
        }
        if self.client_id != *client_id {
            return Transition::Refuse(RefreshRefused::OtherClient);
        }
        if self.has_ended() {
            return Transition::End(EndReason::AlreadyEnded);
        }
        if chain.current.matches(&presented.secret) {
            let (chain, token) = chain.rotate(&self.id, presented, now, random);
            let next = Self {
                refresh: Some(chain),
                last_used_at: now,
                ..self.clone()
            };
            return Transition::Store(Box::new(next), token);
        }
        if chain.is_ahead(presented.generation) {
            return Transition::Refuse(RefreshRefused::Ahead);
        }
        if !chain.may_be_straggler(presented.generation, now, window) {
            return Transition::End(EndReason::RefreshTokenReused);
        }
        match chain.successor_of(&self.id, presented) {
            Some(token) => Transition::Answer(token),
            None => Transition::Refuse(RefreshRefused::Superseded),
        }
    }
}
