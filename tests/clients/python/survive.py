"""Signs in and calls tools with the official Python SDK while the server is killed and started again in the middle.

At the moment that `--at` names, it says `pause` and waits for a line on stdin: whoever runs it does something to the server
meanwhile. What then fails is tried again as an application does, from the top, with what the SDK has stored: the exit code is
0 only if the tool answers in the end and the person was not asked more often than `--asked` says. `--device` is a client
without a browser instead (Authlib), that polls.

    python survive.py http://127.0.0.1:8080/echo/mcp --at code_issued
"""

import argparse
import asyncio
import logging
import os
import sys
import time
from urllib.parse import parse_qs, urlsplit

# The gateway under test speaks plain http on the loopback interface; nothing else is relaxed.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import httpx2  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: E402
from mcp import Client  # noqa: E402
from mcp.client.auth import OAuthClientProvider  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken  # noqa: E402

from user_agent import Request, UserAgent  # noqa: E402

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
REDIRECT_URI = "http://127.0.0.1:53682/callback"
TRIES = 5


class Pauses:
    """Stops once at the moment that was asked for."""

    def __init__(self, at: str) -> None:
        self.at: str | None = at

    async def here(self, moment: str) -> None:
        if moment == self.at:
            self.at = None
            await self.now(moment)

    async def now(self, moment: str) -> None:
        print(f"pause {moment}", flush=True)
        if not await asyncio.to_thread(sys.stdin.readline):
            raise SystemExit("nobody says that it goes on")


class Person(UserAgent):
    """Stops before two of the hops of a browser."""

    def __init__(self, pauses: Pauses, **options: object) -> None:
        super().__init__(**options)
        self.pauses = pauses

    async def _send(self, http: httpx2.AsyncClient, request: Request, initiator: str) -> httpx2.Response:
        path = urlsplit(request.url).path
        if request.method == "POST" and path == "/consent":
            await self.pauses.here("consent_shown")
        elif path == "/callback":
            await self.pauses.here("at_callback")
        return await super()._send(http, request, initiator)

    @property
    def asked(self) -> int:
        return self.pressed.count("decision=approve")


class Storage:
    """What an application keeps."""

    def __init__(self, pauses: Pauses) -> None:
        self.pauses = pauses
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens
        await self.pauses.here("tokens_stored")

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info
        await self.pauses.here("registered")


class Application:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pauses = Pauses(options.at)
        self.person = Person(self.pauses)
        self.storage = Storage(self.pauses)
        self.callback: dict[str, str] = {}
        metadata = OAuthClientMetadata(
            client_name="survivor", redirect_uris=[REDIRECT_URI], token_endpoint_auth_method="none"
        )
        self.provider = OAuthClientProvider(
            options.url, metadata, self.storage, redirect_handler=self.open_browser, callback_handler=self.come_back
        )

    async def open_browser(self, url: str) -> None:
        location = await self.person.visit(url, REDIRECT_URI)
        self.callback = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    async def come_back(self) -> AuthorizationCodeResult:
        await self.pauses.here("code_issued")
        return AuthorizationCodeResult(
            code=self.callback["code"], state=self.callback.get("state"), iss=self.callback.get("iss")
        )

    async def call(self, client: Client) -> None:
        result = await client.call_tool("echo", {"message": "still here"})
        text = "".join(getattr(part, "text", "") for part in result.content)
        if result.is_error or "still here" not in text:
            raise RuntimeError(f"the tool answered {text[:200]!r}")

    async def connect_and_talk(self) -> None:
        async with httpx2.AsyncClient(auth=self.provider, timeout=30) as http:
            transport = streamable_http_client(self.options.url, http_client=http)
            async with Client(transport, mode=self.options.protocol) as client:
                await self.call(client)
                await self.pauses.here("session_open")
                await self.call(client)
                if self.pauses.at == "refreshing":
                    # The SDK refreshes before a request once it believes the access token has expired.
                    self.provider.context.token_expiry_time = time.time() - 1
                    await self.pauses.here("refreshing")
                    await self.call(client)

    async def run(self) -> None:
        for number in range(TRIES):
            try:
                await self.connect_and_talk()
                break
            except Exception as failure:
                print(f"try {number + 1}: {describe(failure)}", flush=True)
                await self.pauses.now("failed")
        else:
            raise SystemExit(f"{TRIES} tries were not enough")
        if self.person.asked != self.options.asked:
            raise SystemExit(f"the person was asked {self.person.asked} times, not {self.options.asked}")
        print(f"done: asked {self.person.asked} time(s)", flush=True)


class Device:
    """A client without a browser: it shows a code, and polls until somebody has said yes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pauses = Pauses(options.at)
        self.person = Person(self.pauses)

    async def run(self) -> None:
        issuer = "{0.scheme}://{0.netloc}".format(urlsplit(self.options.url))
        async with AsyncOAuth2Client(token_endpoint_auth_method="none") as http:
            answer = await http.get(f"{issuer}/.well-known/oauth-authorization-server", auth=None)
            server = answer.raise_for_status().json()
            wanted = {
                "client_name": "survivor without a browser",
                "grant_types": [DEVICE_GRANT, "refresh_token"],
                "response_types": [],
                "redirect_uris": [],
                "token_endpoint_auth_method": "none",
            }
            answer = await http.post(server["registration_endpoint"], json=wanted, auth=None)
            http.client_id = answer.raise_for_status().json()["client_id"]
            device = await self.begin(http, server)
            await self.pauses.here("codes_shown")
            self.person.typed = {"user_code": device["user_code"]}
            await self.poll_once(http, server, device, "authorization_pending")
            await self.pauses.here("polling")
            await self.person.visit_to_end(device["verification_uri"])
            await self.pauses.here("approved")
            await self.poll(http, server, device)
            answer = await http.post(
                self.options.url,
                headers={"accept": "application/json, text/event-stream"},
                json={"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                    "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "device", "version": "1"},
                }},
            )
            answer.raise_for_status()
            print("done: the device is in", flush=True)

    async def begin(self, http: AsyncOAuth2Client, server: dict) -> dict:
        data = {"client_id": http.client_id, "resource": self.options.url}
        answer = await http.post(server["device_authorization_endpoint"], data=data, auth=None)
        return answer.raise_for_status().json()

    async def poll_once(self, http: AsyncOAuth2Client, server: dict, device: dict, expected: str) -> None:
        try:
            await http.fetch_token(server["token_endpoint"], grant_type=DEVICE_GRANT, device_code=device["device_code"])
        except OAuthError as refusal:
            if refusal.error != expected:
                raise
        else:
            raise SystemExit("the device was let in before anybody said so")

    async def poll(self, http: AsyncOAuth2Client, server: dict, device: dict) -> None:
        for _ in range(20):
            # As RFC 8628 §3.5 wants it: not sooner than the interval, and again when nothing came back.
            await asyncio.sleep(device.get("interval", 5))
            try:
                await http.fetch_token(
                    server["token_endpoint"], grant_type=DEVICE_GRANT, device_code=device["device_code"]
                )
                return
            except OAuthError as refusal:
                if refusal.error not in ("authorization_pending", "slow_down"):
                    raise
        raise SystemExit("nobody let the device in")


def describe(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return "; ".join(dict.fromkeys(map(describe, failure.exceptions)))
    return type(failure).__name__


if __name__ == "__main__":
    logging.getLogger("mcp").addHandler(logging.NullHandler())
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="the MCP server's URL")
    parser.add_argument("--at", required=True, help="the moment at which it waits")
    parser.add_argument("--asked", type=int, default=1, help="how often the person is asked")
    parser.add_argument("--protocol", default="legacy", help="legacy (with a session) or auto")
    parser.add_argument("--device", action="store_true", help="be a client without a browser")
    arguments = parser.parse_args()
    client = Device(arguments) if arguments.device else Application(arguments)
    asyncio.run(asyncio.wait_for(client.run(), 120))
