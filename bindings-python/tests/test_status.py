"""Metadata, statuses and exceptions."""

from __future__ import annotations

import builtins
import pickle
from collections.abc import Callable
from typing import Any

import millstream
import pytest
from millstream import Metadata, StatusCode, _errors, _native
from support import BIDI, CLIENT, SERVER, SOON, UNARY, answer, echo

Connect = Callable[..., Any]

METADATA: list[tuple[str, str | bytes]] = [
    ("x-echo-text", "one"),
    ("x-echo-text", "two"),
    ("x-echo-raw-bin", b"\x00\xff\xfe"),
    ("x-echo-empty-bin", b""),
]


def echoed(metadata: Metadata) -> list[tuple[str, str | bytes]]:
    return [pair for pair in metadata if pair[0].startswith("x-echo-")]


@pytest.mark.parametrize(
    "metadata",
    [METADATA, tuple(METADATA), Metadata(METADATA), (pair for pair in METADATA)],
    ids=["list", "tuple", "Metadata", "generator"],
)
@pytest.mark.flavours("sync")
async def test_metadata_is_any_iterable_of_pairs(
    connect: Connect, target: str, metadata: Any
) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(), metadata=metadata, timeout=SOON)
        assert sorted(echoed(await call.headers())) == sorted(METADATA)


async def test_metadata_goes_both_ways(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(
            SERVER, echo(report_metadata=True), metadata=METADATA, timeout=SOON
        )
        headers = await call.headers()
        assert headers.get_all("x-echo-text") == ["one", "two"]
        assert headers.get("X-Echo-Raw-Bin") == b"\x00\xff\xfe"
        assert headers.get("x-echo-empty-bin") == b""
        assert headers.get("x-none") is None
        assert headers.get("x-none", "default") == "default"
        assert headers.get_all("x-none") == []
        sent = [
            (entry.key, entry.value)
            for entry in answer(await call.receive()).metadata
            if entry.key.startswith("x-echo-")
        ]
        assert sorted(sent) == sorted(
            (key, value.encode() if isinstance(value, str) else value) for key, value in METADATA
        )
        assert sorted(echoed(await call.trailers())) == sorted(METADATA)
        assert (await call.status()).trailers == await call.trailers()


async def test_metadata_is_a_mapping_too(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        metadata = {"X-Echo-Upper": "1", "x-echo-raw-bin": b"\x01"}
        call = channel.server_stream(SERVER, echo(), metadata=metadata, timeout=SOON)
        headers = await call.headers()
        assert headers.get("x-echo-upper") == "1"
        assert headers.get("x-echo-raw-bin") == b"\x01"


@pytest.mark.parametrize(
    ("metadata", "what"),
    [
        ({"": "value"}, "empty"),
        ({"white space": "value"}, "white space"),
        ({"ümlaut": "value"}, "ümlaut"),
        ({"grpc-timeout": "1S"}, "reserved"),
        ({"content-type": "text/html"}, "reserved"),
        ({"key": "line\nbreak"}, "0x0a"),
        ({"key": "ümlaut"}, "0xc3"),
        ({"key-bin": "text"}, "pass bytes"),
    ],
)
async def test_illegal_metadata_is_refused_before_anything_is_sent(
    connect: Connect, target: str, metadata: Any, what: str
) -> None:
    async with connect(target) as channel:
        with pytest.raises(millstream.InvalidMetadataError, match=what):
            await channel.unary(UNARY, b"", metadata=metadata)
        with pytest.raises(ValueError, match=what):
            channel.bidi(BIDI, metadata=metadata)


@pytest.mark.parametrize("metadata", [1, ["text"], [("a", "b", "c")], {1: "one"}, {"one": 1}])
async def test_metadata_of_another_type_is_a_type_error(
    connect: Connect, target: str, metadata: Any
) -> None:
    async with connect(target) as channel:
        with pytest.raises(TypeError, match="metadata is a mapping or a sequence"):
            channel.bidi(BIDI, metadata=metadata)


@pytest.mark.parametrize("code", [code for code in StatusCode if code])
async def test_every_status_code_has_an_exception(
    connect: Connect, target: str, code: StatusCode
) -> None:
    request = echo(finish={"code": code, "message": "wörds: 100%\n", "details": b"\x00details\xff"})
    async with connect(target) as channel:
        with pytest.raises(millstream.RpcError) as raised:
            await channel.unary(UNARY, request, metadata=METADATA, timeout=SOON)
        error = raised.value
        assert type(error) is _errors.RPC_ERRORS[code]
        assert type(error) is getattr(millstream, type(error).__name__)
        assert error.code is code
        assert error.number == code
        assert error.message == "wörds: 100%\n"
        assert str(error) == f"{code.name}: wörds: 100%\n"
        assert error.details == b"\x00details\xff"
        assert error.trailers.get("grpc-status") == str(int(code))
        assert error.trailers.get_all("x-echo-text") == ["one", "two"]
        assert error.retryable is (code is StatusCode.UNAVAILABLE)


async def test_messages_come_before_the_status(connect: Connect, target: str) -> None:
    request = echo(count=3, finish={"code": 9, "message": "enough", "details": b"why"})
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, request, metadata=METADATA, timeout=SOON)
        sequence = []
        with pytest.raises(millstream.FailedPrecondition, match="enough") as raised:
            async for message in call:
                sequence.append(answer(message).sequence)
        assert sequence == [1, 2, 3]
        assert raised.value.headers.get_all("x-echo-text") == ["one", "two"]
        with pytest.raises(millstream.FailedPrecondition):
            await call.receive()
        status = await call.status()
        assert status.code is StatusCode.FAILED_PRECONDITION
        assert not status.ok
        assert (status.message, status.details) == ("enough", b"why")
        assert call.done()


async def test_a_failed_client_stream_raises_from_result(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        call = channel.client_stream(CLIENT, timeout=SOON)
        await call.send(echo(finish={"code": 5, "message": "no"}))
        assert (await call.status()).code is StatusCode.NOT_FOUND
        with pytest.raises(millstream.NotFound, match="no"):
            await call.send(b"")
        with pytest.raises(millstream.NotFound, match="no"):
            await call.result()


async def test_a_send_after_an_early_ok_says_that_the_call_has_ended(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel:
        call = channel.bidi(BIDI, timeout=SOON)
        await call.send(echo(finish={"code": 0}))
        assert (await call.status()).ok
        with pytest.raises(millstream.CallEndedError):
            await call.send(b"")
        assert answer(await call.receive()).sequence == 1
        assert await call.receive() is None


async def test_the_result_of_a_stream_of_responses_is_refused(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel:
        call = channel.server_stream(SERVER, echo(), timeout=SOON)
        with pytest.raises(millstream.InvalidStateError, match="answers with a stream"):
            await call.result()


async def test_a_second_result_is_not_found_where_the_first_was_received(
    connect: Connect, target: str
) -> None:
    async with connect(target) as channel:
        call = channel.client_stream(CLIENT, [], timeout=SOON)
        assert answer(await call.receive()).requests == 0
        assert await call.receive() is None
        with pytest.raises(millstream.InvalidStateError, match="already received"):
            await call.result()


def test_the_exceptions_are_those_of_the_error_table() -> None:
    classes: dict[int, type[millstream.Error]] = {
        **_errors.RPC_ERRORS,
        **_errors.MISUSE_ERRORS,
    }
    for number, name, grpc, retryable, doc in _native.error_table():
        if number < 100:
            assert (StatusCode(number).name, grpc) == (name, number)
        if number == 0:
            continue
        exception = classes.pop(number)
        assert (exception.number, exception.retryable) == (number, retryable)
        assert exception.__doc__ == doc
        assert issubclass(exception, millstream.RpcError) == (number < 100)
        assert getattr(millstream, exception.__name__) is exception
        if number not in (113,):
            spelled = exception.__name__.removesuffix("Error") if number >= 100 else None
            assert (spelled or exception.__name__).upper() == name.replace("_", "")
    assert classes == {}


def test_exceptions_derive_from_what_users_catch_already() -> None:
    assert issubclass(millstream.DeadlineExceeded, builtins.TimeoutError)
    assert issubclass(millstream.TimeoutError, builtins.TimeoutError)
    assert issubclass(millstream.InvalidTargetError, ValueError)
    assert issubclass(millstream.ClosedError, RuntimeError)
    for exception in [*_errors.RPC_ERRORS.values(), *_errors.MISUSE_ERRORS.values()]:
        assert issubclass(exception, millstream.Error)
        assert str(exception("text")).endswith("text")


def test_exceptions_can_be_pickled() -> None:
    error = millstream.DeadlineExceeded(
        "late", b"details", Metadata([("a", "b")]), Metadata([("c-bin", b"d")])
    )
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == "DEADLINE_EXCEEDED: late"
    assert str(pickle.loads(pickle.dumps(millstream.ClosedError("gone")))) == "gone"


def test_an_error_can_be_made_by_hand_for_tests() -> None:
    error = millstream.Unavailable()
    assert (str(error), error.details, error.trailers) == ("UNAVAILABLE", b"", ())


def test_a_panic_is_an_exception_like_any_other() -> None:
    for _ in range(2):
        with pytest.raises(millstream.InternalPanicError, match="slot 7 is gone"):
            _native.panic("slot 7 is gone")
