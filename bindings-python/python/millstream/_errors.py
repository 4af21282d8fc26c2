"""The status codes and the exceptions. Made from the error table of the core; do not edit."""

from __future__ import annotations

import builtins
import enum
from typing import Final

from millstream._base import Error, RpcError


class StatusCode(enum.IntEnum):
    """The status codes of gRPC."""

    OK = 0
    """Not an error."""
    CANCELLED = 1
    """The call was cancelled, typically by the caller."""
    UNKNOWN = 2
    """An error without a code of its own."""
    INVALID_ARGUMENT = 3
    """The server refused an argument, whatever the state of the system."""
    DEADLINE_EXCEEDED = 4
    """The deadline passed before the call ended."""
    NOT_FOUND = 5
    """The server does not have what was asked for."""
    ALREADY_EXISTS = 6
    """What the call was to create exists."""
    PERMISSION_DENIED = 7
    """The caller is known and may not do this."""
    RESOURCE_EXHAUSTED = 8
    """A quota, a limit or a buffer is used up."""
    FAILED_PRECONDITION = 9
    """The system is not in the state that the call needs."""
    ABORTED = 10
    """Aborted, typically by a conflict of concurrent work."""
    OUT_OF_RANGE = 11
    """Past the valid range."""
    UNIMPLEMENTED = 12
    """The server does not implement the method, or the cardinality of the call was broken."""
    INTERNAL = 13
    """An invariant of the protocol or of the peer is broken."""
    UNAVAILABLE = 14
    """The service cannot be reached now; most likely it is worth trying again."""
    DATA_LOSS = 15
    """Data was lost or damaged beyond repair."""
    UNAUTHENTICATED = 16
    """The caller did not authenticate, or not well enough."""


class Cancelled(RpcError):
    """The call was cancelled, typically by the caller."""

    number = 1
    code = StatusCode.CANCELLED
    retryable = False


class Unknown(RpcError):
    """An error without a code of its own."""

    number = 2
    code = StatusCode.UNKNOWN
    retryable = False


class InvalidArgument(RpcError):
    """The server refused an argument, whatever the state of the system."""

    number = 3
    code = StatusCode.INVALID_ARGUMENT
    retryable = False


class DeadlineExceeded(RpcError, builtins.TimeoutError):
    """The deadline passed before the call ended."""

    number = 4
    code = StatusCode.DEADLINE_EXCEEDED
    retryable = False


class NotFound(RpcError):
    """The server does not have what was asked for."""

    number = 5
    code = StatusCode.NOT_FOUND
    retryable = False


class AlreadyExists(RpcError):
    """What the call was to create exists."""

    number = 6
    code = StatusCode.ALREADY_EXISTS
    retryable = False


class PermissionDenied(RpcError):
    """The caller is known and may not do this."""

    number = 7
    code = StatusCode.PERMISSION_DENIED
    retryable = False


class ResourceExhausted(RpcError):
    """A quota, a limit or a buffer is used up."""

    number = 8
    code = StatusCode.RESOURCE_EXHAUSTED
    retryable = False


class FailedPrecondition(RpcError):
    """The system is not in the state that the call needs."""

    number = 9
    code = StatusCode.FAILED_PRECONDITION
    retryable = False


class Aborted(RpcError):
    """Aborted, typically by a conflict of concurrent work."""

    number = 10
    code = StatusCode.ABORTED
    retryable = False


class OutOfRange(RpcError):
    """Past the valid range."""

    number = 11
    code = StatusCode.OUT_OF_RANGE
    retryable = False


class Unimplemented(RpcError):
    """The server does not implement the method, or the cardinality of the call was broken."""

    number = 12
    code = StatusCode.UNIMPLEMENTED
    retryable = False


class Internal(RpcError):
    """An invariant of the protocol or of the peer is broken."""

    number = 13
    code = StatusCode.INTERNAL
    retryable = False


class Unavailable(RpcError):
    """The service cannot be reached now; most likely it is worth trying again."""

    number = 14
    code = StatusCode.UNAVAILABLE
    retryable = True


class DataLoss(RpcError):
    """Data was lost or damaged beyond repair."""

    number = 15
    code = StatusCode.DATA_LOSS
    retryable = False


class Unauthenticated(RpcError):
    """The caller did not authenticate, or not well enough."""

    number = 16
    code = StatusCode.UNAUTHENTICATED
    retryable = False


class InvalidArgumentError(Error, ValueError):
    """An argument has a value that can never be right."""

    number = 100
    retryable = False


class InvalidTargetError(Error, ValueError):
    """The target is not one that can be connected to."""

    number = 101
    retryable = False


class InvalidMetadataError(Error, ValueError):
    """A metadata key or value is not legal in gRPC."""

    number = 102
    retryable = False


class InvalidTlsError(Error, ValueError):
    """Certificates or keys cannot be used."""

    number = 103
    retryable = False


class InvalidHandleError(Error, ValueError):
    """A handle is zero, stale or of another kind."""

    number = 104
    retryable = False


class ClosedError(Error, RuntimeError):
    """Used after close."""

    number = 105
    retryable = False


class ForkedError(Error, RuntimeError):
    """Made in the parent process and used after fork; open a new channel in the child."""

    number = 106
    retryable = False


class InvalidStateError(Error, RuntimeError):
    """Not possible in this state, such as a send after the half-close."""

    number = 107
    retryable = False


class CallEndedError(Error, RuntimeError):
    """The call has ended; its status says how."""

    number = 108
    retryable = False


class TimeoutError(Error, builtins.TimeoutError):
    """A local wait ran out; the call goes on."""

    number = 109
    retryable = True


class BusyError(Error, RuntimeError):
    """Another thread is already using this direction of the call."""

    number = 110
    retryable = True


class InternalPanicError(Error, RuntimeError):
    """A defect in Millstream; only this operation failed."""

    number = 111
    retryable = False


class OutOfMemoryError(Error, MemoryError):
    """Memory could not be reserved."""

    number = 112
    retryable = False


class SystemCallError(Error, OSError):
    """The operating system refused something."""

    number = 113
    retryable = False


RPC_ERRORS: Final[dict[int, type[RpcError]]] = {
    1: Cancelled,
    2: Unknown,
    3: InvalidArgument,
    4: DeadlineExceeded,
    5: NotFound,
    6: AlreadyExists,
    7: PermissionDenied,
    8: ResourceExhausted,
    9: FailedPrecondition,
    10: Aborted,
    11: OutOfRange,
    12: Unimplemented,
    13: Internal,
    14: Unavailable,
    15: DataLoss,
    16: Unauthenticated,
}

MISUSE_ERRORS: Final[dict[int, type[Error]]] = {
    100: InvalidArgumentError,
    101: InvalidTargetError,
    102: InvalidMetadataError,
    103: InvalidTlsError,
    104: InvalidHandleError,
    105: ClosedError,
    106: ForkedError,
    107: InvalidStateError,
    108: CallEndedError,
    109: TimeoutError,
    110: BusyError,
    111: InternalPanicError,
    112: OutOfMemoryError,
    113: SystemCallError,
}
