"""Closing, cancelling, deadlines, dropping."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

import millstream
import pytest
from millstream import ConnectivityState, StatusCode, _native
from support import BIDI, CLIENT, ECHO, SERVER, SOON, UNARY, answer, echo, reference_server

Connect = Callable[..., Any]

FOREVER = {"never_answer": True}


async def ended(call: Any) -> StatusCode:
    code = (await call.status(SOON)).code
    assert isinstance(code, StatusCode)
    return code


async def stats(channel: Any, call_id: str) -> Any:
    """What the server says of the calls with an id."""
    from contract.v1 import echo_pb2

    request = echo_pb2.StatsRequest(call_id=call_id).SerializeToString()
    return echo_pb2.StatsResponse.FromString(
        await channel.unary(ECHO + "Stats", request, timeout=SOON)
    )


async def cancelled_at_server(channel: Any, call_id: str) -> None:
    """Waits until the server has seen that a call was cancelled."""
    end = time.monotonic() + SOON
    while (await stats(channel, call_id)).cancelled == 0:
        assert time.monotonic() < end, "the server did not hear of the cancellation"
        time.sleep(0.01)


async def test_a_closed_channel_refuses_calls(connect: Connect, target: str) -> None:
    channel = connect(target)
    await channel.unary(UNARY, b"", timeout=SOON)
    await channel.close()
    await channel.close()
    assert channel.state is ConnectivityState.SHUTDOWN
    for start in (channel.server_stream, channel.unary):
        with pytest.raises(millstream.ClosedError):
            await start(UNARY, b"")
    with pytest.raises(millstream.ClosedError):
        channel.bidi(BIDI)
    with pytest.raises(millstream.ClosedError):
        await channel.wait_for_ready(SOON)


async def test_a_channel_can_be_closed_before_it_was_used(connect: Connect) -> None:
    channel = connect("http://127.0.0.1:1")
    await channel.close()


async def test_closing_a_channel_ends_its_calls(connect: Connect, target: str) -> None:
    channel = connect(target)
    call = channel.bidi(BIDI)
    await call.send(echo())
    assert await call.receive(SOON)
    await channel.close()
    assert await ended(call) is StatusCode.CANCELLED
    with pytest.raises(millstream.Cancelled, match="closed"):
        await call.receive()
    with pytest.raises(millstream.Cancelled, match="closed"):
        await call.send(b"")


async def test_a_call_can_be_cancelled_before_it_is_sent(connect: Connect) -> None:
    async with connect("http://127.0.0.1:1") as channel:
        call = channel.bidi(BIDI, wait_for_ready=True)
        call.cancel()
        assert await ended(call) is StatusCode.CANCELLED


async def test_a_call_can_be_cancelled_during_it(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        options = {"metadata": {"x-call-id": "cancel-during"}, "timeout": SOON}
        call = channel.server_stream(SERVER, echo(count=3, never_finish=True), **options)
        assert await call.receive()
        call.cancel("no more of this")
        call.cancel()
        assert await ended(call) is StatusCode.CANCELLED
        with pytest.raises(millstream.Cancelled, match="no more of this"):
            async for _ in call:
                pass
        await cancelled_at_server(channel, "cancel-during")


async def test_a_cancel_after_the_end_changes_nothing(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(count=2), timeout=SOON)
        assert await ended(call) is StatusCode.OK
        call.cancel()
        assert [answer(message).sequence async for message in call] == [1, 2]
        assert await ended(call) is StatusCode.OK


async def test_leaving_the_block_of_a_call_cancels_it(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        with pytest.raises(ZeroDivisionError):
            async with channel.bidi(BIDI, timeout=SOON) as call:
                await call.send(echo())
                raise ZeroDivisionError
        assert await ended(call) is StatusCode.CANCELLED


async def test_a_consumer_that_raises_ends_the_call(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        options = {"metadata": {"x-call-id": "consumer"}, "timeout": SOON}
        with pytest.raises(ZeroDivisionError):
            async for _ in channel.server_stream(SERVER, echo(never_finish=True), **options):
                raise ZeroDivisionError
        gc.collect()
        await cancelled_at_server(channel, "consumer")


async def test_a_deserializer_that_raises_loses_one_message(connect: Connect, target: str) -> None:
    def picky(message: bytes) -> int:
        number = int(answer(message).sequence)
        if number == 2:
            raise ValueError("I do not like 2")
        return number

    async with connect(target) as channel:
        call = channel.server_stream(
            SERVER, echo(count=3), response_deserializer=picky, timeout=SOON
        )
        assert await call.receive() == 1
        with pytest.raises(ValueError, match="I do not like 2"):
            await call.receive()
        assert await call.receive() == 3
        assert await call.receive() is None
        with pytest.raises(ValueError, match="I do not like 2"):
            async for _ in channel.server_stream(
                SERVER, echo(count=3), response_deserializer=picky, timeout=SOON
            ):
                pass


async def test_a_serializer_that_raises_sends_nothing(connect: Connect, target: str) -> None:
    def broken(_: object) -> bytes:
        raise ValueError("cannot write this")

    async with connect(target) as channel:
        with pytest.raises(ValueError, match="cannot write this"):
            await channel.unary(UNARY, 1, request_serializer=broken)
        with pytest.raises(TypeError, match="a message is bytes"):
            await channel.unary(UNARY, 1, request_serializer=str)
        call = channel.client_stream(CLIENT, request_serializer=broken, timeout=SOON)
        with pytest.raises(ValueError, match="cannot write this"):
            await call.send(1)
        await call.done_sending()
        assert answer(await call.result()).requests == 0


async def test_dropping_a_call_cancels_it(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        options = {"metadata": {"x-call-id": "dropped"}, "timeout": SOON}
        call = channel.bidi(BIDI, **options)
        await call.send(echo())
        assert await call.receive()
        del call
        gc.collect()
        await cancelled_at_server(channel, "dropped")


async def test_dropping_a_call_stops_the_iterator_of_its_requests(
    connect: Connect, target: str
) -> None:
    stopped = []

    def requests() -> Any:
        try:
            while True:
                yield echo(payload=b"x" * 1000)
        finally:
            stopped.append(True)

    async with connect(target) as channel:
        options = {"metadata": {"x-call-id": "endless"}, "timeout": SOON}
        async for _ in channel.bidi(BIDI, requests(), **options):
            break
        gc.collect()
        await cancelled_at_server(channel, "endless")
    end = time.monotonic() + SOON
    while not stopped and time.monotonic() < end:
        await rest()
    assert stopped


async def rest() -> None:
    """Lets other threads and tasks run."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        time.sleep(0.01)
    else:
        await asyncio.sleep(0.01)


async def test_a_deadline_ends_a_call_that_is_not_answered(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        began = time.monotonic()
        with pytest.raises(millstream.DeadlineExceeded):
            await channel.unary(UNARY, echo(**FOREVER), timeout=0.2)
        with pytest.raises(TimeoutError):
            async for _ in channel.server_stream(SERVER, echo(**FOREVER), timeout=0.2):
                pass
        assert 0.4 <= time.monotonic() - began < SOON


async def test_a_deadline_ends_a_stream_that_flows(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(count=100_000, interval_ms=5), timeout=0.5)
        received = 0
        with pytest.raises(millstream.DeadlineExceeded):
            async for _ in call:
                received += 1
        assert received > 0


@pytest.mark.parametrize("timeout", [0, -1.5])
async def test_a_deadline_that_has_passed_ends_the_call_at_once(
    connect: Connect, target: str, timeout: float
) -> None:
    async with connect(target) as channel:
        with pytest.raises(millstream.DeadlineExceeded):
            await channel.unary(UNARY, b"", timeout=timeout)


async def test_a_deadline_holds_while_a_connection_is_awaited(connect: Connect) -> None:
    async with connect("http://127.0.0.1:1") as channel:
        with pytest.raises(millstream.DeadlineExceeded):
            await channel.unary(UNARY, b"", timeout=0.3, wait_for_ready=True)


async def test_a_deadline_ends_a_send_that_waits_for_room(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=0.5)
        # Answers are not taken, so the server stops reading sooner or later.
        with pytest.raises(millstream.DeadlineExceeded):
            while True:
                await call.send(echo(payload=b"x" * 100_000))


async def test_a_local_wait_that_runs_out_leaves_the_call_alone(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel:
        async with channel.bidi(BIDI, timeout=SOON) as call:
            with pytest.raises(millstream.TimeoutError, match="no message came in time"):
                await call.receive(timeout=0.05)
            with pytest.raises(TimeoutError, match="the call did not end in time"):
                await call.status(timeout=0)
            with pytest.raises(TimeoutError, match="the call did not end in time"):
                await call.trailers(timeout=0.01)
            await call.send(echo(payload=b"still here"))
            assert answer(await call.receive(timeout=SOON)).payload == b"still here"
        call = channel.client_stream(CLIENT, timeout=SOON)
        with pytest.raises(TimeoutError):
            await call.result(timeout=0.05)
        with pytest.raises(TimeoutError, match="the headers did not come in time"):
            await call.headers(timeout=0.05)
        await call.done_sending()
        assert answer(await call.result(timeout=SOON)).requests == 0


async def test_a_channel_that_does_not_become_ready_is_a_timeout(connect: Connect) -> None:
    async with connect("http://127.0.0.1:1") as channel:
        with pytest.raises(millstream.TimeoutError, match=r"was not ready within 0\.2 s"):
            await channel.wait_for_ready(timeout=0.2)


async def test_a_refused_connection_is_unavailable(connect: Connect) -> None:
    async with connect("http://127.0.0.1:1") as channel:
        with pytest.raises(millstream.Unavailable, match=r"127\.0\.0\.1:1"):
            await channel.unary(UNARY, b"", timeout=SOON)


async def test_an_unknown_method_is_unimplemented(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        for method in (ECHO + "Nothing", "/nothing.v1.Nothing/Nothing"):
            with pytest.raises(millstream.Unimplemented):
                await channel.unary(method, b"", timeout=SOON)


async def test_a_send_after_the_half_close_is_refused(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        await call.done_sending()
        with pytest.raises(millstream.InvalidStateError):
            await call.send(b"")
        async for _ in call:
            pass


async def test_a_second_request_of_a_unary_call_is_refused(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.call(millstream.CallKind.UNARY, UNARY, b"", timeout=SOON)
        with pytest.raises(millstream.InvalidStateError):
            await call.send(b"")
        assert await call.result()


async def test_a_server_that_is_killed_ends_its_calls(connect: Connect) -> None:
    with reference_server() as server:
        async with connect(server.ready["http"]) as channel:
            call = channel.bidi(BIDI, timeout=SOON)
            await call.send(echo())
            assert await call.receive()
            server.kill()
            with pytest.raises(millstream.Unavailable):
                await call.receive()
            with pytest.raises(millstream.Unavailable):
                await channel.unary(UNARY, b"", timeout=SOON)


async def test_a_closed_channel_lets_go_of_everything(connect: Connect, target: str) -> None:
    before = _native.live()
    for _ in range(20):
        async with connect(target) as channel:
            calls = [channel.bidi(BIDI) for _ in range(10)]
            for call in calls:
                await call.send(echo())
                await call.receive()
            del call, calls
    del channel
    end = time.monotonic() + SOON
    # A queue belongs to the event loop, which still runs.
    while _native.live()[:2] != before[:2] and time.monotonic() < end:
        gc.collect()
        await rest()
    assert _native.live()[:2] == before[:2]
