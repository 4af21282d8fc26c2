"""grpc.aio."""

from __future__ import annotations

import asyncio
import time

import grpc
from bench.v1 import bench_pb2_grpc
from measure import (
    DUE,
    LATENCY_EVERY,
    SERVICE,
    WARM_UP,
    Memory,
    Stopwatch,
    StreamRequest,
    Summary,
    arguments,
    percentiles,
    repeat,
    request,
    start_hog,
    ticks,
)


async def main(args) -> None:
    async with grpc.aio.insecure_channel(args.address) as channel:
        async for _ in stream(channel, args, "Packed", StreamRequest(count=WARM_UP)):
            pass
        start_hog(args)
        await globals()[args.mode](channel, args)


def stream(channel, args, method, message):
    """A server stream: of objects by the generated stub, of bytes without a deserializer."""
    if args.objects:
        return getattr(bench_pb2_grpc.BenchStub(channel), method)(message)
    call = channel.unary_stream(
        SERVICE + method, request_serializer=StreamRequest.SerializeToString
    )
    return call(message)


async def receive(channel, args, method):
    watch = Stopwatch()
    messages = 0
    async for _ in stream(channel, args, method, request(args)):
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
        if clock() > end:
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
    if args.objects:
        method = bench_pb2_grpc.BenchStub(channel).Publish
    else:
        items = [tick.SerializeToString() for tick in items]
        method = channel.stream_unary(SERVICE + "Publish", response_deserializer=Summary.FromString)

    async def once(count):
        call = method()
        for item in repeat(items, count):
            await call.write(item)
        await call.done_writing()
        return await call

    await once(WARM_UP)
    watch = Stopwatch()
    summary = await once(args.messages)
    watch.stop(args, summary.messages)


async def unary(channel, args):
    message = ticks()[0]
    if args.objects:
        call = bench_pb2_grpc.BenchStub(channel).Unary
    else:
        message = message.SerializeToString()
        call = channel.unary_unary(SERVICE + "Unary")
    clock = time.perf_counter_ns

    async def worker(count, nanos):
        for _ in range(count):
            begin = clock()
            await call(message)
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
    call = channel.stream_stream(SERVICE + "Echo")()
    clock = time.perf_counter_ns

    async def rounds(count):
        nanos = []
        for _ in range(count):
            begin = clock()
            await call.write(message)
            await call.read()
            nanos.append(clock() - begin)
        return nanos

    await rounds(WARM_UP)
    watch = Stopwatch()
    nanos = await rounds(args.messages)
    watch.stop(args, len(nanos), **percentiles(nanos))
    await call.done_writing()


async def stalled(channel, args):
    memory = Memory()
    watch = Stopwatch()
    call = stream(channel, args, "Firehose", request(args))
    await call.read()
    growth = 0
    end = time.monotonic() + args.stall
    while time.monotonic() < end:
        growth = max(growth, memory.growth_kib())
        await asyncio.sleep(0.02)
    watch.stop(args, 1, rss_growth_kb=growth)
    call.cancel()


if __name__ == "__main__":
    ARGS = arguments(__doc__)
    if ARGS.uvloop:
        import uvloop

        uvloop.run(main(ARGS))
    else:
        asyncio.run(main(ARGS))
