"""The roots of the exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from millstream._types import Metadata

if TYPE_CHECKING:
    from millstream._errors import StatusCode


class Error(Exception):
    """Everything that Millstream raises.

    ``number`` is the number in the error table, the same in every language: below 100 it is a gRPC
    status code and the exception an `RpcError`, from 100 on an operation was refused and the call,
    if there is one, goes on. ``retryable`` says whether the same may well succeed when it is tried
    again unchanged.
    """

    number: ClassVar[int]
    retryable: ClassVar[bool] = False


class RpcError(Error):
    """A call ended with a status other than OK. Each code has a class of its own."""

    code: ClassVar[StatusCode]
    message: str
    """The text for a developer; empty when the server sent none."""
    details: bytes
    """The decoded ``grpc-status-details-bin``, by convention a ``google.rpc.Status``."""
    headers: Metadata
    """The headers of the response; empty when none came."""
    trailers: Metadata
    """Everything that the server sent in its trailers."""

    def __init__(
        self,
        message: str = "",
        details: bytes = b"",
        headers: Metadata | None = None,
        trailers: Metadata | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = Metadata() if headers is None else headers
        self.trailers = Metadata() if trailers is None else trailers

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}" if self.message else self.code.name

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.details, self.headers, self.trailers)
