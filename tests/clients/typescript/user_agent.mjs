// A headless web browser: just enough of one for a person's part of a sign-in.
//
// It follows redirects by hand, keeps cookies, reads the forms of each page with an HTML parser and
// presses one button. Where a browser could refuse what a server does, it refuses too: it obeys
// `form-action` of a page's Content-Security-Policy on every hop after the button, and it sends
// `Origin`, `Referer` and `Sec-Fetch-*` as a browser does (which Node's `fetch` cannot).

import http from 'node:http';
import https from 'node:https';

import { parse } from 'node-html-parser';

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** The pages did not lead back to the client. */
export class UserAgentError extends Error {}

export class UserAgent {
    /** What was asked and answered: method, path without the query, status. */
    hops = [];
    /** The buttons pressed, as name=value. */
    pressed = [];
    #cookies = new Map();
    #decision;
    #user;
    #typed;

    /** `typed` is what the person types into text fields, by the field's name. */
    constructor({ decision = 'approve', user, typed = {} } = {}) {
        this.#decision = decision;
        this.#user = user;
        this.#typed = typed;
    }

    /**
     * Goes from `url` through the pages until a redirect to `redirectUri`, and returns that address.
     * With `deliver`, the address is also fetched, for a client that listens there.
     */
    async visit(url, redirectUri, { deliver = false } = {}) {
        const { location } = await this.#walk(url, { redirectUri, deliver });
        if (!location) throw new UserAgentError('the pages ended before they led back to the client');
        return location;
    }

    /** Goes from `url` through the pages to the first one that has nothing to press, and returns that page's title. */
    async visitToEnd(url) {
        return (await this.#walk(url, {})).title;
    }

    async #walk(url, { redirectUri, deliver = false }) {
        let request = { method: 'GET', url: new URL(url) };
        let page = { url: request.url, policies: [] };
        for (let hop = 0; hop < 20; hop += 1) {
            const response = await this.#send(request, page.url.origin);
            if (REDIRECTS.has(response.status)) {
                const next = new URL(response.headers.location ?? '', request.url);
                if (!formActionAllows(page, next)) {
                    throw new UserAgentError(`form-action of ${page.url.pathname} forbids going on to ${next.origin}`);
                }
                request = response.status >= 307
                    ? { ...request, url: next, origin: 'null' }
                    : { method: 'GET', url: next, referer: request.referer };
                if (next.href.split('?')[0] !== redirectUri) continue;
                if (deliver) await this.#send(request, page.url.origin);
                return { location: next };
            }
            page = { url: request.url, policies: response.policies };
            const chosen = this.#choose(response, page, redirectUri === undefined);
            if (!chosen.form) return { title: chosen.title };
            request = this.#press(response, page, chosen);
        }
        throw new UserAgentError('20 hops and still not back at the client');
    }

    /** What a person would press on this page; on the last page of all, nothing. */
    #choose(response, page, mayBeLast) {
        const path = page.url.pathname;
        const kind = response.headers['content-type'] ?? '';
        const html = parse(kind.startsWith('text/html') ? response.text : '');
        const title = html.querySelector('title')?.text.trim() ?? '';
        if (response.status !== 200 || !kind.startsWith('text/html')) {
            throw new UserAgentError(`${path} answered ${response.status} '${kind}' '${title}'`);
        }
        const forms = html.querySelectorAll('form').map(readForm);
        const chosen = findButton(forms, 'decision', this.#decision)
            ?? findButton(forms, 'user', this.#user)
            ?? fill(forms, this.#typed);
        if (!chosen && !mayBeLast) {
            const buttons = JSON.stringify(forms.map((form) => form.buttons));
            throw new UserAgentError(`${path} '${title}' has no button to press: ${buttons}`);
        }
        return { title, ...chosen };
    }

    #press(response, page, { form, button }) {
        const path = page.url.pathname;
        if (form.method !== 'post') throw new UserAgentError(`the form of ${path} uses ${form.method}, not post`);
        if (button) this.pressed.push(button.join('='));
        const target = form.action ? new URL(form.action, page.url) : page.url;
        if (!formActionAllows(page, target)) throw new UserAgentError(`form-action of ${path} forbids its own form`);
        const hidden = response.headers['referrer-policy']?.toLowerCase() === 'no-referrer';
        return {
            method: 'POST',
            url: target,
            body: new URLSearchParams([...form.fields, ...(button ? [button] : [])]).toString(),
            origin: hidden ? 'null' : page.url.origin,
            referer: hidden ? undefined : page.url.href,
        };
    }

    #send(request, initiator) {
        const { method, url, body } = request;
        const site = this.hops.length === 0 ? 'none' : url.origin === initiator ? 'same-origin' : 'cross-site';
        const headers = {
            accept: 'text/html,application/xhtml+xml,*/*;q=0.8',
            'sec-fetch-dest': 'document',
            'sec-fetch-mode': 'navigate',
            'sec-fetch-site': site,
            'user-agent': 'Mozilla/5.0 (headless; sign-in test)',
        };
        const cookie = this.#cookiesFor(url);
        if (cookie) headers.cookie = cookie;
        if (request.referer) headers.referer = request.referer;
        if (body !== undefined) {
            headers['content-type'] = 'application/x-www-form-urlencoded';
            headers['content-length'] = Buffer.byteLength(body);
            headers.origin = request.origin;
        }
        return new Promise((resolve, reject) => {
            const { request: open } = url.protocol === 'https:' ? https : http;
            const outgoing = open(url, { method, headers, agent: false, timeout: 30_000 }, async (response) => {
                try {
                    const chunks = await response.toArray();
                    this.hops.push(`${method} ${url.pathname} ${response.statusCode}`);
                    for (const line of response.headers['set-cookie'] ?? []) this.#keep(line, url);
                    resolve({
                        status: response.statusCode,
                        headers: response.headers,
                        policies: response.headersDistinct['content-security-policy'] ?? [],
                        text: Buffer.concat(chunks).toString(),
                    });
                } catch (error) {
                    reject(error);
                }
            });
            outgoing.on('timeout', () => outgoing.destroy(new UserAgentError(`${url.pathname} did not answer`)));
            outgoing.on('error', reject);
            outgoing.end(body);
        });
    }

    #keep(line, url) {
        const [pair, ...attributes] = line.split(';').map((part) => part.trim());
        const at = pair.indexOf('=');
        const given = Object.fromEntries(
            attributes.map((text) => [text.split('=')[0].toLowerCase(), text.slice(text.indexOf('=') + 1)]),
        );
        const cookie = {
            name: pair.slice(0, at),
            value: pair.slice(at + 1),
            host: url.hostname,
            path: given.path?.startsWith('/') ? given.path : url.pathname.replace(/\/[^/]*$/, '') || '/',
            secure: 'secure' in given,
        };
        const key = `${cookie.host} ${cookie.path} ${cookie.name}`;
        const ends = 'max-age' in given ? Date.now() + Number(given['max-age']) * 1000 : Date.parse(given.expires);
        if (ends <= Date.now()) this.#cookies.delete(key);
        else this.#cookies.set(key, cookie);
    }

    #cookiesFor(url) {
        return [...this.#cookies.values()]
            .filter(({ host, path, secure }) => {
                const below = path.endsWith('/') ? path : `${path}/`;
                return host === url.hostname && `${url.pathname}/`.startsWith(below) && (!secure || url.protocol === 'https:');
            })
            .map(({ name, value }) => `${name}=${value}`)
            .join('; ');
    }
}

function readForm(form) {
    const controls = form.querySelectorAll('input[name], button[name]').map((control) => ({
        pair: [control.getAttribute('name'), control.getAttribute('value') ?? ''],
        kind: (control.getAttribute('type') ?? (control.rawTagName === 'button' ? 'submit' : 'text')).toLowerCase(),
        checked: control.hasAttribute('checked'),
    }));
    const optional = ['checkbox', 'radio'];
    return {
        action: form.getAttribute('action') ?? '',
        method: (form.getAttribute('method') ?? 'get').toLowerCase(),
        fields: controls.filter((c) => c.kind !== 'submit' && (!optional.includes(c.kind) || c.checked)).map((c) => c.pair),
        buttons: controls.filter((c) => c.kind === 'submit').map((c) => c.pair),
    };
}

/** The first button of that name; with a value, the one with that value. */
function findButton(forms, name, value) {
    for (const form of forms) {
        const button = form.buttons.find((pair) => pair[0] === name && (value === undefined || pair[1] === value));
        if (button) return { form, button };
    }
    return undefined;
}

/** The first form with a field that a person knows what to type into, filled in; a button without a name says nothing. */
function fill(forms, typed) {
    const form = forms.find(({ fields }) => fields.some(([name]) => name in typed));
    if (!form) return undefined;
    const fields = form.fields.map(([name, value]) => [name, typed[name] ?? value]);
    return { form: { ...form, fields }, button: form.buttons[0] };
}

/** Whether every policy of the page lets a form of it navigate to `target`. */
function formActionAllows(page, target) {
    return page.policies
        .flatMap((policy) => policy.split(/[;,]/))
        .map((directive) => directive.trim().split(/\s+/))
        .filter(([name]) => name.toLowerCase() === 'form-action')
        .every(([, ...sources]) => sources.some((source) => sourceMatches(source, page.url, target)));
}

function sourceMatches(source, page, target) {
    if (source === '*') return target.protocol.startsWith('http');
    if (source === "'self'") return page.origin === target.origin;
    if (source.endsWith(':')) return source.toLowerCase() === target.protocol;
    const [scheme, rest] = source.includes('://') ? source.split('://') : [page.protocol.slice(0, -1), source];
    const host = rest.split('/')[0];
    return `${scheme}:` === target.protocol && [target.host, `${target.hostname}:*`].includes(host);
}
