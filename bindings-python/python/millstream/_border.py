"""What the native module makes Python objects with."""

from __future__ import annotations

from collections.abc import Iterable

from millstream import _errors
from millstream._base import Error, RpcError
from millstream._types import Metadata, MetadataValue, Status


def metadata(pairs: Iterable[tuple[str, bytes]]) -> Metadata:
    """Received metadata: text as ``str``, binary values as they are."""

    def value(key: str, raw: bytes) -> MetadataValue:
        return raw if key.endswith("-bin") else raw.decode("utf-8", "surrogateescape")

    return Metadata((key, value(key, raw)) for key, raw in pairs)


def status(number: int, message: str, details: bytes, trailers: Metadata) -> Status:
    """How a call ended."""
    return Status(_errors.StatusCode(number), message, details, trailers)


def rpc_error(
    *, number: int, message: str, details: bytes, headers: Metadata, trailers: Metadata
) -> RpcError:
    """The exception of a call that failed."""
    return _errors.RPC_ERRORS[number](message, details, headers, trailers)


def misuse(number: int, message: str) -> Error:
    """The exception of an operation that was refused."""
    return _errors.MISUSE_ERRORS[number](message)
