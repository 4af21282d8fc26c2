"""Every shared vector: how a call ends when the server breaks the rules."""

from __future__ import annotations

import itertools
import json
import zlib
from base64 import b64decode
from collections.abc import Callable
from typing import Any

import millstream
import pytest
from support import ROOT, SOON

VECTORS: list[dict[str, Any]] = json.loads(
    (ROOT / "contract-tests" / "vectors" / "faults.json").read_text()
)

CASE_KEYS = {
    "name",
    "listener",
    "path",
    "kind",
    "requests",
    "request_repeat",
    "half_close",
    "calls",
    "options",
    "expect",
    "recovers",
}
OPTION_KEYS = {
    "timeout_ms",
    "compression",
    "max_receive_message",
    "wait_for_ready",
    "metadata",
    "channel",
}
EXPECT_KEYS = {
    "code",
    "code_any_of",
    "message_contains",
    "message_max_bytes",
    "messages",
    "messages_crc32",
    "headers",
    "trailers",
    "details_base64",
    "attempts",
    "note",
}

FAULT = "/fault.v1.Fault/"


def test_the_vectors_are_ones_that_this_driver_knows() -> None:
    assert len({case["name"] for case in VECTORS}) == len(VECTORS) > 300
    for case in VECTORS:
        assert case.keys() <= CASE_KEYS, case["name"]
        assert case["options"].keys() <= OPTION_KEYS, case["name"]
        assert case["expect"].keys() <= EXPECT_KEYS, case["name"]


def pairs(entries: list[list[str]]) -> list[tuple[str, str | bytes]]:
    """Metadata as it is given and compared: text as text, binary values as bytes."""
    values = [(key, b64decode(value)) for key, value in entries]
    return [(key, raw if key.endswith("-bin") else raw.decode()) for key, raw in values]


def start(channel: Any, case: dict[str, Any]) -> Any:
    """Starts one call of a case."""
    requests = [b64decode(request) for request in case["requests"]]
    options = dict(case["options"])
    options.pop("channel", None)
    options["timeout"] = options.pop("timeout_ms") / 1000
    options["metadata"] = pairs(options.pop("metadata", []))
    kind = millstream.CallKind[case["kind"].upper()]
    if kind.one_request:
        (request,) = requests
        return channel.call(kind, case["path"], request, **options)
    if not case.get("half_close", True):
        return channel.call(kind, case["path"], **options)
    requests *= case.get("request_repeat", 1)
    stream = channel.client_stream if kind is millstream.CallKind.CLIENT_STREAM else channel.bidi
    return stream(case["path"], requests, **options)


async def finish(call: Any, case: dict[str, Any]) -> tuple[list[bytes], Any, Any]:
    """Its messages, the error that it raised, its status."""
    error = None
    messages: list[bytes] = []
    try:
        if not case.get("half_close", True):
            for request in case["requests"]:
                await call.send(b64decode(request))
        if case["kind"] in ("unary", "client_stream"):
            messages.append(await call.result())
        else:
            async for message in call:
                messages.append(message)
    except millstream.RpcError as raised:
        error = raised
    return messages, error, await call.status()


async def compare(call: Any, case: dict[str, Any]) -> None:
    messages, error, status = await finish(call, case)
    expect = case["expect"]
    codes = expect.get("code_any_of", [expect.get("code")])
    assert status.code.name in codes, status
    if status.ok:
        assert error is None
    else:
        assert type(error).__name__.upper() == status.code.name.replace("_", "")
        assert (error.code, error.message) == (status.code, status.message)
        assert (error.details, error.trailers) == (status.details, status.trailers)
        assert error.headers == await call.headers()
    for part in expect.get("message_contains", []):
        assert part in status.message
    if "message_max_bytes" in expect:
        size = len(status.message.encode("utf-8", "surrogateescape"))
        assert size <= expect["message_max_bytes"]
    if "messages" in expect:
        assert len(messages) == expect["messages"]
    if "messages_crc32" in expect:
        assert zlib.crc32(b"".join(messages)) == expect["messages_crc32"]
    for key, values in itertools.groupby(pairs(expect.get("headers", [])), lambda pair: pair[0]):
        assert (await call.headers()).get_all(key) == [value for _, value in values]
    for key, values in itertools.groupby(pairs(expect.get("trailers", [])), lambda pair: pair[0]):
        assert status.trailers.get_all(key) == [value for _, value in values]
    if "details_base64" in expect:
        assert status.details == b64decode(expect["details_base64"])


async def seen(channel: Any, path: str) -> int:
    """How many calls of a method the server has seen."""
    reply = await channel.unary(FAULT + "Seen", path.encode(), timeout=SOON, wait_for_ready=True)
    return int(json.loads(reply)["calls"])


@pytest.mark.flavours("sync", "asyncio")
@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
async def test_a_fault_ends_the_call_as_specified(
    connect: Callable[..., Any], faults: dict[str, str], case: dict[str, Any]
) -> None:
    attempts = case["expect"].get("attempts")
    async with connect(faults["default"]) as observer:
        before = await seen(observer, case["path"]) if attempts is not None else 0
        options = case["options"].get("channel", {})
        async with connect(faults[case["listener"]], **options) as channel:
            calls = [start(channel, case) for _ in range(case.get("calls", 1))]
            for call in calls:
                await compare(call, case)
            if attempts is not None:
                assert await seen(observer, case["path"]) - before == attempts
            if case.get("recovers"):
                reply = await channel.unary(
                    FAULT + "Good", b"again", timeout=SOON, wait_for_ready=True
                )
                assert reply == b"again"
