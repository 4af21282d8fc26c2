"""Iterators of requests, and what they raise."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import millstream
import pytest
from support import BIDI, CLIENT, SOON, answer, echo

Connect = Callable[..., Any]


class Trouble(Exception):
    pass


def raising(after: int) -> Iterator[bytes]:
    for _ in range(after):
        yield echo()
    raise Trouble("in the iterator")


@pytest.mark.parametrize("after", [0, 1, 1000])
async def test_what_an_iterator_raises_reaches_the_receiver(
    connect: Connect, target: str, after: int
) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, raising(after), timeout=SOON)
        with pytest.raises(Trouble, match="in the iterator"):
            async for _ in call:
                pass
        status = await call.status()
        assert status.code is millstream.StatusCode.CANCELLED
        assert "Trouble: in the iterator" in status.message
        # It is raised once; the status stays.
        with pytest.raises(millstream.Cancelled, match="Trouble"):
            await call.receive()
        call = channel.client_stream(CLIENT, raising(after), timeout=SOON)
        with pytest.raises(Trouble, match="in the iterator"):
            await call.result()


@pytest.mark.flavours("asyncio", "uvloop", "readerless")
async def test_what_an_asynchronous_iterator_raises_reaches_the_receiver(
    connect: Connect, target: str
) -> None:
    async def requests() -> AsyncIterator[bytes]:
        yield echo()
        raise Trouble("in the iterator")

    async with connect(target) as channel:
        with pytest.raises(Trouble, match="in the iterator"):
            async for _ in channel.bidi(BIDI, requests(), timeout=SOON):
                pass


async def test_a_request_that_is_not_bytes_ends_the_call(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        for requests in ([b"", "text"], iter([b"", "text"])):
            with pytest.raises(TypeError, match="a message is bytes"):
                async for _ in channel.bidi(BIDI, requests, timeout=SOON):
                    pass
        with pytest.raises(TypeError, match="not iterable"):
            async for _ in channel.bidi(BIDI, 1, timeout=SOON):
                pass


async def test_a_serializer_that_raises_ends_the_call(connect: Connect, target: str) -> None:
    def serializer(request: int) -> bytes:
        return echo(payload=bytes([1 // request]))

    async with connect(target) as channel:
        call = channel.bidi(BIDI, [1, 1, 0], request_serializer=serializer, timeout=SOON)
        with pytest.raises(ZeroDivisionError):
            async for _ in call:
                pass


async def test_an_iterator_stops_when_the_server_ends_the_call(
    connect: Connect, target: str
) -> None:
    sent = 0

    def requests() -> Iterator[bytes]:
        nonlocal sent
        yield echo(finish={"code": 9, "message": "enough"})
        while True:
            sent += 1
            yield echo(payload=b"x" * 1000)

    async with connect(target) as channel:
        with pytest.raises(millstream.FailedPrecondition, match="enough"):
            async for _ in channel.bidi(BIDI, requests(), timeout=SOON):
                pass
        with pytest.raises(millstream.FailedPrecondition, match="enough"):
            await channel.client_stream(CLIENT, requests(), timeout=SOON).result()
    before = sent
    time.sleep(0.05)
    assert sent <= before + 1


@pytest.mark.flavours("sync")
async def test_a_deadline_holds_although_the_iterator_blocks(connect: Connect, target: str) -> None:
    release = threading.Event()

    def requests() -> Iterator[bytes]:
        yield echo()
        release.wait(SOON)

    async with connect(target) as channel:
        call = channel.client_stream(CLIENT, requests(), timeout=0.3)
        with pytest.raises(millstream.DeadlineExceeded):
            await call.result()
        release.set()


@pytest.mark.flavours("asyncio", "uvloop", "readerless")
async def test_an_asynchronous_iterator_is_closed_with_its_call(
    connect: Connect, target: str
) -> None:
    import asyncio

    closed = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        try:
            yield echo()
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with connect(target) as channel:
        async with channel.bidi(BIDI, requests(), timeout=SOON) as call:
            assert answer(await call.receive()).sequence == 1
        await asyncio.wait_for(closed.wait(), SOON)


async def test_requests_and_responses_flow_at_the_same_time(connect: Connect, target: str) -> None:
    """More in flight than all buffers together hold."""
    payload = b"x" * 20_000

    def requests() -> Iterator[bytes]:
        for _ in range(1000):
            yield echo(payload=payload)

    async with connect(target) as channel:
        total = 0
        async for message in channel.bidi(BIDI, requests(), timeout=SOON):
            total += len(answer(message).payload)
        assert total == 20_000_000
