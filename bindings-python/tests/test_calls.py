"""The four kinds of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import millstream
import pytest
from support import BIDI, CLIENT, SERVER, SOON, UNARY, answer, echo, echo_request

Connect = Callable[..., Any]


async def test_a_unary_call_returns_its_response(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        reply = await channel.unary(UNARY, echo(payload=b"hello"), timeout=SOON)
        assert type(reply) is bytes
        assert answer(reply).payload == b"hello"


async def test_an_empty_message_is_a_message(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        assert answer(await channel.unary(UNARY, b"", timeout=SOON)).requests == 1
        async with channel.bidi(BIDI, timeout=SOON) as call:
            await call.send(b"")
            assert answer(await call.receive()).sequence == 1


@pytest.mark.parametrize("request_type", [bytearray, memoryview])
async def test_anything_with_a_buffer_is_a_request(
    connect: Connect, target: str, request_type: Callable[[bytes], Any]
) -> None:
    async with connect(target) as channel:
        request = request_type(echo(payload=b"buffer"))
        assert answer(await channel.unary(UNARY, request, timeout=SOON)).payload == b"buffer"


async def test_serializers_make_messages_of_objects(connect: Connect, target: str) -> None:
    codecs: dict[str, Any] = {
        "request_serializer": lambda request: request.SerializeToString(),
        "response_deserializer": answer,
        "timeout": SOON,
    }
    async with connect(target) as channel:
        one = echo_request(payload=b"one", count=3)
        assert (await channel.unary(UNARY, one, **codecs)).payload == b"one"
        call = channel.server_stream(SERVER, one, **codecs)
        assert [reply.sequence async for reply in call] == [1, 2, 3]
        call = channel.client_stream(CLIENT, [one, one], **codecs)
        assert (await call.result()).requests == 2
        call = channel.bidi(BIDI, **codecs)
        await call.send(one)
        await call.send_many([one, one])
        await call.done_sending()
        assert [reply.sequence async for reply in call] == list(range(1, 10))


async def test_a_server_stream_gives_every_message_in_order(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(payload=b"x" * 50, count=30_000), timeout=SOON)
        sequence = [answer(message).sequence async for message in call]
        assert sequence == list(range(1, 30_001))
        assert (await call.status()).ok


async def test_a_server_stream_gives_every_message_in_batches(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(payload=b"x" * 50, count=30_000), timeout=SOON)
        sequence = []
        batches = 0
        async for batch in call.batches():
            batches += 1
            sequence += [answer(message).sequence for message in batch]
        assert sequence == list(range(1, 30_001))
        assert batches < 15_000


async def test_messages_gather_when_a_batch_may_wait(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(
            SERVER, echo(count=50, interval_ms=2), max_batch_delay=2.0, timeout=SOON
        )
        sizes = [len(batch) async for batch in call.batches()]
        assert sum(sizes) == 50
        assert len(sizes) < 10


async def test_messages_left_of_a_batch_come_first_in_the_next(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(count=1000), timeout=SOON)
        sequence = [answer(await call.receive()).sequence for _ in range(10)]
        async for batch in call.batches():
            sequence += [answer(message).sequence for message in batch]
            if len(sequence) < 1000:
                sequence.append(answer(await call.receive()).sequence)
        assert sequence == list(range(1, 1001))


async def test_a_large_message_goes_there_and_back(connect: Connect, target: str) -> None:
    payload = bytes(range(256)) * 12_000
    async with connect(target) as channel:
        reply = await channel.unary(UNARY, echo(payload=payload), timeout=SOON)
        assert answer(reply).payload == payload


async def test_a_client_stream_answers_with_one_response(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        async with channel.client_stream(CLIENT, timeout=SOON) as call:
            for _ in range(1000):
                await call.send(echo(payload=b"12345"))
            await call.done_sending()
            await call.done_sending()
            reply = answer(await call.result())
            assert (reply.requests, reply.request_bytes) == (1000, 5000)
            assert await call.result() == await call.result()


async def test_send_many_takes_lists_tuples_and_iterators(connect: Connect, target: str) -> None:
    request = echo(payload=b"1")
    async with connect(target) as channel:
        call = channel.client_stream(CLIENT, timeout=SOON)
        await call.send_many([request] * 1000)
        await call.send_many([bytearray(request), request, memoryview(request)])
        await call.send_many((request,) * 10)
        await call.send_many(request for _ in range(10))
        await call.send_many([])
        await call.done_sending()
        assert answer(await call.result()).requests == 1023


async def test_more_is_sent_than_the_send_buffer_holds(connect: Connect, target: str) -> None:
    request = echo(payload=b"x" * 10_000)
    async with connect(target) as channel:
        call = channel.client_stream(CLIENT, timeout=SOON)
        await call.send_many([request] * 500)
        for _ in range(500):
            await call.send(request)
        await call.done_sending()
        assert answer(await call.result()).request_bytes == 10_000_000


async def test_a_bidirectional_stream_answers_each_request(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        async with channel.bidi(BIDI, timeout=SOON) as call:
            for number in range(200):
                await call.send(echo(payload=str(number).encode()))
                assert answer(await call.receive()).payload == str(number).encode()
            await call.done_sending()
            assert await call.receive() is None
            assert await call.receive() is None
            assert (await call.status()).ok


def numbers() -> Iterator[bytes]:
    for number in range(5000):
        yield echo(payload=number.to_bytes(4, "big"))


async def test_requests_come_from_an_iterator(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, numbers(), timeout=SOON)
        received = [answer(message).payload async for message in call]
        assert received == [number.to_bytes(4, "big") for number in range(5000)]
        call = channel.client_stream(CLIENT, numbers(), timeout=SOON)
        assert answer(await call.result()).requests == 5000
        call = channel.client_stream(CLIENT, [echo()] * 7, timeout=SOON)
        assert answer(await call.result()).requests == 7
        call = channel.client_stream(CLIENT, [], timeout=SOON)
        assert answer(await call.result()).requests == 0


@pytest.mark.flavours("asyncio", "uvloop", "readerless")
async def test_requests_come_from_an_asynchronous_iterator(connect: Connect, target: str) -> None:
    async def requests() -> AsyncIterator[bytes]:
        for request in numbers():
            yield request

    async with connect(target) as channel:
        call = channel.bidi(BIDI, requests(), timeout=SOON)
        received = [answer(message).payload async for message in call]
        assert received == [number.to_bytes(4, "big") for number in range(5000)]


async def test_a_call_of_any_kind_is_an_object(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.call(millstream.CallKind.UNARY, UNARY, echo(payload=b"1"), timeout=SOON)
        assert answer(await call.result()).payload == b"1"
        assert call.method == UNARY
        call = channel.call(millstream.CallKind.UNARY, UNARY, timeout=SOON)
        await call.send(echo(payload=b"2"))
        await call.done_sending()
        assert answer(await call.result()).payload == b"2"
        call = channel.call(millstream.CallKind.SERVER_STREAM, SERVER, echo(count=2), timeout=SOON)
        assert [answer(message).sequence async for message in call] == [1, 2]
        with pytest.raises(TypeError, match="sends a stream"):
            channel.call(millstream.CallKind.BIDI, BIDI, echo())


async def test_a_call_shows_what_it_is(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        assert target in repr(channel)
        call = channel.bidi(BIDI)
        inner = getattr(call, "inner", call)
        assert BIDI in repr(inner)
        assert "running" in repr(inner)
        call.cancel()
        assert "CANCELLED" in repr(inner)


async def test_compressed_calls_go_both_ways(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        for name in ("gzip", "deflate", "zstd", "identity"):
            metadata = {} if name == "identity" else {"x-respond-with": name}
            request = echo(payload=b"a" * 100_000, count=3)
            call = channel.server_stream(
                SERVER, request, compression=name, metadata=metadata, timeout=SOON
            )
            assert [len(answer(message).payload) async for message in call] == [100_000] * 3


async def test_a_unix_socket_is_a_target(connect: Connect, targets: dict[str, str]) -> None:
    async with connect(targets["unix"]) as channel:
        reply = await channel.unary(UNARY, echo(payload=b"unix"), timeout=SOON)
        assert answer(reply).payload == b"unix"


async def test_a_channel_becomes_ready_on_request(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        assert channel.state is millstream.ConnectivityState.IDLE
        assert channel.target == target
        await channel.wait_for_ready(SOON)
        assert channel.state.name == "READY"
