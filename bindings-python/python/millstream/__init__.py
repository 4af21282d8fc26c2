"""Millstream: streaming gRPC calls over one fast core.

    import millstream

    with millstream.channel("http://localhost:50051") as channel:
        for observation in channel.server_stream("/weather.v1.Weather/GetWeatherStream", b""):
            print(len(observation))

`millstream.aio` has the same for asyncio.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from millstream import _native
from millstream._base import Error, RpcError
from millstream._channel import Channel, channel
from millstream._errors import (
    Aborted,
    AlreadyExists,
    BusyError,
    CallEndedError,
    Cancelled,
    ClosedError,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    ForkedError,
    Internal,
    InternalPanicError,
    InvalidArgument,
    InvalidArgumentError,
    InvalidHandleError,
    InvalidMetadataError,
    InvalidStateError,
    InvalidTargetError,
    InvalidTlsError,
    NotFound,
    OutOfMemoryError,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    StatusCode,
    SystemCallError,
    TimeoutError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
)
from millstream._native import Batch, Call
from millstream._types import (
    CallKind,
    CallOptions,
    ChannelOptions,
    ConnectivityState,
    Metadata,
    Status,
)

if TYPE_CHECKING:
    from millstream import aio as aio

__version__ = _native.version()

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Batch",
    "BusyError",
    "Call",
    "CallEndedError",
    "CallKind",
    "CallOptions",
    "Cancelled",
    "Channel",
    "ChannelOptions",
    "ClosedError",
    "ConnectivityState",
    "DataLoss",
    "DeadlineExceeded",
    "Error",
    "FailedPrecondition",
    "ForkedError",
    "Internal",
    "InternalPanicError",
    "InvalidArgument",
    "InvalidArgumentError",
    "InvalidHandleError",
    "InvalidMetadataError",
    "InvalidStateError",
    "InvalidTargetError",
    "InvalidTlsError",
    "Metadata",
    "NotFound",
    "OutOfMemoryError",
    "OutOfRange",
    "PermissionDenied",
    "ResourceExhausted",
    "RpcError",
    "Status",
    "StatusCode",
    "SystemCallError",
    "TimeoutError",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "__version__",
    "channel",
]


def __getattr__(name: str) -> object:
    # Without it a program that is not asynchronous need not load asyncio.
    if name == "aio":
        return importlib.import_module("millstream.aio")
    raise AttributeError(f"module 'millstream' has no attribute {name!r}")
