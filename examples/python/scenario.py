"""What the demo does with each service."""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import messages
import millstream

chat = messages.load("chat")
logs = messages.load("logs")
market = messages.load("market")
sync_ = messages.load("sync")
telemetry_ = messages.load("telemetry")
weather_ = messages.load("weather")

TIMEOUT = 600.0
"""Seconds for each call, so that the demo ends whatever happens."""


class Failed(Exception):
    """A service did not do what the scenario expects."""


class Tally:
    """Sums up what one service sent and tells how far it is."""

    def __init__(self, service: str, expected: int) -> None:
        self.service = service
        self.expected = expected
        self.messages = 0
        self.crc = 0
        self.began = self.told = time.monotonic()

    def add(self, payload: bytes) -> None:
        self.messages += 1
        self.crc = zlib.crc32(payload, self.crc)
        # The clock is not asked for every message.
        if self.messages % 256 == 0 and time.monotonic() - self.told > 0.1:
            self.tell()

    def tell(self) -> None:
        self.told = time.monotonic()
        print("progress", self.service, self.messages, self.expected, file=sys.stderr, flush=True)

    def finish(self) -> None:
        self.tell()
        row = {
            "language": "python",
            "service": self.service,
            "messages": self.messages,
            "seconds": round(time.monotonic() - self.began, 6),
            "crc32": f"{self.crc:08x}",
        }
        print(json.dumps(row, separators=(",", ":")), flush=True)


def read_messages(file: Path) -> Iterator[bytes]:
    """The messages of a file, each behind its length as a varint."""
    data = memoryview(file.read_bytes())
    at = 0
    while at < len(data):
        length = shift = 0
        while True:
            byte = data[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if at + length > len(data):
            raise Failed(f"{file} is cut off: a message of {length} bytes begins at {at}")
        yield bytes(data[at : at + length])
        at += length


def expect(call: millstream.Call[bytes]) -> bytes:
    """The next message of a call that must have one."""
    message = call.receive()
    if message is None:
        raise Failed(f"{call.method} ended too early")
    return message


def expect_end(call: millstream.Call[bytes]) -> None:
    """Nothing more comes, and the status is OK."""
    if call.receive() is not None:
        raise Failed(f"{call.method} sent more than expected")


def weather(channel: millstream.Channel, _data: Path) -> None:
    tally = Tally("weather.v1.Weather", 26_142)
    picked = []
    request = weather_.GetWeatherStreamRequest().SerializeToString()
    stream = channel.server_stream("/weather.v1.Weather/GetWeatherStream", request, timeout=TIMEOUT)
    for index, payload in enumerate(stream):
        if index % 1000 == 0:
            picked.append(weather_.Observation.FromString(payload))
        tally.add(payload)
    for observation in picked:
        one = weather_.GetObservationRequest(origin=observation.origin, hour=observation.hour)
        payload = channel.unary(
            "/weather.v1.Weather/GetObservation", one.SerializeToString(), timeout=TIMEOUT
        )
        tally.add(payload)
    tally.finish()


def upload_logs(channel: millstream.Channel, data: Path) -> None:
    tally = Tally("logs.v1.LogCollector", 1)
    batches = map(logs.LogBatch.FromString, read_messages(data / "log_batches.binpb"))
    call = channel.client_stream(
        "/logs.v1.LogCollector/Upload",
        batches,
        request_serializer=logs.LogBatch.SerializeToString,
        timeout=TIMEOUT,
    )
    tally.add(call.result())
    tally.finish()


class Member:
    """One member of the demo's room."""

    def __init__(self, channel: millstream.Channel, name: str) -> None:
        self.name = name
        self.received: list[bytes] = []
        self.call = channel.bidi("/chat.v1.ChatService/Chat", timeout=TIMEOUT)
        self.send(join=chat.Join())
        self.receive()

    def send(self, **event: Any) -> None:
        message = chat.ChatMessage(room="demo", member=self.name, **event)
        self.call.send(message.SerializeToString())

    def receive(self) -> None:
        self.received.append(expect(self.call))

    def leave(self) -> None:
        self.call.done_sending()
        expect_end(self.call)


def talk(channel: millstream.Channel, _data: Path) -> None:
    tally = Tally("chat.v1.ChatService", 104)
    ada = Member(channel, "ada")
    bob = Member(channel, "bob")
    ada.receive()
    for number in range(100):
        speaker, listener = (bob, ada) if number % 2 else (ada, bob)
        speaker.send(text=f"message {number}")
        listener.receive()
    ada.leave()
    bob.receive()
    bob.leave()
    for payload in ada.received + bob.received:
        tally.add(payload)
    tally.finish()


def prices(channel: millstream.Channel, _data: Path) -> None:
    tally = Tally("market.v1.MarketData", 560)
    request = market.SubscribeRequest(add=["MSFT", "AMZN", "IBM", "GOOG", "AAPL"])
    call = channel.bidi(
        "/market.v1.MarketData/Subscribe", [request.SerializeToString()], timeout=TIMEOUT
    )
    for payload in call:
        tally.add(payload)
    tally.finish()


def telemetry(channel: millstream.Channel, data: Path) -> None:
    encoded = list(read_messages(data / "telemetry_reports.binpb"))
    tally = Tally("telemetry.v1.DeviceManager", len(encoded))
    # A thread of the call sends the reports while this one receives the replies.
    call = channel.bidi(
        "/telemetry.v1.DeviceManager/StreamTelemetry",
        map(telemetry_.TelemetryReport.FromString, encoded),
        request_serializer=telemetry_.TelemetryReport.SerializeToString,
        timeout=TIMEOUT,
    )
    for batch in call.batches():
        for payload in batch:
            tally.add(payload)
    tally.finish()


class Side:
    """Our side of the exchange: numbers and stamps what is sent."""

    def __init__(self, call: millstream.Call[bytes], tally: Tally) -> None:
        self.call = call
        self.tally = tally
        self.sequence = 0
        self.clock = 0

    def send(self, **body: Any) -> None:
        self.sequence += 1
        self.clock += 1
        message = sync_.StreamMessage(sequence_id=self.sequence, logical_clock=self.clock, **body)
        self.call.send(message.SerializeToString())

    def receive(self, wanted: str) -> Any:
        payload = expect(self.call)
        self.tally.add(payload)
        message = sync_.StreamMessage.FromString(payload)
        self.clock = max(self.clock, message.logical_clock) + 1
        if message.WhichOneof("body") != wanted:
            raise Failed(f"wanted {wanted} after message {self.sequence}, got {message}")
        return message


SERVER_RECORD_EVERY = 10


def exchange(channel: millstream.Channel, data: Path) -> None:
    records = list(map(sync_.Record.FromString, read_messages(data / "sync_records.binpb")))
    tally = Tally("sync.v1.DataSync", len(records) + len(records) // SERVER_RECORD_EVERY)
    call = channel.bidi("/sync.v1.DataSync/ExchangeData", timeout=TIMEOUT)
    side = Side(call, tally)
    for number, record in enumerate(records, 1):
        side.send(record=record)
        answer = side.receive("ack")
        if answer.ack.sequence_id != side.sequence:
            raise Failed(f"wanted an ack of {side.sequence}, got {answer}")
        if number % SERVER_RECORD_EVERY == 0:
            theirs = side.receive("record")
            side.send(ack=sync_.Ack(sequence_id=theirs.sequence_id))
    call.done_sending()
    expect_end(call)
    tally.finish()


STEPS: list[Callable[[millstream.Channel, Path], None]] = [
    weather,
    upload_logs,
    talk,
    prices,
    telemetry,
    exchange,
]
