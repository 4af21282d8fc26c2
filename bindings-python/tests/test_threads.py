"""Threads and event loops that share channels and calls."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import millstream
import millstream.aio
import pytest
from millstream import _native
from support import BIDI, CLIENT, LOOPS, SERVER, SOON, UNARY, answer, count, echo


def threads() -> int:
    """Threads of this process, those of the core included."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("Threads:"))


def test_many_threads_share_a_channel(target: str) -> None:
    with millstream.channel(target) as channel:

        def work(number: int) -> int:
            payload = str(number).encode()
            for _ in range(20):
                reply = channel.unary(UNARY, echo(payload=payload), timeout=SOON)
                assert answer(reply).payload == payload
            return count(channel.server_stream(SERVER, echo(count=500), timeout=SOON))

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(work, range(32))) == [500] * 32


def test_one_thread_sends_while_another_receives(target: str) -> None:
    with millstream.channel(target) as channel, channel.bidi(BIDI, timeout=SOON) as call:

        def send() -> None:
            for _ in range(20_000):
                call.send(echo(payload=b"x" * 100))
            call.done_sending()

        sender = threading.Thread(target=send)
        sender.start()
        sequence = [answer(message).sequence for message in call]
        sender.join(SOON)
        assert sequence == list(range(1, 20_001))


def test_many_threads_send_whole_messages(target: str) -> None:
    with millstream.channel(target) as channel, channel.client_stream(CLIENT, timeout=SOON) as call:

        def send(_: int) -> None:
            for _ in range(500):
                call.send(echo(payload=b"x" * 997))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(send, range(8)))
        call.done_sending()
        reply = answer(call.result())
        assert (reply.requests, reply.request_bytes) == (4000, 4000 * 997)


def test_a_second_thread_that_receives_is_told_so(target: str) -> None:
    with millstream.channel(target) as channel, channel.bidi(BIDI, timeout=SOON) as call:
        waiting = threading.Event()

        def receive() -> bytes | None:
            waiting.set()
            return call.receive()

        with ThreadPoolExecutor(1) as pool:
            received = pool.submit(receive)
            waiting.wait(SOON)
            end = time.monotonic() + SOON
            while time.monotonic() < end:
                try:
                    call.receive(timeout=0.001)
                except millstream.BusyError:
                    break
                except millstream.TimeoutError:
                    continue  # the thread was not there yet; it retries below
                pytest.fail("a message came from nowhere")
            for receive_more in (lambda: next(call), lambda: next(call.batches())):
                with pytest.raises(millstream.BusyError, match="another thread"):
                    receive_more()
            call.send(echo(payload=b"for the first"))
            message = received.result(SOON)
            assert message is not None
            assert answer(message).payload == b"for the first"


def test_a_thread_that_waits_is_woken_by_a_cancel(target: str) -> None:
    with millstream.channel(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        waiting = threading.Event()

        def receive() -> bytes | None:
            waiting.set()
            return call.receive()

        with ThreadPoolExecutor(1) as pool:
            received = pool.submit(receive)
            waiting.wait(SOON)
            time.sleep(0.05)
            call.cancel("from another thread")
            with pytest.raises(millstream.Cancelled, match="from another thread"):
                received.result(SOON)


def test_a_thread_that_waits_is_woken_by_the_closing_of_the_channel(target: str) -> None:
    channel = millstream.channel(target)
    call = channel.bidi(BIDI, timeout=SOON)
    with ThreadPoolExecutor(2) as pool:
        waits: list[Callable[[], Any]] = [call.receive, call.status]
        waiting = [pool.submit(wait) for wait in waits]
        time.sleep(0.05)
        channel.close()
        with pytest.raises(millstream.Cancelled):
            waiting[0].result(SOON)
        assert waiting[1].result(SOON).code is millstream.StatusCode.CANCELLED


def test_other_threads_run_while_one_waits(target: str) -> None:
    with millstream.channel(target) as channel, channel.bidi(BIDI, timeout=SOON) as call:
        with ThreadPoolExecutor(1) as pool:
            received = pool.submit(call.receive, SOON)
            total = sum(range(1_000_000))
            assert total == 499999500000
            assert not received.done()
            call.send(echo())
            assert received.result(SOON)


@pytest.mark.parametrize("loop", LOOPS)
def test_many_event_loops_share_a_channel(target: str, loop: str) -> None:
    channel = millstream.aio.channel(target)

    async def work(number: int) -> int:
        replies = await asyncio.gather(
            *(channel.unary(UNARY, echo(payload=bytes([n])), timeout=SOON) for n in range(20))
        )
        assert [answer(reply).payload for reply in replies] == [bytes([n]) for n in range(20)]
        received = 0
        async for _ in channel.server_stream(SERVER, echo(count=500), timeout=SOON):
            received += 1
        return received

    def thread(number: int) -> int:
        with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
            return runner.run(work(number))

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(thread, range(12))) == [500] * 12
    asyncio.run(channel.close())


def test_the_number_of_threads_stays_flat(target: str) -> None:
    with millstream.channel(target) as channel:
        channel.unary(UNARY, b"", timeout=SOON)
        before = threads()
        calls = [channel.bidi(BIDI, timeout=SOON) for _ in range(100)]
        for call in calls:
            call.send(echo())
        assert all(call.receive() for call in calls)
        more = [millstream.channel(target) for _ in range(10)]
        for other in more:
            other.unary(UNARY, b"", timeout=SOON)
        assert threads() == before
        for other in more:
            other.close()


def test_the_thread_of_an_iterator_ends_with_it(target: str) -> None:
    with millstream.channel(target) as channel:
        before = threading.active_count()
        for _ in range(20):
            call = channel.client_stream(CLIENT, iter([b""] * 10), timeout=SOON)
            assert answer(call.result()).requests == 10
        end = time.monotonic() + SOON
        while threading.active_count() > before and time.monotonic() < end:
            time.sleep(0.01)
        assert threading.active_count() == before


def test_nothing_is_left_of_thousands_of_calls(target: str) -> None:
    with millstream.channel(target) as channel:
        for number in range(2000):
            channel.unary(UNARY, b"", timeout=SOON)
            if number % 4 == 0:
                call = channel.server_stream(SERVER, echo(count=3), timeout=SOON)
                next(call)
        del call
        gc.collect()
        end = time.monotonic() + SOON
        while _native.live()[1] and time.monotonic() < end:
            time.sleep(0.01)
        assert _native.live()[1] == 0
