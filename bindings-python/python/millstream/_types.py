"""Values of the public interface."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypedDict, TypeVar, overload

if TYPE_CHECKING:
    from millstream._errors import StatusCode

T = TypeVar("T")

MetadataValue: TypeAlias = str | bytes
"""Text, or bytes for keys that end in ``-bin``."""

MetadataLike: TypeAlias = Mapping[str, MetadataValue] | Iterable[tuple[str, MetadataValue]]
"""What can be sent as metadata."""

Seconds: TypeAlias = float | timedelta


class CallKind(enum.IntEnum):
    """The four kinds of a method."""

    UNARY = 0
    """One request, one response."""
    CLIENT_STREAM = 1
    """Many requests, one response."""
    SERVER_STREAM = 2
    """One request, many responses."""
    BIDI = 3
    """Many requests, many responses."""

    @property
    def one_request(self) -> bool:
        """Whether the client sends exactly one message."""
        return self in (CallKind.UNARY, CallKind.SERVER_STREAM)


class ConnectivityState(enum.IntEnum):
    """Where a channel stands."""

    IDLE = 0
    CONNECTING = 1
    READY = 2
    TRANSIENT_FAILURE = 3
    SHUTDOWN = 4


class Metadata(tuple[tuple[str, MetadataValue], ...]):
    """Headers or trailers: pairs of key and value, in order, duplicates kept.

    Keys are lower case. Values are ``bytes`` for keys that end in ``-bin`` and ``str`` for the
    others; what a peer sent against the rules is kept with ``surrogateescape``.
    """

    __slots__ = ()

    @overload
    def get(self, key: str) -> MetadataValue | None: ...
    @overload
    def get(self, key: str, default: T) -> MetadataValue | T: ...
    def get(self, key: str, default: object = None) -> object:
        """The first value of a key."""
        key = key.lower()
        return next((value for name, value in self if name == key), default)

    def get_all(self, key: str) -> list[MetadataValue]:
        """Every value of a key, in order."""
        key = key.lower()
        return [value for name, value in self if name == key]

    def __repr__(self) -> str:
        return f"Metadata({list(self)!r})"


class Status(NamedTuple):
    """How a call ended."""

    code: StatusCode
    message: str
    """The text for a developer; empty when the server sent none."""
    details: bytes
    """The decoded ``grpc-status-details-bin``, by convention a ``google.rpc.Status``."""
    trailers: Metadata
    """Everything that the server sent in its trailers."""

    @property
    def ok(self) -> bool:
        """Whether the code is OK."""
        return self.code == 0


class CallOptions(TypedDict, total=False):
    """What one call can be told."""

    timeout: Seconds | None
    """Seconds from now to the status: the deadline of the whole call. None: no deadline."""
    metadata: MetadataLike | None
    """Sent with the request."""
    compression: Literal["identity", "gzip", "deflate", "zstd"] | None
    """How the requests are compressed."""
    wait_for_ready: bool
    """Wait for a connection instead of failing while there is none."""
    authority: str | None
    """The ``:authority`` of this call."""
    max_receive_message: int | None
    """Bytes of a received message, inflated; counts when smaller than the channel's."""
    max_send_message: int | None
    """Bytes of a sent message; counts when smaller than the channel's."""
    max_batch_delay: Seconds | None
    """Received messages may gather this long: fewer wakes, more delay. Default 0."""


Size: TypeAlias = int | str
"""Bytes, or text such as ``"4MiB"``."""

Duration: TypeAlias = float | timedelta | str
"""Seconds, a timedelta, or text such as ``"1500ms"``, ``"30s"``, ``"5m"``."""


class ChannelOptions(TypedDict, total=False):
    """What a channel can be told, beside its target and TLS."""

    authority: str | None
    """The ``:authority`` of every call. None: that of the target."""
    user_agent: str | None
    """Stands before Millstream's own user agent."""
    max_receive_message: Size
    """The largest message that is received, inflated. Default 4 MiB."""
    max_send_message: Size
    """The largest message that is sent. Default: no limit."""
    max_metadata: Size
    """The largest list of headers or trailers that is received. Default 8 KiB."""
    keepalive_time: Duration | None
    """Send a PING after this long without a byte, at least 10 s. Default None: never."""
    keepalive_timeout: Duration
    """Give the connection up when nothing answers a PING this long. Default 20 s."""
    keepalive_without_calls: bool
    """Whether to send PINGs while no call is open. Default False."""
    connect_timeout: Duration
    """Bounds one connection attempt: DNS, TCP, TLS, HTTP/2 settings. Default 20 s."""
    backoff_initial: Duration
    """The wait before the second connection attempt. Default 1 s."""
    backoff_max: Duration
    """The longest such wait. Default 120 s."""
    max_connections: int
    """Connections at most, when the server limits concurrent streams. Default 100."""
    stream_window: Size
    """The HTTP/2 flow-control window of each stream. Default 256 KiB."""
    buffers: Size
    """Bytes that wait, per call, for the consumer and to be sent. Default 256 KiB each."""
    idle_timeout: Duration | None
    """Close the connection after this long without a call. Default 5 minutes; None: keep it."""
