// Runs the official conformance suite's authorization mode against an authorization server.
//
// Proves what the suite checks: the metadata, and a whole authorization code grant. A client is
// registered first, and the address that the suite prints for a person is walked by a headless
// browser. The suite's own checks.json files decide; a failed check, or fewer than two scenarios
// that really checked something, make the exit code 1.
//
//   node authorization.mjs --issuer http://127.0.0.1:8080 --resource http://127.0.0.1:8080/echo/mcp

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

import { UserAgent } from '../typescript/user_agent.mjs';

const MODULES = fileURLToPath(new URL('./node_modules/', import.meta.url));
const SUITE = path.join(MODULES, '@modelcontextprotocol/conformance/dist/index.js');
const USAGE = `usage: node authorization.mjs --issuer URL [options]
  --resource URI      what the token is for (the suite's resource parameter)
  --user NAME         the made-up user to sign in as (default: the first)
  --port NUMBER       where the suite listens (default 3900, or a free one if that is taken)
  --output DIRECTORY  keep the suite's files there
  --timeout SECONDS   for everything (default 120)`;

/** The suite needs Node 22 or newer: this one, or the one that the package `node` brings. */
async function nodeForTheSuite() {
    if (Number(process.versions.node.split('.')[0]) >= 22) return process.execPath;
    const packaged = path.join(MODULES, 'node/bin/node');
    await access(packaged);
    return packaged;
}

async function freePort(wanted) {
    for (const port of [wanted, 0]) {
        const server = createServer();
        const listening = once(server, 'listening').then(() => true, () => false);
        server.listen(port, '127.0.0.1');
        if (!(await listening)) continue;
        const found = server.address().port;
        server.close();
        await once(server, 'close');
        return found;
    }
    throw new Error('no free port');
}

async function register(issuer, redirectUri) {
    const url = new URL(issuer);
    url.pathname = `/.well-known/oauth-authorization-server${url.pathname.replace(/\/$/, '')}`;
    const found = await fetch(url);
    if (found.status !== 200) throw new Error(`${url} answered ${found.status}`);
    const { registration_endpoint: endpoint } = await found.json();
    if (!endpoint) throw new Error(`${url} names no registration_endpoint`);
    const response = await fetch(endpoint, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
            client_name: 'conformance suite',
            redirect_uris: [redirectUri],
            grant_types: ['authorization_code', 'refresh_token'],
            response_types: ['code'],
            token_endpoint_auth_method: 'none',
            application_type: 'native',
        }),
    });
    if (response.status !== 201) throw new Error(`${endpoint} answered ${response.status}: ${await response.text()}`);
    const { client_id: clientId } = await response.json();
    console.log(`registered: ${endpoint} client_id=${clientId} redirect_uri=${redirectUri}`);
    return clientId;
}

/** Runs the suite to its end; plays the person once it listens and has printed an address. */
async function runSuite(options, clientId, redirectUri, port, output, signal) {
    const args = [SUITE, 'authorization', '--url', options.issuer, '--client-id', clientId, '-p', `${port}`, '-o', output];
    if (options.resource) args.push('--resource', options.resource);
    const suite = spawn(await nodeForTheSuite(), args, { stdio: ['ignore', 'pipe', 'inherit'], signal });
    const closed = once(suite, 'close');
    let address;
    let listening = false;
    let visit;
    // A visit that fails would leave the suite waiting: end it, and tell why at the end.
    const problems = [];
    const play = async () => {
        const agent = new UserAgent({ user: options.user });
        try {
            await agent.visit(address, redirectUri, { deliver: true });
        } catch (error) {
            problems.push(`the browser did not come back: ${error.message}`);
            suite.kill();
        }
        console.log(`browser: ${agent.hops.join(', ')}`);
    };
    createInterface({ input: suite.stdout }).on('line', (line) => {
        if (line.startsWith('http')) address = line;
        else if (line.startsWith('Callback server started')) listening = true;
        else if (line.startsWith('===')) console.log(`suite: ${line}`);
        if (address && listening) visit ??= play();
    });
    const [code] = await closed;
    await visit;
    if (!visit) problems.push('the suite never asked for a person');
    if (code !== 0) problems.push(`the suite ended with ${code ?? 'a signal'}`);
    return problems;
}

async function readResults(output) {
    const scenarios = [];
    for (const name of (await readdir(output)).sort()) {
        // A scenario that was ended half-way has left no checks.
        const text = await readFile(path.join(output, name, 'checks.json'), 'utf8').catch(() => '[]');
        const checks = JSON.parse(text);
        const count = (status) => checks.filter((check) => check.status === status).length;
        scenarios.push({
            name: name.replace(/^authorization-server-/, '').replace(/-\d{4}-\d\d-\d\dT.*$/, ''),
            passed: count('SUCCESS'),
            failed: count('FAILURE'),
            warned: count('WARNING'),
            messages: checks.filter((check) => check.errorMessage).map((c) => `${c.status} ${c.id}: ${c.errorMessage}`),
        });
    }
    return scenarios;
}

async function main(options) {
    const port = await freePort(Number(options.port));
    const redirectUri = `http://127.0.0.1:${port}/callback`;
    const output = options.output ?? (await mkdtemp(path.join(tmpdir(), 'conformance-')));
    try {
        const clientId = await register(options.issuer, redirectUri);
        const signal = AbortSignal.timeout(Number(options.timeout) * 1000);
        const problems = await runSuite(options, clientId, redirectUri, port, output, signal);
        const scenarios = await readResults(output);
        for (const { name, passed, failed, warned, messages } of scenarios) {
            console.log(`scenario: ${name} SUCCESS=${passed} FAILURE=${failed} WARNING=${warned}`);
            for (const message of messages) console.log(`  ${message}`);
            if (failed > 0) problems.push(`${name} failed`);
        }
        const judged = scenarios.filter(({ passed, failed }) => passed + failed > 0).length;
        if (judged < 2) problems.push(`only ${judged} scenarios ran, wanted two`);
        return problems;
    } finally {
        if (!options.output) await rm(output, { recursive: true });
    }
}

function readOptions() {
    const { values } = parseArgs({
        options: {
            issuer: { type: 'string' },
            resource: { type: 'string' },
            user: { type: 'string' },
            port: { type: 'string', default: '3900' },
            output: { type: 'string' },
            timeout: { type: 'string', default: '120' },
        },
    });
    if (!values.issuer) throw new Error('--issuer is needed');
    return values;
}

let options;
try {
    options = readOptions();
} catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    process.exit(2);
}
const problems = await main(options).catch((error) => [`${error.message} ${error.cause?.message ?? ''}`.trim()]);
console.log(problems.length === 0 ? 'conformance: ok' : `conformance: FAILED: ${problems.join('; ')}`);
process.exit(problems.length === 0 ? 0 : 1);
