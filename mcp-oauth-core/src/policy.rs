//! Who may sign in, for what, and for how long that is believed.
//!
//! # The lists
//!
//! An [`AllowList`] fails closed: an empty one lets nobody in. To let everybody in, the list has to say `*`. A server
//! has one list, and each protected resource may have [one of its own](crate::resource::Resource::allow); a person
//! needs to be on both. A client that asks for several resources gets all of them or none: what it asked for is never
//! quietly made less.
//!
//! # A policy of one's own
//!
//! What lists cannot say, a [`GrantPolicy`] can: it is asked after the lists have let somebody in, and may allow, allow
//! fewer scopes, or deny.
//!
//! # When it is decided
//!
//! | at | the lists | a policy of one's own | the identity provider |
//! |---|---|---|---|
//! | the sign-in, before there is a code | yes | yes | it has just said who this is |
//! | the redemption of the code | yes | | |
//! | every refresh | yes | yes | if it was not asked for a while |
//! | the repeat of a refresh | yes | yes | |
//!
//! Whoever is denied at a sign-in goes back to the client with `access_denied`. Whoever is denied later loses the whole
//! grant, its access tokens included.
//!
//! # How long it is believed
//!
//! Logins and organisations change while nobody signs in. So at a refresh the provider is
//! [asked how the person stands](crate::identity::IdentityProvider::standing), at most once in
//! [`Lifetimes::identity_check`](crate::server::builder::Lifetimes::identity_check): somebody who was renamed or
//! changed organisations is judged anew, and the grant of somebody whose account is gone ends.
//!
//! Some providers cannot be asked about people who are away. What such a provider once said of memberships is believed
//! for [`Lifetimes::maximum_identity_age`](crate::server::builder::Lifetimes::maximum_identity_age); from then on the
//! refresh is refused, and the person signs in again. The same holds for e-mail addresses, which no provider confirms
//! while a person is away, unless it is asked with the person's own tokens ([`server::vault`](crate::server::vault)). It does not hold for people who are let in by their login or subject, or because everybody
//! is: for them nothing can have changed.
//!
//! A provider that can be asked but does not answer ends nobody's session. Refreshes go on for as long as the last
//! answer is younger than that age, and then they fail with `temporarily_unavailable` until the provider is back.
//!
//! # Example
//!
//! ```
//! use mcp_oauth_core::identity::Identity;
//! use mcp_oauth_core::policy::AllowList;
//!
//! let ada = Identity::new("github", "583231").with_login("Ada").with_memberships(["org=acme".parse()?]);
//! assert!(AllowList::parse("grace, ada")?.allows(&ada));
//! assert!(AllowList::parse("org=acme")?.allows(&ada));
//! assert!(AllowList::parse("*")?.allows(&ada));
//! assert!(!AllowList::parse("")?.allows(&ada));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod allow_list;
mod email;
mod grant_policy;

pub(crate) use allow_list::Ground;
pub use allow_list::{AllowList, InvalidAllowList};
pub use grant_policy::{GrantPolicy, GrantRequest, Occasion, PolicyError, Verdict};
