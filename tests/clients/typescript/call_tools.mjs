// Calls tools of MCP servers with the official TypeScript SDK: `@modelcontextprotocol/sdk` (version 1) or
// `@modelcontextprotocol/client` (version 2).
//
// Proves that a server is reached as its users reach it: a handshake, the list of tools, and calls whose answers are
// looked into. A server that asks the user or the model while it works is answered. Two servers are used at a time; the
// first thing that is not as it must be is named, and the exit code is 1.
//
//   node call_tools.mjs --sdk 2 --protocol 2026-07-28 '[{"url": "http://127.0.0.1:3000/mcp", "calls": [
//       {"tool": "echo", "arguments": {"message": "hi"}, "expect": "hi"}]}]'

import { parseArgs } from 'node:util';

import { within } from './within.mjs';

const INFO = { name: 'call-tools test', version: '1.0.0' };
const CAPABILITIES = { sampling: {}, elicitation: { form: {} } };

const byModel = async () => ({
    role: 'assistant',
    content: { type: 'text', text: 'an answer of the model' },
    model: 'none',
    stopReason: 'endTurn',
});
const byUser = async () => ({ action: 'accept', content: { name: 'Ada' } });

function require(condition, why) {
    if (!condition) throw new Error(why);
}

/** The two versions of the SDK: a client that has connected, and how it calls a tool. */
const SDKS = {
    1: async (url, protocol) => {
        require(protocol === 'legacy', 'version 1 of the SDK only knows the legacy protocol');
        const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
        const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
        const types = await import('@modelcontextprotocol/sdk/types.js');
        const client = new Client(INFO, { capabilities: CAPABILITIES });
        client.setRequestHandler(types.CreateMessageRequestSchema, byModel);
        client.setRequestHandler(types.ElicitRequestSchema, byUser);
        const transport = new StreamableHTTPClientTransport(new URL(url));
        await client.connect(transport);
        return {
            client,
            transport,
            protocol: transport.protocolVersion,
            call: (params, options) => client.callTool(params, undefined, options),
        };
    },
    2: async (url, protocol) => {
        const { Client, StreamableHTTPClientTransport } = await import('@modelcontextprotocol/client');
        const mode = protocol === 'legacy' ? protocol : { pin: protocol };
        const client = new Client(INFO, { capabilities: CAPABILITIES, versionNegotiation: { mode } });
        client.setRequestHandler('sampling/createMessage', byModel);
        client.setRequestHandler('elicitation/create', byUser);
        const transport = new StreamableHTTPClientTransport(new URL(url));
        await client.connect(transport);
        return {
            client,
            transport,
            protocol: client.getNegotiatedProtocolVersion(),
            call: (params, options) => client.callTool(params, options),
        };
    },
};

async function call(connection, { tool, arguments: args, expect, progress = 0 }) {
    const seen = [];
    const onprogress = (update) => seen.push(update.progress);
    const result = await connection.call({ name: tool, arguments: args }, { onprogress, resetTimeoutOnProgress: true });
    const text = result.content.map((part) => part.text ?? '').join('');
    require(!result.isError, `${tool} failed: ${text.slice(0, 300)}`);
    require(text.includes(expect), `${tool}: the result lacks '${expect}': '${text.slice(0, 300)}'`);
    require(seen.length >= progress, `${tool}: ${seen.length} of ${progress} notifications of progress came`);
    require(seen.every((done, at) => at === 0 || seen[at - 1] <= done), `${tool}: progress came in the order ${seen}`);
    return text.length;
}

async function use(server, options) {
    const connection = await SDKS[options.sdk](server.url, options.protocol);
    const { client, transport, protocol } = connection;
    try {
        const modern = protocol >= '2026';
        require(modern === (options.protocol !== 'legacy'), `${protocol} was negotiated, wanted ${options.protocol}`);
        const names = (await client.listTools()).tools.map((tool) => tool.name);
        const calls = [];
        for (const what of server.calls) {
            require(names.includes(what.tool), `${what.tool} is not among ${names}`);
            calls.push(`${what.tool}=${await call(connection, what)}`);
        }
        if (!modern) await transport.terminateSession();
        return `protocol=${protocol} tools=${names.length} ${calls.join(' ')}`;
    } finally {
        await client.close();
    }
}

const USAGE = `usage: node call_tools.mjs SERVERS [options]
  SERVERS             [{"url": URL, "name": TEXT, "calls": [{"tool", "arguments", "expect", "progress"}]}]
  --sdk NUMBER        version of the SDK: 1 or 2 (default)
  --protocol NAME     legacy (initialize; default), or 2026-07-28
  --timeout SECONDS   for each server (default 60)`;

function readOptions() {
    const text = (fallback) => ({ type: 'string', default: fallback });
    const { values, positionals } = parseArgs({
        allowPositionals: true,
        options: { sdk: text('2'), protocol: text('legacy'), timeout: text('60') },
    });
    if (positionals.length !== 1 || !SDKS[values.sdk]) throw new Error('servers and --sdk 1 or 2 are needed');
    return { ...values, servers: JSON.parse(positionals[0]) };
}

let options;
try {
    options = readOptions();
} catch (error) {
    console.error(`${error.message}\n${USAGE}`);
    process.exit(2);
}
const waiting = [...options.servers];
let good = true;

async function worker() {
    for (let server = waiting.shift(); server; server = waiting.shift()) {
        let outcome;
        try {
            outcome = await within(Number(options.timeout), use(server, options));
        } catch (error) {
            outcome = `FAILED: ${error.constructor.name}: ${error.message}`;
            good = false;
        }
        console.log(`typescript sdk ${options.sdk}: ${server.name ?? server.url}: ${outcome}`);
    }
}

await Promise.all([worker(), worker()]);
process.exit(good ? 0 : 1);
