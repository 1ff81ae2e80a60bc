"""A transport that lets everything through and writes down what was asked and answered.

The steps of a sign-in are judged by this record, not by what the SDK says of itself. Nothing secret
is kept: tokens become short hashes, of codes and verifiers only the length stays.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from urllib.parse import parse_qsl

import httpx2

SECRET = {"code", "code_verifier", "refresh_token", "client_secret", "access_token"}
INTERESTING = ("accept", "authorization", "content-type", "mcp-protocol-version", "mcp-method", "origin", "user-agent")


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:12]


@dataclass
class Exchange:
    method: str
    url: str
    status: int
    headers: dict[str, str]
    form: dict[str, str]
    """The form's parameters; of a secret one, only how long it was."""
    body: dict | None
    """A JSON body that is not JSON-RPC: a registration."""
    rpc: str | None
    """The JSON-RPC method of the body."""
    bearer: str | None
    """A hash of the bearer token."""
    challenge: str | None


class Recorder(httpx2.AsyncBaseTransport):
    def __init__(self) -> None:
        self._inner = httpx2.AsyncHTTPTransport()
        self.exchanges: list[Exchange] = []
        self.secrets: set[str] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        content = (await request.aread()).decode()
        response = await self._inner.handle_async_request(request)
        self.exchanges.append(self._describe(request, content, response))
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _describe(self, request: httpx2.Request, content: str, response: httpx2.Response) -> Exchange:
        headers = {name: request.headers[name] for name in INTERESTING if name in request.headers}
        bearer = None
        if "authorization" in headers:
            scheme, _, credentials = headers["authorization"].partition(" ")
            self.secrets.add(credentials)
            bearer = digest(credentials) if scheme == "Bearer" else None
            headers["authorization"] = f"{scheme} ({len(credentials)} characters)"
        form, body = {}, None
        if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs = parse_qsl(content, keep_blank_values=True)
            self.secrets.update(value for name, value in pairs if name in SECRET)
            form = {name: f"({len(value)} characters)" if name in SECRET else value for name, value in pairs}
        elif content:
            body = json.loads(content)
        return Exchange(
            method=request.method,
            url=str(request.url.copy_with(query=None)),
            status=response.status_code,
            headers=headers,
            form=form,
            body=body if body and "jsonrpc" not in body else None,
            rpc=body.get("method") if body else None,
            bearer=bearer,
            challenge=response.headers.get("www-authenticate"),
        )

    def find(self, wanted: Callable[[Exchange], bool], start: int = 0) -> Exchange | None:
        return next(filter(wanted, self.exchanges[start:]), None)

    def redact(self, text: str) -> str:
        for secret in sorted(filter(None, self.secrets), key=len, reverse=True):
            text = text.replace(secret, "(secret)")
        return text

    def rows(self) -> Iterator[dict]:
        for exchange in self.exchanges:
            yield {name: value for name, value in asdict(exchange).items() if value not in (None, {})}
