// Uses the authorization server with `oauth4webapi`, a client library that checks everything it is told.
//
// Knows the URL of a protected resource and finds the rest: discovery, registration, code with PKCE, the issuer in the
// answer (and that a wrong one is refused), token, what a resource would check of the token, introspection, refresh,
// revocation, and a device. Each answer goes through the library's own checks; the first step that fails is named,
// and the exit code is 1.
//
//   node strict_client.mjs http://127.0.0.1:8080/echo/mcp --auth-method client_secret_basic

import { parseArgs } from 'node:util';

import * as oauth from 'oauth4webapi';

import { Recorder } from './exchanges.mjs';
import { UserAgent } from './user_agent.mjs';

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

class StepFailed extends Error {}

function require(condition, why) {
    if (!condition) throw new StepFailed(why);
}

const recorder = new Recorder();
// The gateway under test speaks plain http on the loopback interface; nothing else is relaxed.
const http = { [oauth.customFetch]: recorder.fetch, [oauth.allowInsecureRequests]: true };

async function step(name, check) {
    const details = {};
    try {
        const outcome = await check(details);
        const shown = Object.entries(details).map(([key, value]) => `${key}=${value} `).join('');
        console.log(recorder.redact(`step: ${name} ${shown}... ok`));
        return outcome;
    } catch (failure) {
        const said = failure instanceof StepFailed ? '' : `${failure.name} (${failure.code}): `;
        const cause = failure.error ? ` ${failure.error}: ${failure.error_description}` : '';
        console.log(recorder.redact(`step: ${name} ... FAILED: ${said}${failure.message}${cause}`));
        process.exit(1);
    }
}

/** Does what has to be refused, and gives back the refusal. */
async function refused(what, attempt) {
    let outcome;
    try {
        outcome = await attempt();
    } catch (failure) {
        if (failure instanceof TypeError) throw failure;
        return failure;
    }
    throw new StepFailed(`${what} was accepted: ${Object.keys(outcome ?? {})}`);
}

async function discover(details, resource) {
    const server = await oauth.processResourceDiscoveryResponse(
        new URL(resource),
        await oauth.resourceDiscoveryRequest(new URL(resource), http),
    );
    const [issuer] = server.authorization_servers;
    const response = await oauth.discoveryRequest(new URL(issuer), { ...http, algorithm: 'oauth2' });
    const as = await oauth.processDiscoveryResponse(new URL(issuer), response);
    require(as.issuer === issuer, `issuer ${as.issuer} is not ${issuer}`);
    require(as.authorization_response_iss_parameter_supported, 'no iss in answers is promised');
    require(as.code_challenge_methods_supported?.includes('S256'), 'no S256 is promised');
    // The same server under OpenID's name, for clients that look there.
    const alias = await oauth.discoveryRequest(new URL(issuer), { ...http, algorithm: 'oidc' });
    await oauth.processDiscoveryResponse(new URL(issuer), alias);
    Object.assign(details, { issuer, grants: as.grant_types_supported });
    return as;
}

async function register(details, as, options) {
    const wanted = {
        client_name: 'strict test (TypeScript)',
        redirect_uris: [options['redirect-uri']],
        token_endpoint_auth_method: options['auth-method'],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
    };
    if (as.device_authorization_endpoint) wanted.grant_types.push(DEVICE_GRANT);
    const response = await oauth.dynamicClientRegistrationRequest(as, wanted, http);
    const client = await oauth.processDynamicClientRegistrationResponse(response);
    recorder.keepSecret(client.client_secret, client.registration_access_token);
    for (const [name, value] of Object.entries(wanted)) {
        require(JSON.stringify(client[name]) === JSON.stringify(value), `${name} was registered as ${client[name]}`);
    }
    details.method = client.token_endpoint_auth_method;
    return client;
}

function authentication(client) {
    switch (client.token_endpoint_auth_method) {
        case 'client_secret_basic': return oauth.ClientSecretBasic(client.client_secret);
        case 'client_secret_post': return oauth.ClientSecretPost(client.client_secret);
        default: return oauth.None();
    }
}

async function authorize(details, as, client, options, agent) {
    const verifier = oauth.generateRandomCodeVerifier();
    const state = oauth.generateRandomState();
    recorder.keepSecret(verifier, state);
    const url = new URL(as.authorization_endpoint);
    url.search = new URLSearchParams({
        response_type: 'code',
        client_id: client.client_id,
        redirect_uri: options['redirect-uri'],
        state,
        code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        resource: options.resource,
    });
    const arrived = await agent.visit(url, options['redirect-uri']);
    recorder.keepSecret(arrived.searchParams.get('code'));
    const parameters = oauth.validateAuthResponse(as, client, arrived, state);
    Object.assign(details, { hops: agent.hops.length, pressed: agent.pressed.join(), iss: parameters.get('iss') });
    return { parameters, verifier, state, arrived };
}

/** The library refuses an answer that names another issuer, none, or another state (RFC 9207 §2.4). */
async function checkIssuer(details, as, client, { arrived, state }) {
    const changed = (change) => {
        const url = new URL(arrived);
        change(url.searchParams);
        return () => oauth.validateAuthResponse(as, client, url, state);
    };
    const other = await refused('a wrong iss', changed((answer) => answer.set('iss', 'https://evil.example')));
    const slash = await refused('an iss with a slash more', changed((answer) => answer.set('iss', `${as.issuer}/`)));
    const none = await refused('an answer without iss', changed((answer) => answer.delete('iss')));
    for (const failure of [other, slash, none]) {
        require(failure.message.includes('"iss"'), `it was refused for something else: ${failure.message}`);
    }
    await refused('another state', changed((answer) => answer.set('state', 'another')));
    // A client that mixed two servers up would check the answer against the other one's metadata.
    await refused('an answer of another server', () =>
        oauth.validateAuthResponse({ ...as, issuer: 'https://other.example' }, client, arrived, state));
    details.refused = 'wrong,slash,missing,state,mixed-up';
}

/** A denial carries the issuer too, or the library would not take it for the server's. */
async function checkDenial(details, as, client, options) {
    const agent = new UserAgent({ decision: 'deny' });
    const failure = await refused('a denial', () => authorize({}, as, client, options, agent));
    require(failure instanceof oauth.AuthorizationResponseError, `the library raised ${failure.name}: ${failure.message}`);
    require(failure.error === 'access_denied', `the error is ${failure.error}`);
    details.error = failure.error;
}

async function redeem(details, as, client, { parameters, verifier }, options) {
    const response = await oauth.authorizationCodeGrantRequest(
        as, client, authentication(client), parameters, options['redirect-uri'], verifier,
        { ...http, additionalParameters: { resource: options.resource } },
    );
    const tokens = await oauth.processAuthorizationCodeResponse(as, client, response);
    recorder.keepSecret(tokens.access_token, tokens.refresh_token);
    require(tokens.refresh_token, 'no refresh token came with the access token');
    require(tokens.expires_in > 0, 'nothing says how long the access token is good');
    Object.assign(details, { expires_in: tokens.expires_in, scope: tokens.scope });
    return tokens;
}

/** What a resource of somebody else's would check of the token (RFC 9068 §4), and what this one does with it. */
async function useToken(details, as, tokens, { resource }, wanted = 200) {
    const headers = new Headers({ authorization: `Bearer ${tokens.access_token}` });
    const request = new Request(resource, { method: 'POST', headers });
    const claims = await oauth.validateJwtAccessToken(as, request, resource, http);
    const body = JSON.stringify({
        jsonrpc: '2.0', id: 1, method: 'initialize',
        params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'strict', version: '1' } },
    });
    const accepted = new Headers({ 'content-type': 'application/json', accept: 'application/json, text/event-stream' });
    let status;
    try {
        const response = await oauth.protectedResourceRequest(
            tokens.access_token, 'POST', new URL(resource), accepted, body, http,
        );
        ({ status } = response);
        await response.body?.cancel();
    } catch (failure) {
        if (!(failure instanceof oauth.WWWAuthenticateChallengeError)) throw failure;
        ({ status } = failure);
    }
    require(status === wanted, `the resource answered ${status}, not ${wanted}`);
    Object.assign(details, { sub: claims.sub, resource: status });
    return claims;
}

async function introspect(as, client, token) {
    const response = await oauth.introspectionRequest(as, client, authentication(client), token, http);
    return oauth.processIntrospectionResponse(as, client, response);
}

async function checkIntrospection(details, as, client, tokens, claims) {
    if (client.token_endpoint_auth_method === 'none') {
        const failure = await refused('introspection by a public client', () => introspect(as, client, tokens.access_token));
        require(failure.status === 401, `a public client was answered ${failure.status ?? failure.message}`);
        details.refused = failure.status;
        return;
    }
    const access = await introspect(as, client, tokens.access_token);
    require(access.active, 'a good access token is not active');
    for (const name of ['iss', 'sub', 'client_id', 'exp', 'iat', 'jti', 'scope']) {
        require(access[name] === claims[name], `${name} is ${access[name]}, in the token ${claims[name]}`);
    }
    const refresh = await introspect(as, client, tokens.refresh_token);
    require(refresh.active && refresh.client_id === client.client_id, 'a good refresh token is not active');
    const unknown = await introspect(as, client, 'unknown');
    require(Object.keys(unknown).join() === 'active' && !unknown.active, 'something is said of an unknown token');
    Object.assign(details, { access: access.active, refresh: refresh.active, unknown: unknown.active });
}

async function refresh(details, as, client, tokens) {
    const response = await oauth.refreshTokenGrantRequest(as, client, authentication(client), tokens.refresh_token, http);
    const next = await oauth.processRefreshTokenResponse(as, client, response);
    recorder.keepSecret(next.access_token, next.refresh_token);
    require(next.access_token !== tokens.access_token, 'the access token is the old one');
    require(next.refresh_token && next.refresh_token !== tokens.refresh_token, 'the refresh token is not a new one');
    Object.assign(details, { expires_in: next.expires_in, scope: next.scope });
    return next;
}

async function revoke(details, as, client, tokens, options) {
    const give = (token) => oauth.revocationRequest(as, client, authentication(client), token, http);
    await oauth.processRevocationResponse(await give(tokens.refresh_token));
    const failure = await refused('a revoked refresh token', () => refresh({}, as, client, tokens));
    require(failure.error === 'invalid_grant', `the error is ${failure.error}`);
    if (client.token_endpoint_auth_method !== 'none') {
        require(!(await introspect(as, client, tokens.access_token)).active, 'the access token is still active');
    }
    await useToken(details, as, tokens, options, 401);
    // Giving it back once more is no error (RFC 7009 §2.2).
    await oauth.processRevocationResponse(await give(tokens.refresh_token));
    details.refresh = failure.error;
}

async function device(details, as, client, options) {
    require(as.device_authorization_endpoint, 'no device_authorization_endpoint is promised');
    require(as.grant_types_supported.includes(DEVICE_GRANT), 'the endpoint is there, and the grant type is not promised');
    const answer = await oauth.processDeviceAuthorizationResponse(
        as, client,
        await oauth.deviceAuthorizationRequest(as, client, authentication(client), { resource: options.resource }, http),
    );
    recorder.keepSecret(answer.device_code, answer.user_code);
    const poll = async () => oauth.processDeviceCodeResponse(
        as, client,
        await oauth.deviceCodeGrantRequest(as, client, authentication(client), answer.device_code, http),
    );
    const pending = await refused('a device code that nobody approved', poll);
    require(pending.error === 'authorization_pending', `the error is ${pending.error}`);
    const agent = new UserAgent({ user: options.user, typed: { user_code: answer.user_code } });
    const title = await agent.visitToEnd(answer.verification_uri);
    require(agent.pressed.includes('decision=approve'), `nobody was asked for consent: ${agent.pressed}`);
    // As RFC 8628 §3.5 wants it: not sooner than the interval, and slower when told so.
    let interval = answer.interval ?? 5;
    let tokens;
    for (let attempt = 0; !tokens && attempt < 3; attempt += 1) {
        await new Promise((resolve) => { setTimeout(resolve, interval * 1000); });
        try {
            tokens = await poll();
        } catch (failure) {
            if (failure.error !== 'slow_down') throw failure;
            interval += 5;
        }
    }
    require(tokens, 'the approved device was told to slow down three times');
    recorder.keepSecret(tokens.access_token, tokens.refresh_token);
    await useToken(details, as, tokens, options);
    const again = await refused('a device code that was used before', poll);
    require(again.error === 'invalid_grant', `the error is ${again.error}`);
    Object.assign(details, { verification_uri: answer.verification_uri, interval, last_page: JSON.stringify(title) });
}

function readOptions() {
    const text = (fallback) => ({ type: 'string', default: fallback });
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            user: { type: 'string' },
            device: { type: 'boolean', default: false },
            'auth-method': text('none'),
            'redirect-uri': text('http://127.0.0.1:53682/callback'),
        },
    });
    if (positionals.length !== 1) throw new Error('the URL of one protected resource is needed');
    return { ...values, resource: positionals[0] };
}

let options;
try {
    options = readOptions();
} catch (error) {
    console.error(`${error.message}\nusage: node strict_client.mjs URL [--auth-method NAME] [--user NAME] [--redirect-uri URI] [--device]`);
    process.exit(2);
}

const as = await step('discovery', (details) => discover(details, options.resource));
const client = await step('registration', (details) => register(details, as, options));
const agent = new UserAgent({ user: options.user });
const answer = await step('authorization', (details) => authorize(details, as, client, options, agent));
await step('issuer check', (details) => checkIssuer(details, as, client, answer));
await step('denial', (details) => checkDenial(details, as, client, options));
const tokens = await step('token', (details) => redeem(details, as, client, answer, options));
const claims = await step('access token', (details) => useToken(details, as, tokens, options));
await step('introspection', (details) => checkIntrospection(details, as, client, tokens, claims));
const refreshed = await step('refresh', (details) => refresh(details, as, client, tokens));
await step('revocation', (details) => revoke(details, as, client, refreshed, options));
if (as.device_authorization_endpoint || options.device) {
    await step('device', (details) => device(details, as, client, options));
}
