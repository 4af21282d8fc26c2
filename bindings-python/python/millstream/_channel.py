"""Synchronous channels."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar, Unpack, overload

from millstream import _native
from millstream._errors import ClosedError, TimeoutError
from millstream._options import Pem, open_native
from millstream._types import CallKind, CallOptions, ChannelOptions, ConnectivityState

Res = TypeVar("Res")


class Channel:
    """A connection to a target, made when the first call needs it and again when it is lost.

    Any number of threads may use a channel at once. Every method that starts a call takes

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
    ) -> bytes: ...
    @overload
    def unary(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> Res: ...
    def unary(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], object] | None = None,
        **options: Unpack[CallOptions],
    ) -> object:
        """One request, one response: waits for the response and returns it.

        Raises an `RpcError` when the call fails. For headers and trailers use `call()`.
        """
        return self._native.unary(
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
    ) -> _native.Call[bytes]: ...
    @overload
    def server_stream(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> _native.Call[Res]: ...
    def server_stream(
        self,
        method: str,
        request: object,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> _native.Call[Any]:
        """One request, many responses: iterate over the call."""
        return self._native.call(
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
        requests: Iterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: None = None,
        **options: Unpack[CallOptions],
    ) -> _native.Call[bytes]: ...
    @overload
    def client_stream(
        self,
        method: str,
        requests: Iterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> _native.Call[Res]: ...
    def client_stream(
        self,
        method: str,
        requests: Iterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> _native.Call[Any]:
        """Many requests, one response: ``call.result()``.

        Requests are sent with ``call.send()`` and ended with ``call.done_sending()``, or come from
        an iterable, which a thread of its own then iterates over. If that raises, the call is
        cancelled and whoever receives from the call gets the exception.
        """
        call = self._native.call(
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
        requests: Iterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: None = None,
        **options: Unpack[CallOptions],
    ) -> _native.Call[bytes]: ...
    @overload
    def bidi(
        self,
        method: str,
        requests: Iterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Res],
        **options: Unpack[CallOptions],
    ) -> _native.Call[Res]: ...
    def bidi(
        self,
        method: str,
        requests: Iterable[object] | None = None,
        *,
        request_serializer: Callable[[Any], bytes] | None = None,
        response_deserializer: Callable[[bytes], Any] | None = None,
        **options: Unpack[CallOptions],
    ) -> _native.Call[Any]:
        """Many requests, many responses, independent of each other.

        Requests are sent as with `client_stream()`. One thread may receive while another sends.
        """
        call = self._native.call(
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
    ) -> _native.Call[Any]:
        """A call of any kind, as an object with headers, trailers and status.

        With a request it is sent at once; without one use ``call.send()``.
        """
        kind = CallKind(kind)
        if request is not None and not kind.one_request:
            raise TypeError(f"a call of kind {kind.name} sends a stream; use call.send()")
        return self._native.call(
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

    def wait_for_ready(self, timeout: float | None = None) -> None:
        """Connects and waits until the channel is ready, at most ``timeout`` seconds.

        Raises `TimeoutError` and `ClosedError`.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (state := self.state) is not ConnectivityState.READY:
            if state is ConnectivityState.SHUTDOWN:
                raise ClosedError(f"the channel to {self.target} is closed")
            self._native.connect()
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._native.wait_state(state, left):
                raise TimeoutError(
                    f"{self.target} was not ready within {timeout} s; its state is {state.name}"
                )

    def close(self) -> None:
        """Ends the open calls with CANCELLED, now. Idempotent; later calls raise `ClosedError`."""
        self._open = False
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self._open:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<millstream.Channel {self.target}>"


def channel(
    target: str,
    *,
    roots: Pem | None = None,
    cert_chain: Pem | None = None,
    private_key: Pem | None = None,
    server_name: str | None = None,
    **options: Unpack[ChannelOptions],
) -> Channel:
    """Opens a channel to ``http://host:port``, ``https://host:port`` or ``unix:/path``.

    It connects when the first call needs it. For ``https``: ``roots`` are the certificates to trust
    (default: those of the operating system), ``cert_chain`` and ``private_key`` identify the
    client; each is PEM as bytes, or the path of a file. ``server_name`` is the name that the
    server's certificate must be for (default: the host of the target). For the options see
    `ChannelOptions`.

    Raises `InvalidTargetError`, `InvalidTlsError` and `InvalidArgumentError`.

        with millstream.channel("http://localhost:50051") as channel:
            reply = channel.unary("/echo.Echo/Say", b"hello", timeout=5)
    """
    return Channel(
        target,
        roots=roots,
        cert_chain=cert_chain,
        private_key=private_key,
        server_name=server_name,
        **options,
    )


def _send_all(call: _native.Call[Any], requests: Iterable[object] | None) -> None:
    if requests is not None:
        thread = threading.Thread(
            target=call._request_pump(), args=(requests,), name="millstream-requests", daemon=True
        )
        thread.start()
