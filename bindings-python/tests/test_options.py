"""Options of channels and calls, and what is wrong with them."""

from __future__ import annotations

import math
import typing
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import millstream
import pytest
from millstream import _native
from support import BIDI, SOON, UNARY, answer, echo

Connect = Callable[..., Any]


@pytest.mark.parametrize(
    "target", ["", "localhost:50051", "ftp://localhost", "http://", "http://host:port", "unix:"]
)
async def test_a_wrong_target_is_refused(connect: Connect, target: str) -> None:
    with pytest.raises(millstream.InvalidTargetError):
        connect(target)


async def test_a_target_is_text(connect: Connect) -> None:
    with pytest.raises(TypeError, match="target is text"):
        connect(50051)


def test_the_typed_options_are_those_of_the_core() -> None:
    typed = typing.get_type_hints(millstream.ChannelOptions).keys()
    assert typed == dict(_native.channel_options()).keys() - {"server_name"}


async def test_options_of_a_channel_have_natural_types(connect: Connect, target: str) -> None:
    async with connect(
        target,
        authority="example.test",
        user_agent="tests/1.0",
        max_receive_message="8MiB",
        max_send_message=1 << 20,
        max_metadata="16KiB",
        keepalive_time=timedelta(seconds=30),
        keepalive_timeout=10.5,
        keepalive_without_calls=True,
        connect_timeout=5,
        backoff_initial="500ms",
        backoff_max="1m",
        max_connections=3,
        stream_window="128KiB",
        buffers=65536,
        idle_timeout=None,
    ) as channel:
        reply = await channel.unary(UNARY, echo(report_metadata=True), timeout=SOON)
        metadata = {entry.key: entry.value for entry in answer(reply).metadata}
        assert metadata["user-agent"].startswith(b"tests/1.0 ")


async def test_none_stands_for_the_default_of_an_option(connect: Connect, target: str) -> None:
    async with connect(target, authority=None, user_agent=None, keepalive_time=None) as channel:
        assert await channel.unary(UNARY, b"", timeout=SOON)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"keepalive_time": "1s"}, "at least 10s"),
        ({"keepalive_time": "soon"}, "duration"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"connect_timeout": -1}, "connect_timeout"),
        ({"max_receive_message": -1}, "max_receive_message"),
        ({"max_receive_message": "4 parsecs"}, "size"),
        ({"max_connections": 0}, "max_connections"),
        ({"stream_window": 0}, "stream_window"),
        ({"buffers": "0"}, "buffers"),
        ({"keepalive_without_calls": "maybe"}, "true or false"),
    ],
)
async def test_a_senseless_option_of_a_channel_is_refused(
    connect: Connect, options: Any, what: str
) -> None:
    with pytest.raises(millstream.InvalidArgumentError, match=what):
        connect("http://localhost:1", **options)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"keep_alive": 1}, "unknown channel option 'keep_alive'; known are .*keepalive_time"),
        ({"max_connections": 1.5}, "max_connections is count"),
        ({"keepalive_time": object()}, "keepalive_time is duration"),
        ({"roots": 1}, "roots is PEM as bytes or the path"),
    ],
)
async def test_an_option_of_a_channel_of_another_type_is_a_type_error(
    connect: Connect, options: Any, what: str
) -> None:
    with pytest.raises(TypeError, match=what):
        connect("http://localhost:1", **options)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"time_out": 1}, 'unknown call option "time_out"; known are timeout, '),
        ({"timeout": "1s"}, "timeout is seconds"),
        ({"compression": 1}, "compression must be a name"),
        ({"authority": b"bytes"}, "authority must be text"),
        ({"max_receive_message": "1MiB"}, "max_receive_message must be a number of bytes"),
        ({"request_serializer": 1}, "request_serializer must be callable"),
        ({"response_deserializer": "x"}, "response_deserializer must be callable"),
    ],
)
async def test_an_option_of_a_call_of_another_type_is_a_type_error(
    connect: Connect, target: str, options: Any, what: str
) -> None:
    async with connect(target) as channel:
        with pytest.raises(TypeError, match=what):
            await channel.unary(UNARY, b"", **options)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"timeout": math.nan}, "NaN"),
        ({"compression": "brotli"}, "unknown compression"),
        ({"max_batch_delay": math.inf}, "max_batch_delay must be finite"),
        ({"max_receive_message": -1}, "max_receive_message is -1"),
        ({"max_send_message": 1 << 70}, "max_send_message"),
    ],
)
async def test_a_senseless_option_of_a_call_is_refused(
    connect: Connect, target: str, options: Any, what: str
) -> None:
    async with connect(target) as channel:
        with pytest.raises(millstream.InvalidArgumentError, match=what):
            await channel.unary(UNARY, b"", **options)


@pytest.mark.parametrize("method", ["", "NoSlash", "/", "/one", "/sp ace/Method", "/a.B/C\n"])
async def test_a_method_that_is_no_path_is_refused(
    connect: Connect, target: str, method: str
) -> None:
    async with connect(target) as channel:
        with pytest.raises(millstream.InvalidArgumentError):
            await channel.unary(method, b"")


@pytest.mark.parametrize("request_", [None, "text", 1, object(), [b""]])
async def test_a_request_that_is_not_bytes_is_a_type_error(
    connect: Connect, target: str, request_: Any
) -> None:
    async with connect(target) as channel:
        if request_ is not None:
            with pytest.raises(TypeError, match="a message is bytes or has a buffer"):
                await channel.unary(UNARY, request_)
        call = channel.bidi(BIDI, timeout=SOON)
        with pytest.raises(TypeError, match="a message is bytes or has a buffer"):
            await call.send(request_)
        with pytest.raises(TypeError, match="a message is bytes or has a buffer"):
            await call.send_many([b"", request_])
        call.cancel()


async def test_timeouts_are_numbers_or_timedeltas(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        for timeout in (30, 30.5, timedelta(seconds=30), None, math.inf, 1e300):
            assert await channel.unary(UNARY, b"", timeout=timeout)


async def test_limits_of_a_call_hold(connect: Connect, target: str) -> None:
    async with connect(target) as channel:
        request = echo(response_size=10_000)
        with pytest.raises(millstream.ResourceExhausted):
            await channel.unary(UNARY, request, max_receive_message=9_000, timeout=SOON)
        with pytest.raises(millstream.ResourceExhausted):
            await channel.unary(UNARY, b"x" * 100, max_send_message=99, timeout=SOON)
        call = channel.bidi(BIDI, max_send_message=99, timeout=SOON)
        with pytest.raises(millstream.Error):
            await call.send(b"x" * 100)
        call.cancel()


async def test_the_authority_of_a_call_is_its_own(connect: Connect, target: str) -> None:
    async with connect(target, authority="channel.test") as channel:
        assert await channel.unary(UNARY, b"", authority="call.test", timeout=SOON)


async def test_an_unclosed_channel_is_a_resource_warning(connect: Connect, target: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        channel = connect(target)
        del channel
    assert [warning.category for warning in caught] == [ResourceWarning]
    assert f"unclosed <millstream.{'' if 'aio' not in str(caught[0].message) else 'aio.'}" in str(
        caught[0].message
    )


async def test_a_channel_that_was_never_opened_warns_of_nothing(connect: Connect) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(millstream.InvalidTargetError):
            connect("nowhere")


@pytest.mark.parametrize("form", ["bytes", "str", "Path"])
async def test_tls_material_is_bytes_or_a_path(
    connect: Connect, targets: dict[str, str], tls_dir: Path, form: str
) -> None:
    def pem(name: str) -> bytes | str | Path:
        path = tls_dir / name
        if form == "bytes":
            return path.read_bytes()
        return path if form == "Path" else str(path)

    async with connect(targets["https"], roots=pem("ca.pem")) as channel:
        reply = await channel.unary(UNARY, echo(payload=b"tls"), timeout=SOON)
        assert answer(reply).payload == b"tls"
    client = {"cert_chain": pem("client.pem"), "private_key": pem("client.key")}
    async with connect(targets["mtls"], roots=pem("ca.pem"), **client) as channel:
        reply = await channel.unary(UNARY, echo(payload=b"mtls"), timeout=SOON)
        assert answer(reply).payload == b"mtls"


async def test_a_server_is_known_by_the_name_that_is_asked_for(
    connect: Connect, targets: dict[str, str], tls_dir: Path
) -> None:
    roots = tls_dir / "ca.pem"
    async with connect(
        targets["https"], roots=roots, server_name="reference-server.test"
    ) as channel:
        assert await channel.unary(UNARY, b"", timeout=SOON)
    async with connect(targets["https"], roots=roots, server_name="another.test") as channel:
        with pytest.raises(millstream.Unavailable, match=r"(?i)certificate|name"):
            await channel.unary(UNARY, b"", timeout=SOON)


async def test_a_certificate_of_another_authority_is_not_trusted(
    connect: Connect, targets: dict[str, str], tls_dir: Path
) -> None:
    async with connect(targets["https"], roots=tls_dir / "other-ca.pem") as channel:
        with pytest.raises(millstream.Unavailable, match=r"(?i)certificate"):
            await channel.unary(UNARY, b"", timeout=SOON)


async def test_a_missing_client_certificate_is_an_error(
    connect: Connect, targets: dict[str, str], tls_dir: Path
) -> None:
    async with connect(targets["mtls"], roots=tls_dir / "ca.pem") as channel:
        with pytest.raises(millstream.Unavailable, match="cannot connect"):
            await channel.unary(UNARY, b"", timeout=SOON)


async def test_tls_material_that_is_none_is_refused(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(millstream.InvalidTlsError):
        connect("https://localhost:1", roots=b"no PEM")
    with pytest.raises(millstream.InvalidTlsError, match="pass it as bytes"):
        connect("https://localhost:1", roots="-----BEGIN CERTIFICATE-----")
    with pytest.raises(FileNotFoundError, match=r"missing\.pem"):
        connect("https://localhost:1", roots=tmp_path / "missing.pem")


async def test_a_key_without_its_certificate_is_refused(connect: Connect, tls_dir: Path) -> None:
    with pytest.raises(millstream.InvalidTlsError):
        connect("https://localhost:1", private_key=tls_dir / "client.key")
    with pytest.raises(millstream.InvalidTlsError):
        connect("https://localhost:1", cert_chain=tls_dir / "client.pem")
