"""Batches: sequences of messages, and buffers of frames."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import millstream
import pytest
from millstream import Batch, Call
from support import SERVER, SOON, answer, echo


@pytest.fixture
def call(target: str) -> Iterator[Callable[..., Call[Any]]]:
    with millstream.channel(target) as channel:
        weak = weakref.proxy(channel)  # pytest holds the function longer than this

        def start(count: int, **options: Any) -> Call[Any]:
            request = echo(payload=b"payload", count=count)
            call: Call[Any] = weak.server_stream(SERVER, request, timeout=SOON, **options)
            return call

        yield start


def first(call: Call[Any]) -> Batch[Any]:
    """All messages in one batch."""
    call.status(SOON)
    (batch,) = call.batches()
    return batch


def sequence(messages: Any) -> list[int]:
    return [answer(message).sequence for message in messages]


def test_a_batch_is_a_sequence(call: Callable[..., Call[bytes]]) -> None:
    batch = first(call(10))
    assert len(batch) == 10
    assert sequence(batch) == list(range(1, 11))
    assert sequence(batch) == list(range(1, 11))
    assert sequence(batch[at] for at in range(10)) == list(range(1, 11))
    assert answer(batch[-1]).sequence == 10
    assert answer(batch[-10]).sequence == 1
    assert sequence(batch[2:5]) == [3, 4, 5]
    assert sequence(batch[::-3]) == [10, 7, 4, 1]
    assert batch[20:] == []
    assert next(reversed(list(batch))) == batch[9]
    assert repr(batch).startswith("<millstream.Batch of 10 messages")
    for at in (10, -11, 1 << 80):
        with pytest.raises(IndexError):
            batch[at]
    with pytest.raises(TypeError, match="indexed by integers"):
        batch["0"]  # type: ignore[call-overload]


def test_an_iterator_of_a_batch_ends_and_stays_at_its_end(
    call: Callable[..., Call[bytes]],
) -> None:
    iterator = iter(first(call(3)))
    assert iterator.__length_hint__() == 3
    assert sequence([next(iterator)]) == [1]
    assert iterator.__length_hint__() == 2
    assert sequence(iterator) == [2, 3]
    assert list(iterator) == []


def test_a_batch_shows_its_frames_without_a_copy(call: Callable[..., Call[bytes]]) -> None:
    batch = first(call(5))
    with memoryview(batch) as frames:
        assert frames.readonly
        assert frames.format == "B"
        at = 0
        found = []
        while at < len(frames):
            assert frames[at] == 0
            length = int.from_bytes(frames[at + 1 : at + 5], "big")
            found.append(bytes(frames[at + 5 : at + 5 + length]))
            at += 5 + length
    assert found == list(batch)
    view = memoryview(batch)
    with pytest.raises(TypeError, match="read-only"):
        view[0] = 1
    del batch
    assert len(view) == at


def test_the_frames_begin_at_the_first_message_that_is_left(
    call: Callable[..., Call[bytes]],
) -> None:
    stream = call(5)
    stream.status(SOON)
    taken = stream.receive()
    assert taken is not None
    batch = first(stream)
    assert len(batch) == 4
    assert sequence(batch) == [2, 3, 4, 5]
    assert sequence([batch[0], batch[-1]]) == [2, 5]
    assert len(memoryview(batch)) == sum(5 + len(message) for message in batch)


def test_a_batch_has_deserialized_messages(call: Callable[..., Call[Any]]) -> None:
    batch = first(call(3, response_deserializer=answer))
    assert [message.sequence for message in batch] == [1, 2, 3]
    assert batch[1].sequence == 2
    assert [message.sequence for message in batch[1:]] == [2, 3]


def test_a_deserializer_that_raises_leaves_the_batch_usable(
    call: Callable[..., Call[Any]],
) -> None:
    def picky(message: bytes) -> int:
        number = int(answer(message).sequence)
        if number == 2:
            raise ValueError("I do not like 2")
        return number

    batch = first(call(3, response_deserializer=picky))
    iterator = iter(batch)
    assert next(iterator) == 1
    with pytest.raises(ValueError, match="I do not like 2"):
        next(iterator)
    assert next(iterator) == 3


def test_classes_can_be_subscripted_in_annotations() -> None:
    assert Call[bytes].__origin__ is Call  # type: ignore[attr-defined]
    assert Batch[bytes].__origin__ is Batch  # type: ignore[attr-defined]
