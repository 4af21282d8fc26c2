"""What only event loops have: tasks, cancellation, fairness."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import millstream
import millstream.aio
import pytest
from millstream import StatusCode
from support import BIDI, CLIENT, ECHO, LOOPS, SERVER, SOON, UNARY, answer, echo

Connect = Callable[..., Any]

pytestmark = pytest.mark.flavours(*LOOPS)


async def cancelled_at_server(channel: Any, call_id: str) -> None:
    from contract.v1 import echo_pb2

    request = echo_pb2.StatsRequest(call_id=call_id).SerializeToString()
    async with asyncio.timeout(SOON):
        while True:
            reply = await channel.unary(ECHO + "Stats", request)
            if echo_pb2.StatsResponse.FromString(reply).cancelled:
                return
            await asyncio.sleep(0.01)


async def test_a_unary_call_starts_before_it_is_awaited(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        first = channel.unary(UNARY, echo(payload=b"1"), timeout=SOON)
        second = channel.unary(UNARY, echo(payload=b"2"), timeout=SOON)
        assert answer(await second).payload == b"2"
        assert answer(await first).payload == b"1"
        with pytest.raises(RuntimeError, match="awaited already"):
            await first


async def test_operations_can_be_tasks(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        task = asyncio.create_task(channel.unary(UNARY, echo(payload=b"task"), timeout=SOON))
        assert answer(await task).payload == b"task"
        assert "Operation" in repr(asyncio.create_task(channel.unary(UNARY, b"", timeout=SOON)))
        call = channel.bidi(BIDI, timeout=SOON)
        receive = asyncio.create_task(call.receive())
        await asyncio.gather(call.send(echo(payload=b"1")), call.send(echo(payload=b"2")))
        assert answer(await receive).payload == b"1"
        assert answer(await asyncio.wait_for(call.receive(), SOON)).payload == b"2"
        stream = aiter(channel.server_stream(SERVER, echo(count=2), timeout=SOON))
        assert answer(await anext(stream)).sequence == 1
        assert answer(await asyncio.wait_for(anext(stream), SOON)).sequence == 2
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert await anext(stream, "default") == "default"
        call.cancel()


async def test_many_calls_are_in_flight_at_once(connect: Connect, target: str) -> None:
    async with connect(target) as channel:

        async def one(number: int) -> None:
            payload = number.to_bytes(4, "big")
            reply = await channel.unary(UNARY, echo(payload=payload), timeout=SOON)
            assert answer(reply).payload == payload

        for _ in range(5):
            await asyncio.gather(*(one(number) for number in range(400)))


@pytest.mark.parametrize("what", ["unary", "receive", "iterate", "batches", "result", "send"])
async def test_cancelling_the_task_cancels_the_call(
    connect: Connect, target: str, what: str
) -> None:
    call_id = f"task-{what}"
    options: dict[str, Any] = {"metadata": {"x-call-id": call_id}, "timeout": SOON}
    async with connect(target) as channel:

        async def work() -> None:
            if what == "unary":
                await channel.unary(UNARY, echo(never_answer=True), **options)
            elif what == "result":
                call = channel.client_stream(CLIENT, **options)
                await call.send(echo())
                await call.result()
            elif what == "send":
                call = channel.bidi(BIDI, **options)
                while True:
                    await call.send(echo(payload=b"x" * 100_000))
            else:
                call = channel.bidi(BIDI, **options)
                await call.send(echo())
                await call.receive()
                if what == "receive":
                    await call.receive()
                elif what == "iterate":
                    async for _ in call:
                        pass
                else:
                    async for _ in call.batches():
                        pass

        task = asyncio.create_task(work())
        await asyncio.sleep(0.3)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await cancelled_at_server(channel, call_id)


async def test_a_call_whose_task_was_cancelled_says_so(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await call.receive()
        status = await call.status()
        assert status.code is StatusCode.CANCELLED
        assert "cancelled with the task" in status.message


async def test_cancelling_a_task_that_only_watches_leaves_the_call(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel, channel.bidi(BIDI, timeout=SOON) as call:
        for watch in (call.headers, call.trailers, call.status):
            if watch == call.headers:
                continue  # they may be there already
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(watch(), 0.05)
        await call.send(echo(payload=b"on"))
        assert answer(await call.receive()).payload == b"on"


async def test_several_tasks_watch_one_call(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        watchers = [asyncio.create_task(call.status()) for _ in range(5)]
        watchers += [asyncio.create_task(call.trailers()) for _ in range(5)]
        await asyncio.sleep(0.05)
        await call.send(echo(finish={"code": 5}))
        statuses = await asyncio.gather(*watchers)
        assert [status.code for status in statuses[:5]] == [StatusCode.NOT_FOUND] * 5
        assert all(trailers.get("grpc-status") == "5" for trailers in statuses[5:])


async def test_a_second_task_that_receives_is_told_so(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        first = asyncio.create_task(call.receive())
        await asyncio.sleep(0.05)
        for second in (call.receive, aiter(call).__anext__, call.batches().__anext__):
            with pytest.raises(millstream.BusyError, match="another task"):
                await second()
        await call.send(echo(payload=b"for the first"))
        assert answer(await first).payload == b"for the first"
        call.cancel()


async def test_several_tasks_send_to_one_call(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.client_stream(CLIENT, timeout=SOON)

        async def send() -> None:
            for _ in range(100):
                await call.send(echo(payload=b"x" * 9973))

        await asyncio.gather(*(send() for _ in range(10)))
        await call.done_sending()
        assert answer(await call.result()).request_bytes == 1000 * 9973


async def test_a_fast_stream_lets_other_tasks_run(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        other = asyncio.create_task(tick())
        call = channel.server_stream(SERVER, echo(payload=b"x" * 50, count=300_000), timeout=SOON)
        async for _ in call:
            pass
        assert ticks > 10
        call = channel.client_stream(CLIENT, timeout=SOON)
        ticks = 0
        for _ in range(200_000):
            await call.send(b"")
        await call.send_many([b""] * 500_000)
        assert ticks > 5
        call.cancel()
        ticks = 0
        call = channel.client_stream(CLIENT, (b"" for _ in range(200_000)), timeout=SOON)
        assert answer(await call.result()).requests == 200_000
        assert ticks > 5
        other.cancel()


async def test_a_call_of_another_loop_is_refused(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)

        def elsewhere() -> None:
            async def receive() -> None:
                await call.receive()

            with pytest.raises(millstream.InvalidStateError, match="another event loop"):
                asyncio.run(receive())

        await asyncio.get_running_loop().run_in_executor(None, elsewhere)
        await call.send(echo())
        assert await call.receive()


def test_a_call_needs_a_running_loop(target: str) -> None:
    channel = millstream.aio.channel(target)
    with pytest.raises(RuntimeError, match="no running event loop"):
        channel.bidi(BIDI)
    with pytest.raises(RuntimeError, match="no running event loop"):
        _ = channel.unary(UNARY, b"")
    asyncio.run(channel.close())


async def test_a_message_that_is_never_awaited_is_warned_of(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        with pytest.warns(RuntimeWarning, match=r"send_many\(\) was never awaited"):
            call.send_many([b"1", b"2"])
        request = echo(payload=b"x" * 100_000)
        accepted = call.send(request)
        while (operation := call.send(request)) is accepted:
            pass
        with pytest.warns(RuntimeWarning, match=r"send\(\) was never awaited"):
            del operation
        call.cancel()


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_closed_under_its_tasks_leaves_nothing(target: str, loop: str) -> None:
    channel = millstream.aio.channel(target)

    async def forever() -> None:
        async for _ in channel.server_stream(SERVER, echo(never_answer=True)):
            pass

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0.05)
        return task

    runner = LOOPS[loop]()
    task = runner.run_until_complete(begin())
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    runner.close()
    del task, runner

    async def other() -> None:
        assert await channel.unary(UNARY, b"", timeout=SOON)
        await channel.close()

    asyncio.run(other())
    gc.collect()


async def test_debug_mode_of_asyncio_finds_nothing_wrong(connect: Connect, target: str) -> None:
    asyncio.get_running_loop().set_debug(True)
    async with connect(target) as channel:
        assert await channel.unary(UNARY, b"", timeout=SOON)
        async for _ in channel.bidi(BIDI, [echo()] * 10, timeout=SOON):
            pass


async def test_a_traced_program_gets_the_same(connect: Connect, target: str) -> None:
    """Under a tracer the interpreter calls `send` and `__next__` instead of the fast slot."""
    import sys

    async with connect(target) as channel:
        old = sys.gettrace()
        sys.settrace(lambda *_: None)
        try:
            call = channel.server_stream(SERVER, echo(count=100), timeout=SOON)
            assert [answer(message).sequence async for message in call] == list(range(1, 101))
            assert answer(await channel.unary(UNARY, b"", timeout=SOON)).requests == 1
        finally:
            sys.settrace(old)


async def test_tuples_and_exceptions_are_results_like_others(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        for value in ((), (1, 2), ValueError("a value"), None, StopIteration(1)):
            got = await channel.unary(
                UNARY, b"", response_deserializer=lambda _, value=value: value, timeout=SOON
            )
            assert got is value
