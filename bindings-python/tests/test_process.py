"""What concerns the process: signals, fork, the end of the interpreter, memory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import pytest
from support import LOOPS, SOON, python

TESTS = os.path.dirname(__file__)

HEAD = f"""
import asyncio, gc, os, signal, sys, threading, time, warnings
# What CPython 3.12 and later say of every fork of a process with threads.
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
sys.path.insert(0, {TESTS!r})
import millstream, millstream.aio
from support import BIDI, CLIENT, SERVER, UNARY, LOOPS, SOON
target = sys.argv[1]

def field(number, wire_type, value):
    return bytes([number << 3 | wire_type]) + value

# Requests of contract.v1.Echo, by hand: these programs need no generated messages.
NEVER_ANSWER = field(6, 0, b"\\x01")
NEVER_FINISH = field(7, 0, b"\\x01")
"""


def program(body: str) -> str:
    return HEAD + textwrap.dedent(body)


def passes(body: str, *arguments: str) -> str:
    """Runs a program, which must end by itself and in good order."""
    done = python(program(body), *arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


WAITS = {
    "next": "next(channel.server_stream(SERVER, NEVER_ANSWER))",
    "batches": "next(channel.server_stream(SERVER, NEVER_ANSWER).batches())",
    "unary": "channel.unary(UNARY, NEVER_ANSWER)",
    "result": "channel.client_stream(CLIENT).result()",
    "headers": "channel.client_stream(CLIENT).headers()",
    "status": "channel.bidi(BIDI).status()",
    "send": "[call.send(b'\\x0a\\xa0\\x8d\\x06' + bytes(100_000)) for call in [channel.bidi(BIDI)]"
    " for _ in range(10**9)]",
    "wait_for_ready": "millstream.channel('http://127.0.0.1:1').wait_for_ready()",
}


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_a_blocking_wait(target: str, wait: str) -> None:
    body = f"""
    channel = millstream.channel(target)
    print("ready", flush=True)
    try:
        {WAITS[wait]}
    except KeyboardInterrupt:
        print("interrupted")
    channel.close()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program(body), target], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(2)
    assert process.communicate(timeout=SOON)[0] == "interrupted\n"
    assert process.returncode == 0


def test_a_signal_handler_runs_during_a_wait(target: str) -> None:
    body = """
    channel = millstream.channel(target)
    call = channel.bidi(BIDI)
    signal.signal(signal.SIGALRM, lambda *_: call.send(b""))
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    assert call.receive(timeout=SOON)
    channel.close()
    """
    passes(body, target)


def test_what_a_signal_handler_raises_leaves_the_call_usable(target: str) -> None:
    body = """
    class Alarm(Exception): pass
    def ring(*_): raise Alarm
    with millstream.channel(target) as channel, channel.bidi(BIDI) as call:
        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        try:
            call.receive(timeout=SOON)
        except Alarm:
            call.send(b"")
            assert call.receive(timeout=SOON)
        else:
            raise SystemExit("the alarm was lost")
    """
    passes(body, target)


def test_ctrl_c_ends_an_event_loop(target: str) -> None:
    body = """
    async def main():
        async with millstream.aio.channel(target) as channel:
            print("ready", flush=True)
            async for _ in channel.server_stream(SERVER, NEVER_ANSWER): pass
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        print("interrupted")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", program(body), target], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(2)
    assert process.communicate(timeout=SOON)[0] == "interrupted\n"
    assert process.returncode == 0


def test_a_forked_child_gets_an_error_and_a_new_channel(target: str) -> None:
    body = """
    channel = millstream.channel(target)
    channel.unary(UNARY, b"")
    call = channel.bidi(BIDI)
    call.send(b"")
    assert call.receive()
    stream = channel.server_stream(SERVER, NEVER_ANSWER)
    batches = stream.batches()
    # A thread of the parent receives while the process forks.
    waiting = channel.server_stream(SERVER, NEVER_ANSWER)
    threading.Thread(target=lambda: next(waiting, None), daemon=True).start()
    time.sleep(0.1)

    def refused(operation):
        try:
            operation()
        except millstream.ForkedError as error:
            assert "open a new channel" in str(error), error
        else:
            raise SystemExit(f"worked in the child: {operation}")

    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        assert millstream._native.live() == (0, 0, 0)
        refused(lambda: channel.unary(UNARY, b""))
        refused(lambda: channel.bidi(BIDI))
        refused(lambda: channel.state)
        refused(lambda: channel.wait_for_ready(1))
        refused(lambda: call.send(b""))
        refused(lambda: call.send_many([b""]))
        refused(lambda: call.receive())
        refused(lambda: call.done_sending())
        refused(lambda: call.cancel())
        refused(lambda: call.headers())
        refused(lambda: call.status(1))
        refused(lambda: next(call))
        refused(lambda: next(batches))
        refused(lambda: next(waiting))
        channel.close()
        del call, stream, batches, waiting
        gc.collect()
        with millstream.channel(target) as new:
            new.unary(UNARY, b"", timeout=SOON)
            assert list(new.bidi(BIDI, [b""], timeout=SOON))
        async def main():
            async with millstream.aio.channel(target) as new:
                await new.unary(UNARY, b"", timeout=SOON)
        asyncio.run(main())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    # The parent goes on as if nothing had been.
    call.send(b"")
    assert call.receive()
    channel.unary(UNARY, b"", timeout=SOON)
    channel.close()
    """
    passes(body, target)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_process_that_forks_after_asyncio_was_used_can_use_it_in_the_child(
    target: str, loop: str
) -> None:
    body = f"""
    async def main():
        channel = millstream.aio.channel(target)
        await channel.unary(UNARY, b"", timeout=SOON)
        return channel
    def run():
        with asyncio.Runner(loop_factory=LOOPS[{loop!r}]) as runner:
            return runner.run(main())
    old = run()
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        async def use_old():
            try:
                await old.unary(UNARY, b"")
            except millstream.ForkedError:
                return True
        assert asyncio.run(use_old())
        asyncio.run(run().close())
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    asyncio.run(old.close())
    """
    passes(body, target)


def test_multiprocessing_by_fork_works_with_a_channel_in_each_process(target: str) -> None:
    body = """
    import multiprocessing
    def work(number):
        with millstream.channel(target) as channel:
            return len(list(channel.bidi(BIDI, [b""] * number, timeout=SOON)))
    with millstream.channel(target) as channel:
        channel.unary(UNARY, b"", timeout=SOON)
        with multiprocessing.get_context("fork").Pool(3) as pool:
            assert pool.map(work, range(12)) == list(range(12))
    """
    passes(body, target)


ENDINGS = {
    "open streams": """
    channel = millstream.channel(target)
    calls = [channel.server_stream(SERVER, NEVER_ANSWER) for _ in range(10)]
    firehose = channel.server_stream(SERVER, b"\\x0a\\x04payl\\x18\\xff\\xff\\xff\\x7f")
    next(firehose)
    """,
    "threads that wait": """
    channel = millstream.channel(target)
    def wait(start):
        try:
            for _ in start(): pass
        except BaseException: pass
    for _ in range(5):
        threading.Thread(target=wait, daemon=True, args=(
            lambda: channel.server_stream(SERVER, NEVER_ANSWER),)).start()
        threading.Thread(target=wait, daemon=True, args=(
            lambda: channel.server_stream(SERVER, b"\\x18\\xff\\xff\\xff\\x7f").batches(),)).start()
        threading.Thread(target=wait, daemon=True, args=(
            lambda: channel.server_stream(SERVER, b"\\x18\\xff\\xff\\xff\\x7f"),)).start()
    time.sleep(0.05)
    """,
    "python code called on other threads": """
    channel = millstream.channel(target)
    def decode(message):
        for _ in range(100): pass
        return message
    def requests():
        while True:
            for _ in range(100): pass
            yield b""
    def encode(request):
        for _ in range(100): pass
        return request
    def receive():
        for _ in channel.bidi(BIDI, requests(), request_serializer=encode,
                              response_deserializer=decode): pass
    for _ in range(3):
        threading.Thread(target=receive, daemon=True).start()
    time.sleep(0.05)
    """,
    "an iterator of requests that blocks": """
    channel = millstream.channel(target)
    def requests():
        yield b""
        time.sleep(1000)
    call = channel.bidi(BIDI, requests())
    next(call)
    """,
    "an event loop that still runs": """
    def loop():
        async def main():
            channel = millstream.aio.channel(target)
            async def firehose():
                async for _ in channel.server_stream(SERVER, b"\\x18\\xff\\xff\\xff\\x7f"): pass
            async def silence():
                async for _ in channel.server_stream(SERVER, NEVER_ANSWER): pass
            await asyncio.gather(firehose(), silence(), silence())
        asyncio.run(main())
    threading.Thread(target=loop, daemon=True).start()
    time.sleep(0.2)
    """,
    "an event loop without readers": """
    def loop():
        async def main():
            channel = millstream.aio.channel(target)
            async for _ in channel.server_stream(SERVER, b"\\x18\\xff\\xff\\xff\\x7f"): pass
        with asyncio.Runner(loop_factory=LOOPS["readerless"]) as runner:
            runner.run(main())
    threading.Thread(target=loop, daemon=True).start()
    time.sleep(0.2)
    """,
    "tasks that were cancelled by the end of the loop": """
    async def main():
        channel = millstream.aio.channel(target)
        async def receive():
            async for _ in channel.server_stream(SERVER, NEVER_ANSWER): pass
        tasks = [asyncio.create_task(receive()) for _ in range(10)]
        await asyncio.sleep(0.05)
        global kept
        kept = channel, tasks
    asyncio.run(main())
    """,
    "an exception that nobody catches": """
    channel = millstream.channel(target)
    call = channel.server_stream(SERVER, NEVER_FINISH)
    next(call)
    sys.exit("the end")
    """,
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_with_open_streams(target: str, ending: str) -> None:
    expected = (1, "the end\n") if "nobody catches" in ending else (0, "")
    for _ in range(15):
        done = python(program(ENDINGS[ending]), target)
        assert (done.returncode, done.stderr) == expected


def test_importing_the_package_installs_nothing(target: str) -> None:
    body = """
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert threading.active_count() == 1
    import atexit
    print(atexit._ncallbacks())
    """
    without = python("import atexit, asyncio, threading; print(atexit._ncallbacks())")
    assert int(passes(body, target)) <= int(without.stdout) + 1  # the one of weakref


def test_a_synchronous_program_does_not_load_asyncio() -> None:
    done = python("import millstream, sys; print('asyncio' in sys.modules, millstream.aio.Call)")
    assert done.stdout == "False <class 'millstream._native.AioCall'>\n", done.stderr


MEMORY = """
    def resident():
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
"""

LARGE = "b'\\x10\\x80\\x80\\x01\\x18\\xff\\xff\\x03'"  # 65,535 answers of 16 KiB: 1 GiB
SMALL = "b'\\x10\\x40\\x18\\xff\\xff\\xff\\x7f'"  # answers of 64 bytes without end


@pytest.mark.parametrize("request_", [LARGE, SMALL], ids=["large messages", "small messages"])
@pytest.mark.parametrize("consumer", ["sync", "asyncio"])
def test_a_consumer_that_stalls_holds_little_memory(
    target: str, request_: str, consumer: str
) -> None:
    """Under a stream of a gibibyte, less than 32 MiB."""
    sync = f"""
    with millstream.channel(target) as channel:
        channel.unary(UNARY, b"", timeout=SOON)
        before = resident()
        call = channel.server_stream(SERVER, {request_})
        next(call)
        time.sleep(2)
        grown = resident() - before
        next(call)
    """
    aio = f"""
    async def main():
        async with millstream.aio.channel(target) as channel:
            await channel.unary(UNARY, b"", timeout=SOON)
            before = resident()
            call = channel.server_stream(SERVER, {request_})
            await call.receive()
            time.sleep(2)
            grown = resident() - before
            await call.receive()
            return grown
    grown = asyncio.run(main())
    """
    body = textwrap.dedent(MEMORY) + textwrap.dedent(sync if consumer == "sync" else aio)
    assert int(passes(body + "\nprint(grown)", target)) < 32 * 1024


def test_a_sender_that_meets_no_reader_holds_little_memory(target: str) -> None:
    body = (
        textwrap.dedent(MEMORY)
        + """
with millstream.channel(target) as channel:
    channel.unary(UNARY, b"", timeout=SOON)
    before = resident()
    call = channel.bidi(BIDI, timeout=2)
    call.send(NEVER_ANSWER)
    try:
        while True:
            call.send(b"\\x0a\\xa0\\x8d\\x06" + bytes(100_000))
    except millstream.DeadlineExceeded:
        print(resident() - before)
"""
    )
    assert int(passes(body, target)) < 32 * 1024


def test_memory_does_not_grow_with_the_number_of_calls(target: str) -> None:
    body = (
        textwrap.dedent(MEMORY)
        + """
with millstream.channel(target) as channel:
    def work():
        for _ in range(700):
            channel.unary(UNARY, b"", timeout=SOON)
            call = channel.bidi(BIDI)
            call.send(b"")
            call.receive()
    work()
    before = resident()
    for _ in range(3):
        work()
    print(resident() - before)
"""
    )
    assert int(passes(body, target)) < 4 * 1024
