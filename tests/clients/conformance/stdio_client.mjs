// The client under test of the official suite's client scenarios: one that knows nothing but stdio, with
// `mcp-stdio-bridge connect` between it and the server.
//
// The suite appends the server's address and names the scenario in MCP_CONFORMANCE_SCENARIO. What a scenario wants of a
// client that the bridge has no part in (which tools are called, what is answered to a question) is done here; all that
// HTTP and OAuth want is the bridge's.
//
//   node stdio_client.mjs PROGRAM SERVER-URL

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ElicitRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const [program, server] = process.argv.slice(2);
const scenario = process.env.MCP_CONFORMANCE_SCENARIO ?? '';
const context = JSON.parse(process.env.MCP_CONFORMANCE_CONTEXT ?? '{}');
const MODERN = '2026-07-28';
const version = process.env.MCP_CONFORMANCE_PROTOCOL_VERSION ?? MODERN;
const modern = version >= MODERN;

const directory = mkdtempSync(path.join(tmpdir(), 'stdio-client-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));

function file(name, text) {
    const where = path.join(directory, name);
    writeFileSync(where, text, { mode: 0o600 });
    return where;
}

/** How the bridge is told who the client is, where the scenario says. */
function options() {
    const browser = fileURLToPath(new URL('./browser.mjs', import.meta.url));
    const all = ['connect', server, '--browser', browser, '--credentials-directory', path.join(directory, 'kept')];
    if (context.client_id) all.push('--client-id', context.client_id);
    else all.push('--client-metadata-url', 'https://conformance-test.local/client-metadata.json');
    if (context.client_secret) all.push('--client-secret-file', file('secret', context.client_secret));
    if (context.private_key_pem) all.push('--client-key-file', file('key.pem', context.private_key_pem));
    if (scenario.startsWith('auth/client-credentials')) all.push('--grant', 'client-credentials');
    if (context.valid_jwt) all.push('--grant', 'assertion', '--assertion-file', file('assertion', context.valid_jwt));
    if (context.idp_id_token) {
        all.push('--grant', 'enterprise', '--id-token-file', file('id-token', context.idp_id_token));
        all.push('--idp-client-id', context.idp_client_id, '--idp-token-endpoint', context.idp_token_endpoint);
    }
    return all;
}

/** A client of the version without sessions: each request says who it is. */
class Modern {
    #waiting = new Map();
    #next = 1;
    #version = version;

    constructor() {
        this.child = spawn(program, options(), { stdio: ['pipe', 'pipe', 'inherit'] });
        this.child.on('close', () => {
            for (const { reject } of this.#waiting.values()) reject(new Error('the bridge has ended'));
        });
        createInterface({ input: this.child.stdout }).on('line', (line) => {
            const message = JSON.parse(line);
            if (message.method === undefined) this.#waiting.get(message.id)?.resolve(message);
        });
    }

    async send(method, params = {}, tried = false) {
        const id = this.#next++;
        const answered = new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
        const meta = {
            'io.modelcontextprotocol/protocolVersion': this.#version,
            'io.modelcontextprotocol/clientInfo': { name: 'stdio-client', version: '1.0.0' },
            'io.modelcontextprotocol/clientCapabilities': { elicitation: {}, roots: {}, sampling: {} },
        };
        const request = { jsonrpc: '2.0', id, method, params: { ...params, _meta: meta } };
        this.child.stdin.write(`${JSON.stringify(request)}\n`);
        const answer = await answered;
        const supported = answer.error?.code === -32022 ? answer.error.data?.supported : undefined;
        if (supported?.includes(MODERN) && !tried) {
            this.#version = MODERN;
            return this.send(method, params, true);
        }
        return answer;
    }

    async request(method, params) {
        const answer = await this.send(method, params);
        if (answer.error) throw new Error(`${method}: ${answer.error.code} ${answer.error.message}`);
        return answer.result;
    }

    async close() {
        const closed = new Promise((resolve) => this.child.once('close', resolve));
        this.child.stdin.end();
        await closed;
    }
}

/** The same for a version with sessions, by the official SDK. */
class Legacy {
    async open() {
        const capabilities = { elicitation: { form: { applyDefaults: true } } };
        this.client = new Client({ name: 'stdio-client', version: '1.0.0' }, { capabilities });
        // Every default of what is asked is taken.
        this.client.setRequestHandler(ElicitRequestSchema, async () => ({ action: 'accept', content: {} }));
        const transport = new StdioClientTransport({
            command: program,
            args: options(),
            env: { ...process.env },
            stderr: 'inherit',
        });
        await this.client.connect(transport);
    }

    async request(method, params = {}) {
        switch (method) {
            case 'tools/list':
                return this.client.listTools(params);
            case 'tools/call':
                return this.client.callTool(params);
            default:
                throw new Error(`nobody asks for ${method} here`);
        }
    }

    async close() {
        await this.client.close();
    }
}

/** A question of the server is answered by the same request once more, with what it is to carry. */
async function withAnswers(client, name, between = async () => {}) {
    const result = await client.request('tools/call', { name, arguments: {} });
    if (result.resultType !== 'input_required') return;
    const inputResponses = {};
    for (const key of Object.keys(result.inputRequests)) {
        inputResponses[key] = { action: 'accept', content: { confirmed: true } };
    }
    await between();
    const again = { name, arguments: {}, inputResponses };
    if (result.requestState !== undefined) again.requestState = result.requestState;
    await client.request('tools/call', again);
}

async function play(client) {
    if (scenario === 'request-metadata') await client.request('server/discover');
    const { tools } = await client.request('tools/list');
    const named = (name) => tools.find((tool) => tool.name === name);
    switch (scenario) {
        case 'json-schema-ref-no-deref':
        case 'request-metadata':
            return;
        case 'elicitation-sep1034-client-defaults':
            await client.request('tools/call', { name: 'test_client_elicitation_defaults', arguments: {} });
            return;
        case 'sse-retry':
            await client.request('tools/call', { name: tools[0].name, arguments: {} });
            return;
        case 'json-schema-2020-12-preservation': {
            const schema = named('json_schema_2020_12_tool').inputSchema;
            await client.request('tools/call', { name: 'json_schema_echo', arguments: { schema } });
            return;
        }
        case 'http-standard-headers':
            await client.request('tools/call', { name: tools[0].name, arguments: {} });
            await client.request('tools/call', { name: tools[1].name, arguments: {} });
            for (const { uri } of (await client.request('resources/list')).resources) {
                await client.request('resources/read', { uri });
            }
            for (const { name } of (await client.request('prompts/list')).prompts) {
                await client.request('prompts/get', { name });
            }
            return;
        case 'http-custom-headers':
            for (const call of context.toolCalls) await client.request('tools/call', call);
            return;
        case 'http-invalid-tool-headers':
            for (const { name } of tools) {
                await client.request('tools/call', { name, arguments: { region: 'us-west1', query: 'SELECT 1' } });
            }
            return;
        case 'sep-2322-client-request-state':
            await withAnswers(client, 'test_mrtr_echo_state', () =>
                client.request('tools/call', { name: 'test_mrtr_unrelated', arguments: {} }));
            await withAnswers(client, 'test_mrtr_no_state');
            await withAnswers(client, 'test_mrtr_no_result_type');
            return;
        default:
            await client.request('tools/call', { name: tools[0].name, arguments: { a: 2, b: 3 } });
    }
}

let client;
try {
    client = modern ? new Modern() : new Legacy();
    await client.open?.();
    await play(client);
    await client.close();
} catch (error) {
    console.error(error.message);
    process.exitCode = 1;
    client?.child?.kill();
    await client?.client?.close();
}
