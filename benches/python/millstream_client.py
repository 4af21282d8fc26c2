"""Millstream, synchronous."""

from __future__ import annotations

import time

import millstream
from measure import (
    DUE,
    LATENCY_EVERY,
    SERVICE,
    WARM_UP,
    Memory,
    Stopwatch,
    StreamRequest,
    Summary,
    Tick,
    arguments,
    percentiles,
    repeat,
    request,
    start_hog,
    ticks,
    timed,
)


def main() -> None:
    args = arguments(__doc__)
    with millstream.channel(f"http://{args.address}") as channel:
        for _ in stream(channel, args, "Packed", StreamRequest(count=WARM_UP)):
            pass
        start_hog(args)
        globals()[args.mode](channel, args)


def stream(channel, args, method, message):
    """A server stream of objects or of bytes."""
    return channel.server_stream(
        SERVICE + method,
        message,
        request_serializer=StreamRequest.SerializeToString,
        response_deserializer=Tick.FromString if args.objects else None,
    )


def receive(channel, args, method):
    watch = Stopwatch()
    call = stream(channel, args, method, request(args))
    messages = 0
    if args.batches:
        for batch in call.batches():
            for _ in batch:
                messages += 1
    else:
        for _ in call:
            messages += 1
    watch.stop(args, messages)


def packed(channel, args):
    if args.hog:
        beside_hog(channel, args)
    else:
        receive(channel, args, "Packed")


def beside_hog(channel, args):
    clock = time.perf_counter
    watch = Stopwatch()
    end = clock() + args.seconds
    call = stream(channel, args, "Packed", request(args))
    messages = 0
    for _ in call:
        messages += 1
        if messages % 1024 == 0 and clock() > end:
            call.cancel()
            break
    watch.stop(args, messages)


def single(channel, args):
    receive(channel, args, "Single")


def paced(channel, args):
    now = time.monotonic_ns
    nanos = []
    watch = Stopwatch()
    messages = 0
    for message in stream(channel, args, "Paced", request(args)):
        if messages % LATENCY_EVERY == 0:
            due = message.due_nanos if args.objects else int.from_bytes(message[DUE], "little")
            nanos.append(now() - due)
        messages += 1
    watch.stop(args, messages, **percentiles(nanos))


def publish(channel, args):
    items = ticks()
    serializer = Tick.SerializeToString
    if not args.objects:
        items = [tick.SerializeToString() for tick in items]
        serializer = None

    def once(count):
        call = channel.client_stream(
            SERVICE + "Publish",
            request_serializer=serializer,
            response_deserializer=Summary.FromString,
        )
        if args.batches:
            call.send_many(repeat(items, count))
        else:
            send = call.send
            for item in repeat(items, count):
                send(item)
        call.done_sending()
        return call.result()

    once(WARM_UP)
    watch = Stopwatch()
    summary = once(args.messages)
    watch.stop(args, summary.messages)


def unary(channel, args):
    message = ticks()[0]
    serializer, deserializer = Tick.SerializeToString, Tick.FromString
    if not args.objects:
        message = message.SerializeToString()
        serializer = deserializer = None

    def once():
        return channel.unary(
            SERVICE + "Unary",
            message,
            request_serializer=serializer,
            response_deserializer=deserializer,
        )

    for _ in range(WARM_UP):
        once()
    watch = Stopwatch()
    nanos = timed(once, args)
    watch.stop(args, len(nanos), **percentiles(nanos))


def echo(channel, args):
    message = ticks()[0].SerializeToString()
    call = channel.bidi(SERVICE + "Echo")

    def once():
        call.send(message)
        return next(call)

    for _ in range(WARM_UP):
        once()
    watch = Stopwatch()
    nanos = timed(once, args)
    watch.stop(args, len(nanos), **percentiles(nanos))
    call.done_sending()


def stalled(channel, args):
    memory = Memory()
    watch = Stopwatch()
    call = stream(channel, args, "Firehose", request(args))
    next(call)
    growth = memory.watch(args.stall)
    # The stream is whole all the same.
    size = 0
    for message in call:
        size += len(message)
    watch.stop(args, 1, rss_growth_kb=max(growth, memory.growth_kib()), bytes=size)


if __name__ == "__main__":
    main()
