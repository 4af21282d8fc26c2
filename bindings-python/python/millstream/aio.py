"""The same for asyncio: `channel()`, and calls whose methods are awaited.

    async with millstream.aio.channel("http://localhost:50051") as channel:
        reply = await channel.unary("/echo.Echo/Say", b"hello", timeout=5)
        async for message in channel.server_stream("/echo.Echo/Repeat", b"hello"):
            print(message)

One channel serves any number of event loops and threads; a call belongs to the loop that made it.
Cancelling a task that waits for a response, a message, or room to send cancels the call.
"""

from __future__ import annotations

import asyncio
import functools
import time
import warnings
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from typing import Any, Self, TypeVar, Unpack, overload

from millstream import _native
from millstream._errors import ClosedError, TimeoutError
from millstream._native import AioCall as Call
from millstream._options import Pem, open_native
from millstream._types import CallKind, CallOptions, ChannelOptions, ConnectivityState

__all__ = ["Call", "Channel", "channel"]

Res = TypeVar("Res")

_pumps: set[asyncio.Task[None]] = set()
"""asyncio itself holds tasks weakly."""


class Channel:
    """A connection to a target, made when the first call needs it and again when it is lost.

    Any number of event loops and threads may use a channel at once. Every method that starts a
    call takes

    - ``request_serializer``: makes bytes of a request, such as ``Request.SerializeToString``;
      without it requests are bytes, or anything with a buffer of bytes;
    - ``response_deserializer``: makes something of the bytes of a response, such as
      ``Response.FromString``; without it responses are bytes;
    - the options of `CallOptions` by name.

    Raises `ClosedError` after `close()`, `ForkedError` in a forked child, `InvalidArgumentError`
    and `InvalidMetadataError` for options that can never be right.
    """

    __slots__ = ("__weakref__", "_native", "_open")

    def __init__(
        self,
        target: str,
        *,
        roots: Pem | None = None,
        cert_chain: Pem | None = None,
        private_key: Pem | None = None,
        server_name: str | None = None,
        **options: Unpack[ChannelOptions],
    ) -> None:
        self._open = False
        self._native = open_native(target, roots, cert_chain, private_key, server_name, options)
        self._open = True

    @overload
    def unary(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: None = None,
        **options: Unpack[CallOptions],
    ) -> Coroutine[Any, Any, bytes]: ...
    @overload
    def unary(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> Coroutine[Any, Any, Res]: ...
    def unary(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], object] | None = None,
        **options: Unpack[CallOptions],
    ) -> Coroutine[Any, Any, object]:
        """One request, one response: the call starts now, awaiting it gives the response.

        Raises an `RpcError` when the call fails. For headers and trailers use `call()`.
        """
        return self._native.aio_unary(
            method, request, request_serializer, response_deserializer, options
        )

    @overload
    def server_stream(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: None = None,
        **options: Unpack[CallOptions],
    ) -> Call[bytes]: ...
    @overload
    def server_stream(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> Call[Res]: ...
    def server_stream(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Call[Any]:
        """One request, many responses: iterate over the call with ``async for``."""
        return self._native.aio_call(
            CallKind.SERVER_STREAM,
            method,
            request,
            request_serializer,
            response_deserializer,
            options,
        )

    @overload
    def client_stream(
        self,
        method: str,
        requests: Iterable[object] | AsyncIterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: None = None,
        **options: Unpack[CallOptions],
    ) -> Call[bytes]: ...
    @overload
    def client_stream(
        self,
        method: str,
        requests: Iterable[object] | AsyncIterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> Call[Res]: ...
    def client_stream(
        self,
        method: str,
        requests: Iterable[object] | AsyncIterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Call[Any]:
        """Many requests, one response: ``await call.result()``.

        Requests are sent with ``await call.send()`` and ended with ``await call.done_sending()``,
        or come from an iterable, asynchronous or not, which a task of its own then iterates over.
        If that raises, the call is cancelled and whoever receives from it gets the exception.
        """
        call = self._native.aio_call(
            CallKind.CLIENT_STREAM,
            method,
            None,
            request_serializer,
            response_deserializer,
            options,
        )
        _send_all(call, requests)
        return call

    @overload
    def bidi(
        self,
        method: str,
        requests: Iterable[object] | AsyncIterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: None = None,
        **options: Unpack[CallOptions],
    ) -> Call[bytes]: ...
    @overload
    def bidi(
        self,
        method: str,
        requests: Iterable[object] | AsyncIterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> Call[Res]: ...
    def bidi(
        self,
        method: str,
        requests: Iterable[object] | AsyncIterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Call[Any]:
        """Many requests, many responses, independent of each other.

        Requests are sent as with `client_stream()`. One task may receive while others send.
        """
        call = self._native.aio_call(
            CallKind.BIDI, method, None, request_serializer, response_deserializer, options
        )
        _send_all(call, requests)
        return call

    def call(
        self,
        kind: CallKind,
        method: str,
        request: object = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> Call[Any]:
        """A call of any kind, as an object with headers, trailers and status.

        With a request it is sent at once; without one use ``await call.send()``.
        """
        kind = CallKind(kind)
        if request is not None and not kind.one_request:
            raise TypeError(f"a call of kind {kind.name} sends a stream; use call.send()")
        return self._native.aio_call(
            kind, method, request, request_serializer, response_deserializer, options
        )

    @property
    def target(self) -> str:
        """What the channel was opened with."""
        return self._native.target

    @property
    def state(self) -> ConnectivityState:
        """Where the channel stands now."""
        return ConnectivityState(self._native.state())

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        """Connects and waits until the channel is ready, at most ``timeout`` seconds.

        Raises `TimeoutError` and `ClosedError`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        loop = asyncio.get_running_loop()
        while (state := self.state) is not ConnectivityState.READY:
            if state is ConnectivityState.SHUTDOWN:
                raise ClosedError(f"the channel to {self.target} is closed")
            self._native.connect()
            # A watch of another task replaces this one, so look again now and then.
            slice_ = _LOOK
            if deadline is not None:
                slice_ = min(slice_, deadline - time.monotonic())
                if slice_ <= 0:
                    raise TimeoutError(
                        f"{self.target} was not ready within {timeout} s; its state is {state.name}"
                    )
            changed = loop.create_future()
            tag = self._native.watch_state(state, changed)
            try:
                await asyncio.wait((changed,), timeout=slice_)
            finally:
                self._native.unwatch_state(tag)

    async def close(self) -> None:
        """Ends the open calls with CANCELLED, now. Idempotent; later calls raise `ClosedError`."""
        self._open = False
        self._native.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._open:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<millstream.aio.Channel {self.target}>"


def channel(
    target: str,
    *,
    roots: Pem | None = None,
    cert_chain: Pem | None = None,
    private_key: Pem | None = None,
    server_name: str | None = None,
    **options: Unpack[ChannelOptions],
) -> Channel:
    """Opens a channel for asyncio; takes what `millstream.channel()` takes.

    No event loop need run yet.
    """
    return Channel(
        target,
        roots=roots,
        cert_chain=cert_chain,
        private_key=private_key,
        server_name=server_name,
        **options,
    )


_LOOK = 0.1
"""Seconds after which a task that waits for a channel looks at it unasked."""


def _send_all(call: Call[Any], requests: Iterable[object] | AsyncIterable[object] | None) -> None:
    if requests is None:
        return
    # Without a reference to the call: dropping the call ends it, and so the task.
    sender = call._sender()
    task = asyncio.get_running_loop().create_task(_pump(sender, requests))
    _pumps.add(task)
    task.add_done_callback(_pumps.discard)
    sender.at_end(functools.partial(_stop, task))


def _stop(task: asyncio.Task[None], _ended: asyncio.Future[None]) -> None:
    task.cancel()


async def _pump(sender: _native.Sender, requests: Iterable[object] | AsyncIterable[object]) -> None:
    """Sends until the iterable ends or the call does, whichever is first."""
    try:
        if isinstance(requests, AsyncIterable):
            async for request in requests:
                if not await sender.send(request):
                    return
        else:
            for request in requests:
                if not await sender.send(request):
                    return
        sender.done_sending()
    except BaseException as error:
        # Does nothing when the call has ended, which is why the task may have been cancelled.
        sender.fail(error)
        if not isinstance(error, Exception):
            raise
    finally:
        close = getattr(requests, "aclose", None)
        if close is not None:
            await close()
