"""grpcio, synchronous: the default stub, or the experimental mode that is its fastest."""

from __future__ import annotations

import queue
import time

import grpc
from bench.v1 import bench_pb2_grpc
from grpc.experimental import ChannelOptions
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
    timed,
)


def main() -> None:
    args = arguments(__doc__, best_mode=True)
    options = []
    if args.single_threaded:
        options.append((ChannelOptions.SingleThreadedUnaryStream, 1))
    with grpc.insecure_channel(args.address, options=options) as channel:
        warm_up = StreamRequest(count=WARM_UP)
        for _ in stream(channel, args, "Packed", warm_up):
            pass
        start_hog(args)
        globals()[args.mode](channel, args)


def stream(channel, args, method, message):
    """A server stream: of objects by the generated stub, of bytes without a deserializer."""
    if args.objects:
        return getattr(bench_pb2_grpc.BenchStub(channel), method)(message)
    call = channel.unary_stream(
        SERVICE + method, request_serializer=StreamRequest.SerializeToString
    )
    return call(message)


def receive(channel, args, method):
    watch = Stopwatch()
    messages = 0
    for _ in stream(channel, args, method, request(args)):
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
        if clock() > end:
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
    if args.objects:
        call = bench_pb2_grpc.BenchStub(channel).Publish
    else:
        items = [tick.SerializeToString() for tick in items]
        call = channel.stream_unary(SERVICE + "Publish", response_deserializer=Summary.FromString)
    call(repeat(items, WARM_UP))
    watch = Stopwatch()
    summary = call(repeat(items, args.messages))
    watch.stop(args, summary.messages)


def unary(channel, args):
    message = ticks()[0]
    if args.objects:
        call = bench_pb2_grpc.BenchStub(channel).Unary
    else:
        message = message.SerializeToString()
        call = channel.unary_unary(SERVICE + "Unary")
    for _ in range(WARM_UP):
        call(message)
    watch = Stopwatch()
    nanos = timed(lambda: call(message), args)
    watch.stop(args, len(nanos), **percentiles(nanos))


def echo(channel, args):
    message = ticks()[0].SerializeToString()
    requests = queue.SimpleQueue()
    answers = channel.stream_stream(SERVICE + "Echo")(iter(requests.get, None))

    def once():
        requests.put(message)
        return next(answers)

    for _ in range(WARM_UP):
        once()
    watch = Stopwatch()
    nanos = timed(once, args)
    watch.stop(args, len(nanos), **percentiles(nanos))
    requests.put(None)


def stalled(channel, args):
    memory = Memory()
    watch = Stopwatch()
    messages = stream(channel, args, "Firehose", request(args))
    first = next(messages)
    growth = memory.watch(args.stall)
    if not first:
        raise SystemExit("stalled: the first message is empty")
    watch.stop(args, 1, rss_growth_kb=growth)
    messages.cancel()


if __name__ == "__main__":
    main()
