"""Signs in to a protected MCP server with the official Python SDK, from nothing but the server's URL.

Proves that the SDK's own OAuth support discovers, registers, authorizes, gets tokens, talks MCP,
refreshes and goes on, against this authorization server. Each step is judged by the requests that
really went over the wire; the first one that is missing is named, and the exit code is 1.

    python sign_in.py http://127.0.0.1:8080/echo/mcp --tool echo --arguments '{"message": "hi"}' --expect hi
"""

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from exchanges import Exchange, Recorder, digest
from user_agent import UserAgent


class StepFailed(Exception):
    """A step was not seen, or not as it must be."""


def require(condition: object, why: str) -> None:
    if not condition:
        raise StepFailed(why)


class Storage:
    """Keeps what the SDK stores, and every token set it ever stored."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        self.client: OAuthClientInformationFull | None = None
        self.history: list[OAuthToken] = []

    async def get_tokens(self) -> OAuthToken | None:
        return self.history[-1] if self.history else None

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.recorder.secrets.update(filter(None, (tokens.access_token, tokens.refresh_token)))
        self.history.append(tokens.model_copy())

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class SignIn:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.steps: list[dict] = []
        self.current = "discovery"
        self.recorder = Recorder()
        self.storage = Storage(self.recorder)
        self.agent = UserAgent(decision="deny" if options.deny else "approve", user=options.user)
        self.callback: dict[str, str] = {}
        metadata = OAuthClientMetadata(
            client_name="sign-in test (Python)",
            redirect_uris=[options.redirect_uri],
            token_endpoint_auth_method=None if options.auth_method == "unset" else options.auth_method,
        )
        self.provider = OAuthClientProvider(
            options.url, metadata, self.storage, redirect_handler=self.open_browser, callback_handler=self.wait_for_callback
        )

    # The two ends of the SDK's browser hand-over.

    async def open_browser(self, url: str) -> None:
        self.authorization = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        self.recorder.secrets.update((self.authorization["state"], self.authorization["code_challenge"]))
        location = await self.agent.visit(url, self.options.redirect_uri)
        pairs = parse_qs(urlsplit(location).query)
        require(all(len(values) == 1 for values in pairs.values()), f"a parameter came twice: {sorted(pairs)}")
        self.callback = {name: values[0] for name, values in pairs.items()}
        self.recorder.secrets.add(self.callback.get("code", ""))

    async def wait_for_callback(self) -> AuthorizationCodeResult:
        # The SDK leaves the error parameters of a callback to the application.
        if "error" in self.callback:
            raise OAuthFlowError(self.callback["error"])
        return AuthorizationCodeResult(
            code=self.callback.get("code", ""), state=self.callback.get("state"), iss=self.callback.get("iss")
        )

    # What must have happened.

    @contextmanager
    def step(self, name: str) -> Iterator[dict]:
        self.current = name
        details: dict = {}
        yield details
        self.steps.append({"name": name, "ok": True, **details})
        if not self.options.json:
            shown = " ".join(f"{key}={value}" for key, value in details.items())
            print(self.recorder.redact(f"step: {name} {shown} ... ok"), flush=True)

    def seen(self, what: str, method: str, url: str, status: int, start: int = 0, **equal: object) -> Exchange:
        """The exchange with that method, address and further facts; it must have had that status."""
        found = self.recorder.find(
            lambda x: (x.method, x.url) == (method, url) and all(getattr(x, k) == v for k, v in equal.items()), start
        )
        require(found, f"no {what} was sent ({method} {url})")
        require(found.status == status, f"{what}: {method} {url} answered {found.status}, not {status}")
        return found

    def check_discovery(self) -> None:
        with self.step("discovery") as details:
            url = self.options.url
            first = self.recorder.find(lambda x: x.url == url)
            require(first and first is self.recorder.exchanges[0], "the first request did not go to the MCP URL")
            require(first.bearer is None and first.status == 401, f"without a token it answered {first.status}, not 401")
            fields = [part.strip().partition("=") for part in (first.challenge or "").removeprefix("Bearer ").split(",")]
            prm_url = next((value.strip('"') for name, _, value in fields if name == "resource_metadata"), None)
            require(prm_url, f"WWW-Authenticate names no resource_metadata: {first.challenge}")
            self.seen("protected resource metadata", "GET", prm_url, 200)
            prm, metadata = self.provider.context.protected_resource_metadata, self.provider.context.oauth_metadata
            require(prm and metadata, "the SDK accepted no metadata")
            require(str(prm.resource) == url, f"resource is {prm.resource}, not the MCP URL")
            issuer = str(prm.authorization_servers[0])
            require(str(metadata.issuer) == issuer, f"issuer {metadata.issuer} is not {issuer}")
            metadata_url = f"{issuer}/.well-known/oauth-authorization-server"
            self.seen("authorization server metadata", "GET", metadata_url, 200)
            self.metadata = metadata
            details.update(url=url, status=401, resource_metadata=prm_url, metadata=metadata_url, issuer=issuer)

    def check_registration(self) -> None:
        with self.step("registration") as details:
            endpoint = str(self.metadata.registration_endpoint)
            self.seen("registration", "POST", endpoint, 201)
            client = self.storage.client
            require(client, "the SDK stored no client")
            details.update(url=endpoint, status=201, client_id=client.client_id, method=client.token_endpoint_auth_method)

    def check_authorization(self) -> None:
        with self.step("authorization") as details:
            require(self.callback, "the browser did not come back to the client")
            asked, answered = self.authorization, self.callback
            require(asked["code_challenge_method"] == "S256", "no S256 was asked for")
            require(asked.get("resource") == self.options.url, f"resource asked for: {asked.get('resource')}")
            require(answered.get("state") == asked["state"], "state is not the one sent")
            require(answered.get("iss") == str(self.metadata.issuer), f"iss is {answered.get('iss')}")
            wanted = "error" if self.options.deny else "code"
            require(wanted in answered, f"the callback has {answered.get('error', 'no error')}, wanted: {wanted}")
            details.update(hops=len(self.agent.hops), pressed=",".join(self.agent.pressed), scope=asked.get("scope"))
            details["answer"] = answered.get("error") or f"code({len(answered['code'])} characters)"

    def check_denied(self, error: str) -> None:
        with self.step("denial") as details:
            require(self.callback["error"] == "access_denied", f"the error is {self.callback['error']}")
            require("access_denied" in error, f"the SDK surfaced: {error or 'nothing'}")
            require(not self.recorder.find(lambda x: "grant_type" in x.form), "a token request was sent all the same")
            details.update(error="access_denied", token_requests=0)

    def check_token(self) -> None:
        with self.step("token") as details:
            endpoint = str(self.metadata.token_endpoint)
            grants = [x for x in self.recorder.exchanges if x.form.get("grant_type") == "authorization_code"]
            require(len(grants) == 1, f"{len(grants)} code exchanges were sent, wanted one")
            require(grants[0].url == endpoint, f"the code went to {grants[0].url}")
            require(grants[0].status == 200, f"{endpoint} answered {grants[0].status}")
            require(len(self.storage.history) == 1, "the SDK stored no tokens")
            self.tokens = tokens = self.storage.history[0]
            require(tokens.refresh_token, "no refresh token came with the access token")
            details.update(url=endpoint, status=200, expires_in=tokens.expires_in, scope=tokens.scope)
            details.update(access_token=f"({len(tokens.access_token)})", refresh_token=f"({len(tokens.refresh_token)})")

    def seen_rpc(self, method: str, tokens: OAuthToken, start: int = 0) -> Exchange:
        """That JSON-RPC method was answered 200 under that access token."""
        return self.seen(method, "POST", self.options.url, 200, start, rpc=method, bearer=digest(tokens.access_token))

    async def call(self, client: Client) -> str:
        result = await client.call_tool(self.options.tool, self.options.arguments)
        text = "".join(getattr(part, "text", "") for part in result.content)
        require(not result.is_error, f"the tool failed: {text[:200]}")
        require(self.options.expect in text, f"the result lacks {self.options.expect!r}: {text[:200]!r}")
        return text

    async def talk(self, client: Client) -> None:
        self.check_sign_in()
        with self.step("initialize") as details:
            wanted, got = self.options.protocol, client.protocol_version
            require(wanted in ("legacy", "auto", got), f"{got} was negotiated, wanted {wanted}")
            method = "server/discover" if got >= "2026" else "initialize"
            self.seen_rpc(method, self.tokens)
            server = client.server_info
            details.update(method=method, protocol=got, server=server.name if server else None)
        with self.step("list tools") as details:
            names = [tool.name for tool in (await client.list_tools()).tools]
            self.seen_rpc("tools/list", self.tokens)
            require(self.options.tool in names, f"{self.options.tool} is not among {names}")
            details.update(count=len(names))
        with self.step("call") as details:
            text = await self.call(client)
            self.seen_rpc("tools/call", self.tokens)
            details.update(tool=self.options.tool, characters=len(text))
        with self.step("refresh") as details:
            start, presses = len(self.recorder.exchanges), len(self.agent.pressed)
            # The SDK refreshes before a request once it believes the access token has expired.
            self.provider.context.token_expiry_time = time.time() - 1
            text = await self.call(client)
            endpoint = str(self.metadata.token_endpoint)
            granted = self.seen("refresh", "POST", endpoint, 200, start, rpc=None)
            require(granted.form.get("grant_type") == "refresh_token", f"grant_type is {granted.form.get('grant_type')}")
            require(len(self.storage.history) == 2, f"{len(self.storage.history)} token sets were stored, wanted two")
            old, new = self.storage.history
            require(new.access_token != old.access_token, "the access token is the old one")
            require(new.refresh_token != old.refresh_token, "the refresh token is the old one")
            require(len(self.agent.pressed) == presses, "the person was asked again")
            details.update(url=endpoint, status=200, expires_in=new.expires_in, scope=new.scope)
        with self.step("call again") as details:
            self.seen_rpc("tools/call", new, start)
            details.update(tool=self.options.tool, characters=len(text))

    def check_sign_in(self) -> None:
        self.check_discovery()
        self.check_registration()
        self.check_authorization()
        self.check_token()

    async def run(self) -> bool:
        error = ""
        try:
            async with asyncio.timeout(self.options.timeout):
                async with httpx2.AsyncClient(auth=self.provider, transport=self.recorder, timeout=30) as http:
                    transport = streamable_http_client(self.options.url, http_client=http)
                    # The SDK sends nothing at all for a version that is only named, so it is negotiated.
                    mode = "legacy" if self.options.protocol == "legacy" else "auto"
                    async with Client(transport, mode=mode) as client:
                        require(not self.options.deny, "signed in although the person pressed deny")
                        await self.talk(client)
        except Exception as failure:
            error = describe(failure)
        try:
            if self.options.deny:
                self.check_discovery()
                self.check_registration()
                self.check_authorization()
                self.check_denied(error)
                error = ""
            elif error and not self.steps:
                # The SDK gave up while it connected: say how far it really came.
                self.check_sign_in()
                self.current = "initialize"
        except Exception as missing:
            error = " | because: ".join(filter(None, dict.fromkeys((describe(missing), error))))
        return self.conclude(error)

    def conclude(self, error: str) -> bool:
        error = self.recorder.redact(error)
        if self.options.json:
            failed = [{"name": self.current, "ok": False, "error": error}] if error else []
            report = {"ok": not error, "steps": self.steps + failed, "browser": self.agent.hops}
            report["exchanges"] = list(self.recorder.rows())
            print(self.recorder.redact(json.dumps(report, indent=2)))
        elif error:
            print(f"step: {self.current} ... FAILED: {error}")
        return not error


def describe(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(describe, failure.exceptions)))
    text = str(failure) or "nothing more was said"
    return text if isinstance(failure, StepFailed) else f"{type(failure).__name__}: {text}"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="the MCP server's URL")
    parser.add_argument("--tool", required=True, help="the tool to call")
    parser.add_argument("--arguments", type=json.loads, default={}, help="the tool's arguments, JSON")
    parser.add_argument("--expect", default="", help="text that the tool's result must contain")
    parser.add_argument("--user", help="the made-up user to sign in as (default: the first)")
    parser.add_argument("--deny", action="store_true", help="press deny; expect access_denied")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of lines")
    parser.add_argument(
        "--auth-method",
        default="none",
        choices=["none", "client_secret_basic", "client_secret_post", "unset"],
        help="the token_endpoint_auth_method to register (unset: leave it out)",
    )
    parser.add_argument(
        "--protocol", default="legacy", help="legacy (initialize), auto (server/discover first), or 2026-07-28"
    )
    parser.add_argument("--redirect-uri", default="http://127.0.0.1:53682/callback", help="nothing needs to listen there")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for everything")
    return parser.parse_args()


if __name__ == "__main__":
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    sys.exit(0 if asyncio.run(SignIn(arguments()).run()) else 1)
