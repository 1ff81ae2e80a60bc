// Signs in to a protected MCP server with the official TypeScript SDK, from nothing but the server's URL.
//
// Proves that the SDK's own OAuth support discovers, registers, authorizes, gets tokens, talks MCP,
// refreshes after a 401 and goes on, against this authorization server. Each step is judged by the
// requests that really went over the wire; the first one that is missing is named, and the exit code is 1.
//
//   node sign_in.mjs http://127.0.0.1:8080/echo/mcp --tool echo --arguments '{"message": "hi"}' --expect hi

import { createHash, randomUUID } from 'node:crypto';
import { isDeepStrictEqual, parseArgs } from 'node:util';

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

import { Recorder } from './exchanges.mjs';
import { UserAgent } from './user_agent.mjs';
import { within } from './within.mjs';

class StepFailed extends Error {}

function require(condition, why) {
    if (!condition) throw new StepFailed(why);
}

const digest = (secret) => createHash('sha256').update(secret).digest('hex').slice(0, 12);

/** What an application gives the SDK: its metadata, a store, and the way to a browser. */
class Provider {
    history = [];
    client = undefined;
    authorizationUrl = undefined;
    #tokens;
    #verifier;
    #discovery;
    #state = randomUUID();
    #options;
    #recorder;

    constructor(options, recorder) {
        this.#options = options;
        this.#recorder = recorder;
    }

    get redirectUrl() {
        return this.#options['redirect-uri'];
    }

    get clientMetadata() {
        const method = this.#options['auth-method'];
        return {
            client_name: 'sign-in test (TypeScript)',
            redirect_uris: [this.redirectUrl],
            ...(method === 'unset' ? {} : { token_endpoint_auth_method: method }),
        };
    }

    state() {
        return this.#state;
    }

    clientInformation() {
        return this.client;
    }

    saveClientInformation(client) {
        this.client = client;
        this.#recorder.keepSecret(client.client_secret);
    }

    tokens() {
        return this.#tokens;
    }

    saveTokens(tokens) {
        this.#tokens = tokens;
        this.history.push(tokens);
        this.#recorder.keepSecret(tokens.access_token, tokens.refresh_token);
    }

    /** As if the access token had stopped working: the server will answer 401. */
    spoilAccessToken() {
        this.#tokens = { ...this.#tokens, access_token: 'no-longer-valid' };
    }

    redirectToAuthorization(url) {
        require(!this.authorizationUrl, 'the person was sent to the browser twice');
        this.authorizationUrl = url;
    }

    saveCodeVerifier(verifier) {
        this.#verifier = verifier;
        this.#recorder.keepSecret(verifier);
    }

    codeVerifier() {
        return this.#verifier;
    }

    saveDiscoveryState(state) {
        this.#discovery = state;
    }

    discoveryState() {
        return this.#discovery;
    }
}

class SignIn {
    #options;
    #recorder = new Recorder();
    #provider;
    #agent;
    #steps = [];
    #current = 'discovery';
    #metadata;

    constructor(options) {
        this.#options = options;
        this.#provider = new Provider(options, this.#recorder);
        this.#agent = new UserAgent({ decision: options.deny ? 'deny' : 'approve', user: options.user });
    }

    async run() {
        let error;
        try {
            await within(Number(this.#options.timeout), this.#signInAndTalk(), (text) => new StepFailed(text));
        } catch (failure) {
            const said = failure instanceof StepFailed ? '' : `${failure.constructor.name}: `;
            error = this.#recorder.redact(`${said}${failure.message}`);
        }
        if (this.#options.json) {
            const failed = error ? [{ name: this.#current, ok: false, error }] : [];
            const report = { ok: !error, steps: [...this.#steps, ...failed], browser: this.#agent.hops };
            const text = JSON.stringify({ ...report, exchanges: this.#recorder.exchanges }, null, 2);
            console.log(this.#recorder.redact(text));
        } else if (error) {
            console.log(`step: ${this.#current} ... FAILED: ${error}`);
        }
        return !error;
    }

    async #signInAndTalk() {
        let transport = this.#transport();
        let refusal;
        try {
            await this.#client().connect(transport);
        } catch (failure) {
            refusal = failure;
        }
        // The SDK stops with UnauthorizedError once it has named the address for the browser.
        const handedOver = refusal instanceof UnauthorizedError && this.#provider.authorizationUrl;
        const because = handedOver ? '' : `: ${refusal ? `${refusal.constructor.name}: ${refusal.message}` : 'no sign-in was asked for'}`;
        await this.#step('discovery', (details) => this.#checkDiscovery(details, because));
        await this.#step('registration', (details) => this.#checkRegistration(details, because));
        const callback = await this.#step('authorization', (details) => this.#authorize(details, because));
        if (this.#options.deny) return this.#step('denial', (details) => this.#checkDenied(details, transport, callback));
        await this.#step('token', (details) => this.#redeem(details, transport, callback));

        transport = this.#transport();
        const client = this.#client();
        try {
            await this.#step('initialize', (details) => this.#initialize(details, client, transport));
            await this.#step('list tools', (details) => this.#listTools(details, client));
            await this.#step('call', async (details) => {
                const text = await this.#call(client);
                this.#seenRpc('tools/call');
                Object.assign(details, { tool: this.#options.tool, characters: text.length });
            });
            const again = await this.#step('refresh', (details) => this.#refresh(details, client));
            await this.#step('call again', (details) => {
                this.#seenRpc('tools/call', again.start);
                Object.assign(details, { tool: this.#options.tool, characters: again.text.length });
            });
        } finally {
            await client.close();
        }
    }

    #transport() {
        const { url } = this.#options;
        return new StreamableHTTPClientTransport(new URL(url), { authProvider: this.#provider, fetch: this.#recorder.fetch });
    }

    #client() {
        const mode = this.#options.protocol;
        return new Client(
            { name: 'sign-in test', version: '1.0.0' },
            { versionNegotiation: { mode: ['legacy', 'auto'].includes(mode) ? mode : { pin: mode } } },
        );
    }

    async #step(name, check) {
        this.#current = name;
        const details = {};
        const outcome = await check(details);
        this.#steps.push({ name, ok: true, ...details });
        if (!this.#options.json) {
            const shown = Object.entries(details).map(([key, value]) => `${key}=${value} `).join('');
            console.log(this.#recorder.redact(`step: ${name} ${shown}... ok`));
        }
        return outcome;
    }

    /** The exchange with that method, address and further facts; it must have had that status. */
    #seen(what, method, url, status, { start = 0, because = '', ...equal } = {}) {
        const found = this.#recorder.exchanges.slice(start).find(
            (x) => x.method === method && x.url === url
                && Object.entries(equal).every(([name, value]) => isDeepStrictEqual(x[name], value)),
        );
        require(found, `no ${what} was sent (${method} ${url})${because}`);
        require(found.status === status, `${what}: ${method} ${url} answered ${found.status}, not ${status}${because}`);
        return found;
    }

    #seenRpc(rpc, start = 0) {
        const bearer = digest(this.#provider.history.at(-1).access_token);
        return this.#seen(rpc, 'POST', this.#options.url, 200, { start, rpc, bearer });
    }

    #checkDiscovery(details, because) {
        const { url } = this.#options;
        const [first] = this.#recorder.exchanges;
        require(first?.url === url, `the first request did not go to the MCP URL${because}`);
        require(!first.bearer && first.status === 401, `without a token it answered ${first.status}, not 401`);
        const prmUrl = /resource_metadata="([^"]+)"/.exec(first.challenge ?? '')?.[1];
        require(prmUrl, `WWW-Authenticate names no resource_metadata: ${first.challenge}`);
        this.#seen('protected resource metadata', 'GET', prmUrl, 200, { because });
        const { resourceMetadata: prm, authorizationServerMetadata: metadata } = this.#provider.discoveryState() ?? {};
        require(prm && metadata, `the SDK accepted no metadata${because}`);
        require(prm.resource === url, `resource is ${prm.resource}, not the MCP URL`);
        const issuer = prm.authorization_servers[0];
        require(metadata.issuer === issuer, `issuer ${metadata.issuer} is not ${issuer}`);
        const metadataUrl = `${issuer}/.well-known/oauth-authorization-server`;
        this.#seen('authorization server metadata', 'GET', metadataUrl, 200, { because });
        this.#metadata = metadata;
        Object.assign(details, { url, status: 401, resource_metadata: prmUrl, metadata: metadataUrl, issuer });
    }

    #checkRegistration(details, because) {
        const endpoint = this.#metadata.registration_endpoint;
        this.#seen('registration', 'POST', endpoint, 201, { because });
        const { client } = this.#provider;
        require(client, `the SDK stored no client${because}`);
        const { client_id, token_endpoint_auth_method: method } = client;
        Object.assign(details, { url: endpoint, status: 201, client_id, method });
    }

    async #authorize(details, because) {
        const url = this.#provider.authorizationUrl;
        require(url, `no address for the browser${because}`);
        const asked = url.searchParams;
        this.#recorder.keepSecret(asked.get('state'), asked.get('code_challenge'));
        require(asked.get('code_challenge_method') === 'S256', 'no S256 was asked for');
        require(asked.get('resource') === this.#options.url, `resource asked for: ${asked.get('resource')}`);
        const answered = (await this.#agent.visit(url, this.#options['redirect-uri'])).searchParams;
        const names = [...answered.keys()];
        require(new Set(names).size === names.length, `a parameter came twice: ${names}`);
        const code = answered.get('code');
        this.#recorder.keepSecret(code);
        // The SDK leaves the comparison of state to the application.
        require(answered.get('state') === asked.get('state'), 'state is not the one sent');
        require(answered.get('iss') === this.#metadata.issuer, `iss is ${answered.get('iss')}`);
        const wanted = this.#options.deny ? 'error' : 'code';
        require(answered.get(wanted), `the callback has ${answered.get('error') ?? 'no error'}, wanted: ${wanted}`);
        const answer = code ? `code(${code.length} characters)` : answered.get('error');
        const { hops, pressed } = this.#agent;
        Object.assign(details, { hops: hops.length, pressed: pressed.join(), scope: asked.get('scope'), answer });
        return answered;
    }

    async #checkDenied(details, transport, callback) {
        let refusal;
        try {
            await transport.finishAuth(callback);
        } catch (failure) {
            refusal = failure;
        }
        require(refusal?.code === 'access_denied', `the SDK surfaced ${refusal?.name} ${refusal?.code}: ${refusal?.message}`);
        const requests = this.#recorder.exchanges.filter((x) => x.form?.grant_type).length;
        require(requests === 0, 'a token request was sent all the same');
        Object.assign(details, { error: `${refusal.name}(${refusal.code})`, token_requests: requests });
    }

    async #redeem(details, transport, callback) {
        await transport.finishAuth(callback);
        const grants = this.#recorder.exchanges.filter((x) => x.form?.grant_type === 'authorization_code');
        require(grants.length === 1, `${grants.length} code exchanges were sent, wanted one`);
        const [{ url, status }] = grants;
        require(url === this.#metadata.token_endpoint, `the code went to ${url}`);
        require(status === 200, `${url} answered ${status}`);
        const [tokens] = this.#provider.history;
        require(tokens, 'the SDK stored no tokens');
        require(tokens.refresh_token, 'no refresh token came with the access token');
        const { expires_in, scope, access_token, refresh_token } = tokens;
        Object.assign(details, { url, status, expires_in, scope });
        Object.assign(details, { access_token: `(${access_token.length})`, refresh_token: `(${refresh_token.length})` });
    }

    async #initialize(details, client, transport) {
        await client.connect(transport);
        const protocol = client.getNegotiatedProtocolVersion();
        const method = protocol >= '2026' ? 'server/discover' : 'initialize';
        this.#seenRpc(method);
        Object.assign(details, { method, protocol, server: client.getServerVersion()?.name });
    }

    async #listTools(details, client) {
        const names = (await client.listTools()).tools.map((tool) => tool.name);
        this.#seenRpc('tools/list');
        require(names.includes(this.#options.tool), `${this.#options.tool} is not among ${names}`);
        details.count = names.length;
    }

    async #call(client) {
        const { tool, expect } = this.#options;
        const result = await client.callTool({ name: tool, arguments: JSON.parse(this.#options.arguments) });
        const text = result.content.map((part) => part.text ?? '').join('');
        require(!result.isError, `the tool failed: ${text.slice(0, 200)}`);
        require(text.includes(expect), `the result lacks '${expect}': '${text.slice(0, 200)}'`);
        return text;
    }

    /** The SDK refreshes when a request is answered 401, and then sends that request again. */
    async #refresh(details, client) {
        const start = this.#recorder.exchanges.length;
        const presses = this.#agent.pressed.length;
        const { url: mcp } = this.#options;
        this.#provider.spoilAccessToken();
        const text = await this.#call(client);
        this.#seen('call with the spoilt token', 'POST', mcp, 401, { start, bearer: digest('no-longer-valid') });
        const url = this.#metadata.token_endpoint;
        const { form } = this.#seen('refresh', 'POST', url, 200, { start });
        require(form?.grant_type === 'refresh_token', `grant_type is ${form?.grant_type}`);
        const { history } = this.#provider;
        require(history.length === 2, `${history.length} token sets were stored, wanted two`);
        const [before, after] = history;
        require(after.access_token !== before.access_token, 'the access token is the old one');
        require(after.refresh_token !== before.refresh_token, 'the refresh token is the old one');
        require(this.#agent.pressed.length === presses, 'the person was asked again');
        Object.assign(details, { url, status: 200, expires_in: after.expires_in, scope: after.scope });
        return { text, start };
    }
}

const USAGE = `usage: node sign_in.mjs URL --tool NAME [options]
  --arguments JSON    the tool's arguments
  --expect TEXT       text that the tool's result must contain
  --user NAME         the made-up user to sign in as (default: the first)
  --deny              press deny; expect access_denied
  --json              print one JSON document instead of lines
  --auth-method NAME  none (default), client_secret_basic, client_secret_post, or unset
  --protocol NAME     legacy (initialize; default), auto (server/discover first), or 2026-07-28
  --redirect-uri URI  nothing needs to listen there
  --timeout SECONDS   for everything (default 60)`;

function readOptions() {
    const text = (fallback) => ({ type: 'string', default: fallback });
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: {
            tool: { type: 'string' },
            arguments: text('{}'),
            expect: text(''),
            user: { type: 'string' },
            deny: { type: 'boolean', default: false },
            json: { type: 'boolean', default: false },
            'auth-method': text('none'),
            protocol: text('legacy'),
            'redirect-uri': text('http://127.0.0.1:53682/callback'),
            timeout: text('60'),
        },
    });
    JSON.parse(values.arguments);
    if (positionals.length !== 1 || !values.tool) throw new Error('one URL and --tool are needed');
    return { ...values, url: positionals[0] };
}

let options;
try {
    options = readOptions();
} catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    process.exit(2);
}
process.exit((await new SignIn(options).run()) ? 0 : 1);
