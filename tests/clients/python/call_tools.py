"""Calls tools of MCP servers with the official Python SDK, version 1 or 2, whichever is installed.

Proves that a server is reached as its users reach it: a handshake, the list of tools, and calls whose answers are
looked into. A server that asks the user or the model while it works is answered. Two servers are used at a time; the
first thing that is not as it must be is named, and the exit code is 1.

    python call_tools.py --protocol legacy '[{"url": "http://127.0.0.1:3000/mcp", "calls": [
        {"tool": "echo", "arguments": {"message": "hi"}, "expect": "hi"}]}]'
"""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

VERSION = version("mcp")
if VERSION.startswith("1."):
    from mcp import ClientSession, types
    from mcp.client.streamable_http import streamable_http_client
else:
    import mcp_types as types
    from mcp import Client


class Wrong(Exception):
    """Something is not as it must be."""


def require(condition: object, why: str) -> None:
    if not condition:
        raise Wrong(why)


async def answer_as_model(_context: Any, _params: Any) -> types.CreateMessageResult:
    content = types.TextContent(type="text", text="an answer of the model")
    return types.CreateMessageResult(role="assistant", content=content, model="none")


async def answer_as_user(_context: Any, _params: Any) -> types.ElicitResult:
    return types.ElicitResult(action="accept", content={"name": "Ada"})


@asynccontextmanager
async def connected(url: str, protocol: str) -> AsyncIterator[tuple[Any, str]]:
    """A client that has gone through the handshake, and the version that came of it."""
    callbacks = {"sampling_callback": answer_as_model, "elicitation_callback": answer_as_user}
    if VERSION.startswith("1."):
        require(protocol == "legacy", "version 1 of the SDK only knows the legacy protocol")
        async with streamable_http_client(url) as (read, write, _), ClientSession(read, write, **callbacks) as session:
            yield session, (await session.initialize()).protocolVersion
    else:
        async with Client(url, mode=protocol, **callbacks) as client:
            yield client, client.protocol_version


async def call(client: Any, what: dict[str, Any]) -> int:
    seen: list[float] = []

    async def progress(done: float, _total: float | None, _message: str | None) -> None:
        seen.append(done)

    result = await client.call_tool(what["tool"], what["arguments"], progress_callback=progress)
    text = "".join(getattr(part, "text", "") for part in result.content)
    failed = result.isError if VERSION.startswith("1.") else result.is_error
    require(not failed, f"{what['tool']} failed: {text[:300]}")
    require(what["expect"] in text, f"{what['tool']}: the result lacks {what['expect']!r}: {text[:300]!r}")
    wanted = what.get("progress", 0)
    require(len(seen) >= wanted, f"{what['tool']}: {len(seen)} of {wanted} notifications of progress came")
    require(seen == sorted(seen), f"{what['tool']}: progress came in the order {seen}")
    return len(text)


async def use(server: dict[str, Any], protocol: str) -> str:
    async with connected(server["url"], protocol) as (client, got):
        require((got >= "2026") == (protocol != "legacy"), f"{got} was negotiated, wanted {protocol}")
        names = [tool.name for tool in (await client.list_tools()).tools]
        calls = []
        for what in server["calls"]:
            require(what["tool"] in names, f"{what['tool']} is not among {names}")
            calls.append(f"{what['tool']}={await call(client, what)}")
        return f"protocol={got} tools={len(names)} {' '.join(calls)}"


async def main(options: argparse.Namespace) -> bool:
    turn = asyncio.Semaphore(2)

    async def one(server: dict[str, Any]) -> bool:
        try:
            async with turn, asyncio.timeout(options.timeout):
                outcome, good = await use(server, options.protocol), True
        except Exception as failure:
            outcome, good = f"FAILED: {describe(failure)}", False
        print(f"mcp {VERSION}: {server.get('name', server['url'])}: {outcome}", flush=True)
        return good

    return all(await asyncio.gather(*map(one, options.servers)))


def describe(failure: BaseException) -> str:
    if isinstance(failure, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in failure.exceptions)
    return f"{type(failure).__name__}: {failure}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("servers", type=json.loads, help="what to call where, as JSON")
    parser.add_argument("--protocol", choices=["legacy", "auto", "2026-07-28"], default="legacy")
    parser.add_argument("--timeout", type=float, default=60, help="seconds for each server")
    sys.exit(not asyncio.run(main(parser.parse_args())))
