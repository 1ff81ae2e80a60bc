//! Random sequences of everything that clients and people can do, held against a model that fits on a page: no code, no
//! device code and no refresh token pays twice, nothing crosses clients, nothing outlives its grant, and no step answers 5xx.

use std::time::Duration;

use http::Method;
use mcp_oauth_tests::application::{Answer, Application, ISSUER, NOTES, encode, request};
use mcp_oauth_tests::client::{Client, Tokens, public_metadata};
use mcp_oauth_tests::device::{Device, application};
use proptest::prelude::*;

const CODE_LIFETIME: u64 = 60;
const WINDOW: u64 = 60;
const DEVICE_CODE_LIFETIME: u64 = 600;
/// For so long a device code that is over is still known.
const REMEMBERED_DEVICE: u64 = 300;
const ACCESS_TOKEN_LIFETIME: u64 = 3600;
/// The server remembers when the last eight tokens were replaced; an older one may have been replaced as late as those.
const REMEMBERED: usize = 8;

#[derive(Clone, Debug)]
enum Step {
    Register,
    SignIn {
        client: usize,
        person: usize,
    },
    LetDeviceIn {
        client: usize,
        person: usize,
    },
    Redeem {
        grant: usize,
        by: usize,
        right_verifier: bool,
    },
    Refresh {
        grant: usize,
        token: usize,
        by: usize,
    },
    Revoke {
        grant: usize,
        token: usize,
        by: usize,
    },
    Call {
        token: usize,
    },
    Replace {
        client: usize,
    },
    Delete {
        client: usize,
    },
    Wait {
        seconds: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let any = 0..1000_usize;
    // A recent grant: one that was left alone for long has nothing left to tell.
    let recent = 0..3_usize;
    // Mostly by the owner: strangers get nowhere, and a sequence of refusals shows little.
    let by = prop_oneof![9 => Just(usize::MAX), 1 => any.clone()];
    prop_oneof![
        2 => Just(Step::Register),
        3 => (any.clone(), any.clone()).prop_map(|(client, person)| Step::SignIn { client, person }),
        2 => (any.clone(), any.clone()).prop_map(|(client, person)| Step::LetDeviceIn { client, person }),
        8 => (recent.clone(), by.clone(), prop::bool::weighted(0.9))
            .prop_map(|(grant, by, right_verifier)| Step::Redeem { grant, by, right_verifier }),
        12 => (recent.clone(), 0..3_usize, by.clone()).prop_map(|(grant, token, by)| Step::Refresh { grant, token, by }),
        1 => (recent, 0..2_usize, by).prop_map(|(grant, token, by)| Step::Revoke { grant, token, by }),
        6 => any.clone().prop_map(|token| Step::Call { token }),
        1 => any.clone().prop_map(|client| Step::Replace { client }),
        1 => any.prop_map(|client| Step::Delete { client }),
        6 => prop_oneof![1..5_u64, 15..50_u64].prop_map(|seconds| Step::Wait { seconds }),
    ]
}

struct ModelClient {
    client: Client,
    path: String,
    bearer: String,
    deleted: bool,
}

struct ModelGrant {
    client: usize,
    person: &'static str,
    proof: ModelProof,
    issued_at: u64,
    redeemed_at: Option<u64>,
    ended: bool,
    /// Every refresh token there ever was, with the time at which it was replaced.
    chain: Vec<(String, Option<u64>)>,
}

/// What leads to the first tokens.
#[derive(Clone)]
enum ModelProof {
    Code { code: String, verifier: String },
    Device(Device),
}

struct ModelToken {
    grant: usize,
    text: String,
    expires_at: u64,
}

#[derive(Default)]
struct Model {
    clients: Vec<ModelClient>,
    grants: Vec<ModelGrant>,
    tokens: Vec<ModelToken>,
    now: u64,
}

/// What the model expects of a token request.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    InvalidClient,
    InvalidGrant,
    ExpiredToken,
    Tokens { same_successor: bool },
}

fn pick(choice: usize, of: usize) -> Option<usize> {
    (of > 0).then(|| choice % of)
}

/// Counted from the newest.
fn pick_recent(choice: usize, of: usize) -> Option<usize> {
    (of > 0).then(|| of.saturating_sub(1 + choice))
}

impl Model {
    fn by(&self, choice: usize, owner: usize) -> usize {
        if choice == usize::MAX {
            owner
        } else {
            choice % self.clients.len()
        }
    }

    fn expect_redemption(&mut self, grant: usize, by: usize, right_verifier: bool) -> Expected {
        let now = self.now;
        if self.clients[by].deleted {
            return Expected::InvalidClient;
        }
        let grant = &mut self.grants[grant];
        let is_device = matches!(grant.proof, ModelProof::Device(_));
        if by != grant.client || (!is_device && !right_verifier) || grant.ended {
            return Expected::InvalidGrant;
        }
        if let Some(redeemed_at) = grant.redeemed_at {
            let known = now < grant.issued_at + DEVICE_CODE_LIFETIME + REMEMBERED_DEVICE;
            grant.ended = !is_device || (known && now - redeemed_at >= WINDOW);
            return Expected::InvalidGrant;
        }
        let age = now - grant.issued_at;
        if is_device && (DEVICE_CODE_LIFETIME..DEVICE_CODE_LIFETIME + REMEMBERED_DEVICE).contains(&age) {
            return Expected::ExpiredToken;
        }
        if age >= if is_device { DEVICE_CODE_LIFETIME } else { CODE_LIFETIME } {
            return Expected::InvalidGrant;
        }
        grant.redeemed_at = Some(now);
        Expected::Tokens { same_successor: false }
    }

    fn add_grant(&mut self, client: usize, person: &'static str, proof: ModelProof) {
        self.grants.push(ModelGrant {
            client,
            person,
            proof,
            issued_at: self.now,
            redeemed_at: None,
            ended: false,
            chain: Vec::new(),
        });
    }

    fn expect_refresh(&mut self, grant: usize, token: usize, by: usize) -> Expected {
        let now = self.now;
        if self.clients[by].deleted {
            return Expected::InvalidClient;
        }
        let grant = &mut self.grants[grant];
        if by != grant.client || grant.ended {
            return Expected::InvalidGrant;
        }
        let newest = grant.chain.len() - 1;
        if token == newest {
            grant.chain[token].1 = Some(now);
            return Expected::Tokens { same_successor: false };
        }
        let oldest_remembered = newest.saturating_sub(REMEMBERED);
        let replaced_at = grant.chain[token.max(oldest_remembered)].1.expect("it was replaced");
        if now - replaced_at >= WINDOW {
            grant.ended = true;
            return Expected::InvalidGrant;
        }
        if token + 1 == newest {
            Expected::Tokens { same_successor: true }
        } else {
            Expected::InvalidGrant
        }
    }

    fn take(&mut self, grant: usize, answer: &Answer, same_successor: bool) {
        let tokens = Tokens::of(answer);
        let expires_at = self.now + ACCESS_TOKEN_LIFETIME;
        self.tokens.push(ModelToken {
            grant,
            text: tokens.access_token,
            expires_at,
        });
        let chain = &mut self.grants[grant].chain;
        if same_successor {
            assert_eq!(chain.last().map(|(token, _)| token), Some(&tokens.refresh_token));
        } else {
            assert!(chain.iter().all(|(token, _)| *token != tokens.refresh_token));
            chain.push((tokens.refresh_token, None));
        }
    }
}

fn assert_answers(answer: &Answer, expected: &Expected) {
    assert!(answer.status.as_u16() < 500, "{answer:?}");
    match expected {
        Expected::InvalidClient => assert_eq!((answer.status.as_u16(), &*answer.error()), (401, "invalid_client")),
        Expected::InvalidGrant => assert_eq!((answer.status.as_u16(), &*answer.error()), (400, "invalid_grant")),
        Expected::ExpiredToken => assert_eq!((answer.status.as_u16(), &*answer.error()), (400, "expired_token")),
        Expected::Tokens { .. } => assert_eq!(answer.status, 200, "{answer:?}"),
    }
}

#[allow(clippy::too_many_lines, reason = "one arm a step; each is a few lines")]
async fn take_step(application: &Application, model: &mut Model, step: Step) {
    match step {
        Step::Register => {
            let registered = application.post_json("/register", &public_metadata()).await;
            assert_eq!(registered.status, 201);
            let registered = registered.json();
            let text = |name: &str| registered[name].as_str().unwrap().to_owned();
            model.clients.push(ModelClient {
                client: Client {
                    client_id: text("client_id"),
                    client_secret: None,
                    verifier: mcp_oauth_core::secret::Secret::random().expose().to_owned(),
                },
                path: text("registration_client_uri").strip_prefix(ISSUER).unwrap().to_owned(),
                bearer: format!("Bearer {}", text("registration_access_token")),
                deleted: false,
            });
        }
        Step::SignIn { client, person } => {
            let Some(client) = pick(client, model.clients.len()) else {
                return;
            };
            let person = ["ada", "grace"][person % 2];
            let known = &model.clients[client];
            if known.deleted {
                let refused = application.get(&known.client.authorization_url(&[])).await;
                assert_eq!((refused.status.as_u16(), refused.header("location")), (400, ""));
                return;
            }
            let code = known.client.code(application, person).await;
            let verifier = known.client.verifier.clone();
            model.add_grant(client, person, ModelProof::Code { code, verifier });
        }
        Step::LetDeviceIn { client, person } => {
            let Some(client) = pick(client, model.clients.len()) else {
                return;
            };
            let person = ["ada", "grace"][person % 2];
            let known = &model.clients[client];
            if known.deleted {
                let refused = known.client.post(application, "/device_authorization", &[]).await;
                assert_answers(&refused, &Expected::InvalidClient);
                return;
            }
            let device = Device::of(application, known.client.clone()).await;
            assert_eq!(device.let_in(application, person).await.status, 200);
            model.add_grant(client, person, ModelProof::Device(device));
        }
        Step::Redeem {
            grant,
            by,
            right_verifier,
        } => {
            let Some(grant) = pick_recent(grant, model.grants.len()) else {
                return;
            };
            let by = model.by(by, model.grants[grant].client);
            let proof = model.grants[grant].proof.clone();
            let expected = model.expect_redemption(grant, by, right_verifier);
            let client = model.clients[by].client.clone();
            let answer = match proof {
                ModelProof::Code { code, verifier } => {
                    let verifier = if right_verifier { verifier } else { "w".repeat(43) };
                    client.redeem(application, &code, &[("code_verifier", &verifier)]).await
                }
                ModelProof::Device(device) => Device { client, ..device }.poll(application).await,
            };
            assert_answers(&answer, &expected);
            if expected == (Expected::Tokens { same_successor: false }) {
                model.take(grant, &answer, false);
            }
        }
        Step::Refresh { grant, token, by } => {
            let Some(grant) = pick_recent(grant, model.grants.len()) else {
                return;
            };
            let length = model.grants[grant].chain.len();
            if length == 0 {
                return;
            }
            // The newest, the one before, or one before that.
            let token = length.saturating_sub(1 + token);
            let by = model.by(by, model.grants[grant].client);
            let text = model.grants[grant].chain[token].0.clone();
            let expected = model.expect_refresh(grant, token, by);
            let client = model.clients[by].client.clone();
            let answer = client.refresh(application, &text, &[]).await;
            assert_answers(&answer, &expected);
            if let Expected::Tokens { same_successor } = expected {
                model.take(grant, &answer, same_successor);
            }
        }
        Step::Revoke { grant, token, by } => {
            let Some(grant) = pick_recent(grant, model.grants.len()) else {
                return;
            };
            let length = model.grants[grant].chain.len();
            if length == 0 {
                return;
            }
            let text = model.grants[grant].chain[length.saturating_sub(1 + token)].0.clone();
            let by = model.by(by, model.grants[grant].client);
            let fields = [
                ("token", text.as_str()),
                ("client_id", &model.clients[by].client.client_id),
            ];
            let headers = [("content-type", "application/x-www-form-urlencoded")];
            let answer = application
                .send(request(Method::POST, "/revoke", &headers, &encode(&fields)))
                .await;
            if model.clients[by].deleted {
                assert_answers(&answer, &Expected::InvalidClient);
            } else {
                assert_eq!(answer.status, 200);
                model.grants[grant].ended |= by == model.grants[grant].client;
            }
        }
        Step::Call { token } => {
            let Some(token) = pick(token, model.tokens.len()) else {
                return;
            };
            let token = &model.tokens[token];
            let grant = &model.grants[token.grant];
            let good = model.now < token.expires_at && !grant.ended && !model.clients[grant.client].deleted;
            let answer = application.call(NOTES, &token.text).await;
            assert_eq!(answer.status.as_u16(), if good { 200 } else { 401 }, "{answer:?}");
            if good {
                assert_eq!(answer.json()["username"], grant.person);
                assert_eq!(
                    answer.json()["client_id"],
                    model.clients[grant.client].client.client_id.as_str()
                );
            }
        }
        Step::Replace { client } | Step::Delete { client } => {
            let Some(client) = pick(client, model.clients.len()) else {
                return;
            };
            let delete = matches!(step, Step::Delete { .. });
            let known = &mut model.clients[client];
            let mut body = public_metadata();
            body["client_id"] = known.client.client_id.clone().into();
            let headers = [
                ("authorization", known.bearer.as_str()),
                ("content-type", "application/json"),
            ];
            let (method, good) = if delete {
                (Method::DELETE, 204)
            } else {
                (Method::PUT, 200)
            };
            let answer = application
                .send(request(method, &known.path, &headers, &body.to_string()))
                .await;
            assert_eq!(
                answer.status.as_u16(),
                if known.deleted { 401 } else { good },
                "{answer:?}"
            );
            known.deleted |= delete;
        }
        Step::Wait { seconds } => {
            model.now += seconds;
            application.clock.advance(Duration::from_secs(seconds));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_in_whatever_order_the_model_knows_the_answer(steps in prop::collection::vec(step(), 1..100)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let application = application();
            let mut model = Model::default();
            take_step(&application, &mut model, Step::Register).await;
            for step in steps {
                take_step(&application, &mut model, step).await;
            }
        });
    }
}
