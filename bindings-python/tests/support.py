"""Servers, messages, and one face for the synchronous and the asyncio package."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Self

import millstream
import millstream.aio

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))

ECHO = "/contract.v1.Echo/"
UNARY, CLIENT, SERVER, BIDI = (
    ECHO + name for name in ("Unary", "ClientStream", "ServerStream", "Bidi")
)

SOON = 30.0
"""Seconds that no step of a test should ever need."""


def binary(variable: str, name: str) -> Path:
    """The program that a variable of the environment names, or that of a debug build."""
    path = Path(os.environ.get(variable) or TARGET / "debug" / name)
    if not path.exists():
        raise FileNotFoundError(f"{path} is not there: cargo build -p {name}, or set {variable}")
    return path


class Server:
    """A server of the harness. It ends with its standard input, at the latest with this process."""

    def __init__(self, variable: str, name: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [binary(variable, name), "serve", "--exit-with-stdin", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"{name} ended with {self.process.wait(SOON)} before it was ready"
        self.ready: dict[str, str] = json.loads(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SOON)

    def stop(self) -> None:
        self.process.communicate(timeout=SOON)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()


def reference_server(*arguments: str) -> Server:
    return Server("MILLSTREAM_REFERENCE_SERVER", "reference-server", *arguments)


def fault_server() -> Server:
    return Server("MILLSTREAM_FAULT_SERVER", "fault-server")


def generate_messages(out: Path) -> None:
    """Makes the Python messages of the harness's own service."""
    out.mkdir(parents=True, exist_ok=True)
    source = "contract/v1/echo.proto"
    subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"-I{ROOT / 'proto'}", f"--python_out={out}", source),
        ],
        check=True,
    )


def echo_request(**fields: Any) -> Any:
    from contract.v1 import echo_pb2

    return echo_pb2.EchoRequest(**fields)


def echo(**fields: Any) -> bytes:
    """An encoded request to `contract.v1.Echo`."""
    encoded: bytes = echo_request(**fields).SerializeToString()
    return encoded


def answer(message: bytes) -> Any:
    """A decoded answer of `contract.v1.Echo`."""
    from contract.v1 import echo_pb2

    return echo_pb2.EchoResponse.FromString(message)


class SyncCall:
    """A synchronous call with the face of one of asyncio."""

    def __init__(self, call: millstream.Call[Any]) -> None:
        self.inner = call

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name in ("cancel", "done", "method"):
            return method

        async def inline(*arguments: Any, **options: Any) -> Any:
            return method(*arguments, **options)

        return inline

    async def batches(self) -> AsyncIterator[millstream.Batch[Any]]:
        for batch in self.inner.batches():
            yield batch

    async def __aiter__(self) -> AsyncIterator[Any]:
        for message in self.inner:
            yield message

    async def __aenter__(self) -> Self:
        self.inner.__enter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.inner.__exit__(*exception)


class SyncChannel:
    """A synchronous channel with the face of one of asyncio."""

    def __init__(self, channel: millstream.Channel) -> None:
        self.inner = channel

    @property
    def state(self) -> millstream.ConnectivityState:
        return self.inner.state

    @property
    def target(self) -> str:
        return self.inner.target

    async def unary(self, *arguments: Any, **options: Any) -> Any:
        return self.inner.unary(*arguments, **options)

    def server_stream(self, *arguments: Any, **options: Any) -> SyncCall:
        return SyncCall(self.inner.server_stream(*arguments, **options))

    def client_stream(self, *arguments: Any, **options: Any) -> SyncCall:
        return SyncCall(self.inner.client_stream(*arguments, **options))

    def bidi(self, *arguments: Any, **options: Any) -> SyncCall:
        return SyncCall(self.inner.bidi(*arguments, **options))

    def call(self, *arguments: Any, **options: Any) -> SyncCall:
        return SyncCall(self.inner.call(*arguments, **options))

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        self.inner.wait_for_ready(timeout)

    async def close(self) -> None:
        self.inner.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.inner.close()

    def __repr__(self) -> str:
        return repr(self.inner)


class ReaderlessLoop(asyncio.SelectorEventLoop):
    """An event loop that watches no file descriptors for others, like the Proactor of Windows."""

    def add_reader(self, *_arguments: Any) -> Any:  # type: ignore[override]
        raise NotImplementedError


def uvloop_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop_loop,
    "readerless": ReaderlessLoop,
}

FLAVOURS = ["sync", *LOOPS]


def run(flavour: str, coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a test: in an event loop, or straight through."""
    if flavour == "sync":
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError("a synchronous call waited for an event loop")
    with asyncio.Runner(loop_factory=LOOPS[flavour]) as runner:
        runner.run(coroutine)


def opener(flavour: str) -> Callable[..., Any]:
    """What opens a channel, whose methods have the face of asyncio either way."""
    if flavour == "sync":
        return lambda *arguments, **options: SyncChannel(millstream.channel(*arguments, **options))
    return millstream.aio.channel


def python(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a program of its own, and waits for it."""
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=SOON * 2,
        **options,
    )


def count(messages: Iterable[object]) -> int:
    return sum(1 for _ in messages)
