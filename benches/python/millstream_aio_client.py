"""Millstream, asyncio."""

from __future__ import annotations

import asyncio
import time

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
)
from millstream import aio


async def main(args) -> None:
    async with aio.channel(f"http://{args.address}") as channel:
        async for _ in stream(channel, args, "Packed", StreamRequest(count=WARM_UP)):
            pass
        start_hog(args)
        await globals()[args.mode](channel, args)


def stream(channel, args, method, message):
    """A server stream of objects or of bytes."""
    return channel.server_stream(
        SERVICE + method,
        message,
        request_serializer=StreamRequest.SerializeToString,
        response_deserializer=Tick.FromString if args.objects else None,
    )


async def receive(channel, args, method):
    watch = Stopwatch()
    call = stream(channel, args, method, request(args))
    messages = 0
    if args.batches:
        async for batch in call.batches():
            for _ in batch:
                messages += 1
    else:
        async for _ in call:
            messages += 1
    watch.stop(args, messages)


async def packed(channel, args):
    if args.hog:
        await beside_hog(channel, args)
    else:
        await receive(channel, args, "Packed")


async def beside_hog(channel, args):
    clock = time.perf_counter
    watch = Stopwatch()
    end = clock() + args.seconds
    call = stream(channel, args, "Packed", request(args))
    messages = 0
    async for _ in call:
        messages += 1
        if messages % 1024 == 0 and clock() > end:
            call.cancel()
            break
    watch.stop(args, messages)


async def single(channel, args):
    await receive(channel, args, "Single")


async def paced(channel, args):
    now = time.monotonic_ns
    nanos = []
    watch = Stopwatch()
    messages = 0
    async for message in stream(channel, args, "Paced", request(args)):
        if messages % LATENCY_EVERY == 0:
            due = message.due_nanos if args.objects else int.from_bytes(message[DUE], "little")
            nanos.append(now() - due)
        messages += 1
    watch.stop(args, messages, **percentiles(nanos))


async def publish(channel, args):
    items = ticks()
    serializer = Tick.SerializeToString
    if not args.objects:
        items = [tick.SerializeToString() for tick in items]
        serializer = None

    async def once(count):
        call = channel.client_stream(
            SERVICE + "Publish",
            request_serializer=serializer,
            response_deserializer=Summary.FromString,
        )
        if args.batches:
            await call.send_many(repeat(items, count))
        else:
            send = call.send
            for item in repeat(items, count):
                await send(item)
        await call.done_sending()
        return await call.result()

    await once(WARM_UP)
    watch = Stopwatch()
    summary = await once(args.messages)
    watch.stop(args, summary.messages)


async def unary(channel, args):
    message = ticks()[0]
    serializer, deserializer = Tick.SerializeToString, Tick.FromString
    if not args.objects:
        message = message.SerializeToString()
        serializer = deserializer = None
    clock = time.perf_counter_ns

    async def worker(count, nanos):
        for _ in range(count):
            begin = clock()
            await channel.unary(
                SERVICE + "Unary",
                message,
                request_serializer=serializer,
                response_deserializer=deserializer,
            )
            nanos.append(clock() - begin)

    await worker(WARM_UP, [])
    nanos = []
    each = args.messages // args.in_flight
    watch = Stopwatch()
    await asyncio.gather(*(worker(each, nanos) for _ in range(args.in_flight)))
    args.messages = each * args.in_flight
    watch.stop(args, len(nanos), **percentiles(nanos))


async def echo(channel, args):
    message = ticks()[0].SerializeToString()
    call = channel.bidi(SERVICE + "Echo")
    clock = time.perf_counter_ns

    async def rounds(count):
        nanos = []
        for _ in range(count):
            begin = clock()
            await call.send(message)
            await call.receive()
            nanos.append(clock() - begin)
        return nanos

    await rounds(WARM_UP)
    watch = Stopwatch()
    nanos = await rounds(args.messages)
    watch.stop(args, len(nanos), **percentiles(nanos))
    await call.done_sending()


async def stalled(channel, args):
    memory = Memory()
    watch = Stopwatch()
    call = stream(channel, args, "Firehose", request(args))
    await call.receive()
    growth = 0
    end = time.monotonic() + args.stall
    while time.monotonic() < end:
        growth = max(growth, memory.growth_kib())
        await asyncio.sleep(0.02)
    # The stream is whole all the same.
    size = 0
    async for message in call:
        size += len(message)
    watch.stop(args, 1, rss_growth_kb=max(growth, memory.growth_kib()), bytes=size)


if __name__ == "__main__":
    ARGS = arguments(__doc__)
    if ARGS.uvloop:
        import uvloop

        uvloop.run(main(ARGS))
    else:
        asyncio.run(main(ARGS))
