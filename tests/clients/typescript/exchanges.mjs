// A `fetch` that lets everything through and writes down what was asked and answered.
//
// The steps of a sign-in are judged by this record, not by what the SDK says of itself. Nothing secret
// is kept: tokens become short hashes, of codes and verifiers only the length stays.

import { createHash } from 'node:crypto';

const SECRET = new Set(['code', 'code_verifier', 'refresh_token', 'client_secret', 'access_token']);
const INTERESTING = [
    'accept', 'authorization', 'content-type', 'mcp-protocol-version', 'mcp-method', 'origin', 'user-agent',
];

export class Recorder {
    exchanges = [];
    #secrets = new Set();

    /** Given to the SDK in place of the global `fetch`. */
    fetch = async (input, init) => {
        const request = new Request(input, init);
        const content = request.body ? await request.clone().text() : '';
        const response = await fetch(request);
        this.exchanges.push(this.#describe(request, content, response));
        return response;
    };

    keepSecret(...secrets) {
        for (const secret of secrets) if (secret) this.#secrets.add(secret);
    }

    redact(text) {
        const longestFirst = [...this.#secrets].sort((a, b) => b.length - a.length);
        return longestFirst.reduce((shown, secret) => shown.replaceAll(secret, '(secret)'), text);
    }

    #describe(request, content, response) {
        const url = new URL(request.url);
        url.search = '';
        const exchange = { method: request.method, url: url.href, status: response.status, headers: {} };
        for (const name of INTERESTING) {
            if (request.headers.has(name)) exchange.headers[name] = request.headers.get(name);
        }
        const { authorization, 'content-type': kind = '' } = exchange.headers;
        if (authorization) {
            const [scheme, credentials] = authorization.split(' ');
            this.keepSecret(credentials);
            if (scheme === 'Bearer') exchange.bearer = createHash('sha256').update(credentials).digest('hex').slice(0, 12);
            exchange.headers.authorization = `${scheme} (${credentials.length} characters)`;
        }
        if (kind.startsWith('application/x-www-form-urlencoded')) {
            exchange.form = {};
            for (const [name, value] of new URLSearchParams(content)) {
                if (SECRET.has(name)) this.keepSecret(value);
                exchange.form[name] = SECRET.has(name) ? `(${value.length} characters)` : value;
            }
        } else if (content) {
            const body = JSON.parse(content);
            if (body.jsonrpc) exchange.rpc = body.method;
            else exchange.body = body;
        }
        const challenge = response.headers.get('www-authenticate');
        if (challenge) exchange.challenge = challenge;
        return exchange;
    }
}
