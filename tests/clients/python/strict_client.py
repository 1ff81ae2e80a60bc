"""Uses the authorization server with `authlib`, a client library that nobody wrote for it.

Knows the URL of a protected resource and finds the rest: discovery, registration, code with PKCE, token,
what a resource server would check of the token, introspection, refresh, revocation, and a device. What authlib has
a check for is checked by authlib; the first step that fails is named, and the exit code is 1.

    python strict_client.py http://127.0.0.1:8080/echo/mcp --auth-method client_secret_basic
"""

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

# The gateway under test speaks plain http on the loopback interface; nothing else is relaxed.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.common.security import generate_token  # noqa: E402
from authlib.common.errors import AuthlibBaseError  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: E402
from authlib.oauth2.rfc7591 import ClientMetadataClaims  # noqa: E402
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # noqa: E402
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator  # noqa: E402
from authlib.oauth2.rfc9207 import AuthorizationServerMetadata as IssuerMetadata  # noqa: E402
from joserfc.jwk import KeySet  # noqa: E402

from exchanges import Recorder  # noqa: E402
from user_agent import UserAgent  # noqa: E402

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "strict", "version": "1"}},
}


class StepFailed(Exception):
    """A step did not go as it must."""


def require(condition: object, why: str) -> None:
    if not condition:
        raise StepFailed(why)


class Validator(JWTBearerTokenValidator):
    """A resource server of somebody else's, which has the keys from `jwks_uri` (RFC 9068 §4)."""

    def __init__(self, issuer: str, resource: str, keys: KeySet) -> None:
        super().__init__(issuer=issuer, resource_server=resource)
        self.keys = keys

    def get_jwks(self) -> KeySet:
        return self.keys


class StrictClient:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.recorder = Recorder()
        self.agent = UserAgent(user=options.user)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator[dict]:
        details: dict = {}
        try:
            yield details
        except Exception as failure:
            said = "" if isinstance(failure, StepFailed) else f"{type(failure).__name__}: "
            print(self.recorder.redact(f"step: {name} ... FAILED: {said}{failure}"), flush=True)
            sys.exit(1)
        shown = " ".join(f"{key}={value}" for key, value in details.items())
        print(self.recorder.redact(f"step: {name} {shown} ... ok"), flush=True)

    async def refused(self, what: str, attempt: Callable[[], Awaitable[object]]) -> AuthlibBaseError:
        """Does what has to be refused, and gives back the refusal."""
        try:
            await attempt()
        except AuthlibBaseError as refusal:
            return refusal
        raise StepFailed(f"{what} was accepted")

    def keep(self, *secrets: str | None) -> None:
        self.recorder.secrets.update(filter(None, secrets))

    async def discover(self, details: dict) -> None:
        resource = urlsplit(self.options.url)
        document = f"{resource.scheme}://{resource.netloc}/.well-known/oauth-protected-resource{resource.path}"
        about = (await self.http.get(document, auth=None)).raise_for_status().json()
        require(about["resource"] == self.options.url, f"resource is {about['resource']}")
        (issuer,) = about["authorization_servers"]
        answer = await self.http.get(get_well_known_url(issuer, external=True), auth=None)
        self.server = AuthorizationServerMetadata(answer.raise_for_status().json())
        self.server.validate(metadata_classes=[IssuerMetadata])
        require(self.server["issuer"] == issuer, f"issuer {self.server['issuer']} is not {issuer}")
        require(self.server["authorization_response_iss_parameter_supported"], "no iss in answers is promised")
        keys = await self.http.get(self.server["jwks_uri"], auth=None)
        self.validator = Validator(issuer, self.options.url, KeySet.import_key_set(keys.raise_for_status().json()))
        details.update(issuer=issuer, grants=",".join(self.server["grant_types_supported"]))

    async def register(self, details: dict) -> None:
        wanted = {
            "client_name": "strict test (Python)",
            "redirect_uris": [self.options.redirect_uri],
            "token_endpoint_auth_method": self.options.auth_method,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
        }
        if "device_authorization_endpoint" in self.server:
            wanted["grant_types"].append(DEVICE_GRANT)
        answer = await self.http.post(self.server["registration_endpoint"], json=wanted, auth=None)
        require(answer.status_code == 201, f"registration answered {answer.status_code}")
        client = answer.json()
        self.keep(client.get("client_secret"), client.get("registration_access_token"))
        options = ClientMetadataClaims.get_claims_options(self.server)
        ClientMetadataClaims(client, {}, options=options).validate()
        for name, value in wanted.items():
            require(client[name] == value, f"{name} was registered as {client[name]}")
        require(("client_secret" in client) == (self.options.auth_method != "none"), "a secret where none belongs, or none")
        self.http.client_id = client["client_id"]
        self.http.client_secret = client.get("client_secret")
        details.update(method=client["token_endpoint_auth_method"])

    async def authorize(self, details: dict) -> None:
        verifier = generate_token(48)
        url, state = self.http.create_authorization_url(
            self.server["authorization_endpoint"], code_verifier=verifier, resource=self.options.url
        )
        self.keep(verifier, state)
        location = await self.agent.visit(url, self.options.redirect_uri)
        answer = {name: values for name, values in parse_qs(urlsplit(location).query).items()}
        self.keep(*answer.get("code", []))
        # authlib has no check of its own for this parameter (RFC 9207 §2.4).
        require(answer.get("iss") == [self.server["issuer"]], f"iss is {answer.get('iss')}")
        self.redemption = {
            "authorization_response": location, "state": state, "code_verifier": verifier, "resource": self.options.url
        }
        details.update(hops=len(self.agent.hops), pressed=",".join(self.agent.pressed), iss=answer["iss"][0])

    def keep_tokens(self) -> None:
        self.keep(self.http.token["access_token"], self.http.token.get("refresh_token"))

    async def redeem(self, details: dict) -> None:
        endpoint = self.server["token_endpoint"]
        for changed, error in (({"state": "another"}, "mismatching_state"), ({"code_verifier": generate_token(48)}, "invalid_grant")):
            wrong = {**self.redemption, **changed}
            refusal = await self.refused(f"another {next(iter(changed))}", lambda: self.http.fetch_token(endpoint, **wrong))
            require(refusal.error == error, f"the error is {refusal.error}, wanted: {error}")
        await self.http.fetch_token(endpoint, **self.redemption)
        self.keep_tokens()
        token = self.http.token
        require(token["token_type"] == "Bearer" and token["expires_in"] > 0, f"{token['token_type']}, {token['expires_in']}")
        require(token.get("refresh_token"), "no refresh token came with the access token")
        details.update(expires_in=token["expires_in"], scope=token.get("scope"))

    async def call(self) -> int:
        accept = {"accept": "application/json, text/event-stream"}
        return (await self.http.post(self.options.url, json=INITIALIZE, headers=accept)).status_code

    async def use_token(self, details: dict) -> None:
        claims = self.validator.authenticate_token(self.http.token["access_token"])
        self.validator.validate_token(claims, [self.http.token["scope"]], None)
        require(claims["client_id"] == self.http.client_id, f"client_id is {claims['client_id']}")
        self.claims = claims
        status = await self.call()
        require(status == 200, f"the resource answered {status}, not 200")
        details.update(sub=claims["sub"], resource=status)

    async def ask(self, token: str, hint: str | None = None) -> dict:
        answer = await self.http.introspect_token(
            self.server["introspection_endpoint"], token=token, token_type_hint=hint
        )
        if answer.status_code != 200:
            raise OAuthError(error=answer.json()["error"], description=f"answered {answer.status_code}")
        return answer.json()

    async def introspect(self, details: dict) -> None:
        token = self.http.token
        if self.options.auth_method == "none":
            refusal = await self.refused("introspection by a public client", lambda: self.ask(token["access_token"]))
            require(refusal.error == "invalid_client", f"the error is {refusal.error}")
            details.update(refused=refusal.error)
            return
        access = await self.ask(token["access_token"], "access_token")
        require(access["active"], "a good access token is not active")
        for name in ("iss", "sub", "client_id", "exp", "iat", "jti", "scope"):
            require(access[name] == self.claims[name], f"{name} is {access[name]}, in the token {self.claims[name]}")
        # A wrong hint is only a hint (RFC 7662 §2.1).
        refresh = await self.ask(token["refresh_token"], "access_token")
        require(refresh["active"], "a good refresh token is not active")
        unknown = await self.ask("unknown")
        require(unknown == {"active": False}, f"of an unknown token it says {sorted(unknown)}")
        details.update(access=access["active"], refresh=refresh["active"], unknown=unknown["active"])

    async def refresh(self, details: dict) -> None:
        before = dict(self.http.token)
        await self.http.refresh_token(self.server["token_endpoint"], refresh_token=before["refresh_token"])
        self.keep_tokens()
        after = self.http.token
        require(after["access_token"] != before["access_token"], "the access token is the old one")
        require(after["refresh_token"] != before["refresh_token"], "the refresh token is the old one")
        details.update(expires_in=after["expires_in"], scope=after.get("scope"))

    async def revoke(self, details: dict) -> None:
        endpoint, token = self.server["revocation_endpoint"], dict(self.http.token)
        for _ in range(2):  # The second time it is no error either (RFC 7009 §2.2).
            answer = await self.http.revoke_token(
                endpoint, token=token["refresh_token"], token_type_hint="refresh_token"
            )
            require(answer.status_code == 200, f"revocation answered {answer.status_code}")
        refusal = await self.refused("a revoked refresh token", lambda: self.http.refresh_token(
            self.server["token_endpoint"], refresh_token=token["refresh_token"]))
        require(refusal.error == "invalid_grant", f"the error is {refusal.error}")
        if self.options.auth_method != "none":
            require(await self.ask(token["access_token"]) == {"active": False}, "the access token is still active")
        status = await self.call()
        require(status == 401, f"the resource answered {status}, not 401")
        details.update(refresh=refusal.error, resource=status)

    async def device(self, details: dict) -> None:
        require("device_authorization_endpoint" in self.server, "no device_authorization_endpoint is promised")
        require(DEVICE_GRANT in self.server["grant_types_supported"], "the grant type is not promised")
        auth = self.http.client_auth(self.http.token_endpoint_auth_method)
        answer = await self.http.post(
            self.server["device_authorization_endpoint"],
            data={"resource": self.options.url},
            auth=auth,
        )
        require(answer.status_code == 200, f"device authorization answered {answer.status_code}: {answer.text}")
        device = answer.json()
        self.keep(device["device_code"], device["user_code"])
        require(device["expires_in"] > 0, "nothing says how long the codes are good")
        endpoint = self.server["token_endpoint"]

        async def poll() -> object:
            return await self.http.fetch_token(endpoint, grant_type=DEVICE_GRANT, device_code=device["device_code"])

        pending = await self.refused("a device code that nobody approved", poll)
        require(pending.error == "authorization_pending", f"the error is {pending.error}")
        agent = UserAgent(user=self.options.user, typed={"user_code": device["user_code"]})
        title = await agent.visit_to_end(device["verification_uri"])
        require("decision=approve" in agent.pressed, f"nobody was asked for consent: {agent.pressed}")
        # As RFC 8628 §3.5 wants it: not sooner than the interval.
        await asyncio.sleep(device.get("interval", 5))
        await poll()
        self.keep_tokens()
        await self.use_token(details)
        again = await self.refused("a device code that was used before", poll)
        require(again.error == "invalid_grant", f"the error is {again.error}")
        details.update(verification_uri=device["verification_uri"], last_page=repr(title))

    async def run(self) -> None:
        async with AsyncOAuth2Client(
            token_endpoint_auth_method=self.options.auth_method,
            revocation_endpoint_auth_method=self.options.auth_method,
            redirect_uri=self.options.redirect_uri,
            code_challenge_method="S256",
            transport=self.recorder,
        ) as self.http:
            for name, check in (
                ("discovery", self.discover),
                ("registration", self.register),
                ("authorization", self.authorize),
                ("token", self.redeem),
                ("access token", self.use_token),
                ("introspection", self.introspect),
                ("refresh", self.refresh),
                ("revocation", self.revoke),
                ("device", self.device),
            ):
                if name == "device" and "device_authorization_endpoint" not in self.server and not self.options.device:
                    continue
                async with self.step(name) as details:
                    await check(details)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", help="the protected resource's URL")
    parser.add_argument("--user", help="the made-up user to sign in as (default: the first)")
    parser.add_argument(
        "--auth-method", default="none", choices=["none", "client_secret_basic", "client_secret_post"],
        help="the token_endpoint_auth_method to register",
    )
    parser.add_argument("--device", action="store_true", help="fail if the server has no device grant")
    parser.add_argument("--redirect-uri", default="http://127.0.0.1:53682/callback", help="nothing needs to listen there")
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(StrictClient(arguments()).run())
