// A certified OpenID Connect provider, as it is published, that signs everybody in at once: nobody types anything, and
// whoever the test has named last is the one who stands at the browser.
//
//   node provider.mjs <port> <clients as JSON>
//
// Beside the provider it answers `POST /test/person` with {"sub", "groups", "gone"}: from then on that is who signs in, and
// what is known of them. Prints `ready` when it listens.

import { generateKeyPairSync } from "node:crypto";
import Provider from "oidc-provider";

const [port, clients] = [Number(process.argv[2]), JSON.parse(process.argv[3])];
const issuer = `http://127.0.0.1:${port}`;

const key = (type, options, alg) => ({
  ...generateKeyPairSync(type, options).privateKey.export({ format: "jwk" }),
  alg,
  use: "sig",
  kid: alg,
});
const jwks = {
  keys: [
    key("rsa", { modulusLength: 2048 }, "RS256"),
    key("rsa", { modulusLength: 2048 }, "PS256"),
    key("ec", { namedCurve: "P-256" }, "ES256"),
    key("ed25519", {}, "EdDSA"),
  ],
};

let current = "ada";
const people = new Map([["ada", { groups: ["staff"] }]]);

const provider = new Provider(issuer, {
  clients,
  jwks,
  cookies: { keys: ["of a test"] },
  scopes: ["openid", "offline_access", "profile", "email", "groups"],
  claims: {
    openid: ["sub"],
    profile: ["name", "preferred_username"],
    email: ["email", "email_verified"],
    groups: ["groups"],
  },
  enabledJWA: { idTokenSigningAlgValues: ["RS256", "PS256", "ES256", "EdDSA"] },
  clientAuthMethods: ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
  features: { devInteractions: { enabled: false } },
  // So short that every use of a token that is kept needs a new one.
  ttl: { AccessToken: 30, IdToken: 300, AuthorizationCode: 60, RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 600 },
  interactions: { url: (_, interaction) => `/test/interaction/${interaction.uid}` },
  findAccount: (_, sub) => {
    const person = people.get(sub);
    if (!person || person.gone) return undefined;
    return {
      accountId: sub,
      claims: () => ({
        sub,
        name: `The person ${sub}`,
        preferred_username: sub,
        email: `${sub}@acme.example`,
        email_verified: true,
        groups: person.groups,
      }),
    };
  },
});

/** Says who it is, and that they agree. */
async function interact(ctx) {
  const details = await provider.interactionDetails(ctx.req, ctx.res);
  const result = { login: { accountId: current } };
  if (details.prompt.name === "consent") {
    const grant = new provider.Grant({ accountId: details.session.accountId, clientId: details.params.client_id });
    grant.addOIDCScope(details.params.scope);
    result.consent = { grantId: await grant.save() };
  }
  await provider.interactionFinished(ctx.req, ctx.res, result, { mergeWithLastSubmission: true });
  ctx.respond = false;
}

async function body(request) {
  let text = "";
  for await (const chunk of request) text += chunk;
  return JSON.parse(text);
}

provider.use(async (ctx, next) => {
  if (ctx.path === "/test/person" && ctx.method === "POST") {
    const { sub, ...person } = await body(ctx.req);
    current = sub;
    people.set(sub, person);
    ctx.status = 204;
  } else if (ctx.path.startsWith("/test/interaction/")) {
    await interact(ctx);
  } else {
    await next();
  }
});

provider.listen(port, "127.0.0.1", () => console.log("ready"));
