"""What the Python clients share: arguments, clocks, memory, and the line of JSON they print."""

from __future__ import annotations

import argparse
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator

from bench.v1 import bench_pb2

SERVICE = "/bench.v1.Bench/"
WARM_UP = 1000
LATENCY_EVERY = 64
"""Of a paced stream every so many messages are looked at: reading a clock is not free."""
FIREHOSE = 1 << 30
DUE = slice(1, 9)
"""Where an encoded tick has its due time: the first field, behind its key."""

Tick = bench_pb2.Tick
Summary = bench_pb2.Summary
StreamRequest = bench_pb2.StreamRequest

MODES = {
    "packed": "server stream, many messages to a DATA frame",
    "single": "server stream, one message to a DATA frame",
    "paced": "server stream at a rate; latency from the due time",
    "publish": "client stream",
    "unary": "unary calls, --in-flight at a time",
    "echo": "bidirectional: a message goes out when the last one is back",
    "stalled": "a stream of 1 GB whose consumer stops after the first message",
}


def arguments(description: str, *, best_mode: bool = False) -> argparse.Namespace:
    """Reads the command line, which is the same for every client."""
    modes = "\n".join(f"  {mode:8} {what}" for mode, what in MODES.items())
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"modes:\n{modes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("address", help="the load server, as host:port")
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--messages", type=int, default=100_000, help="or calls")
    parser.add_argument("--objects", action="store_true", help="protobuf objects, not bytes")
    parser.add_argument("--batches", action="store_true", help="take batches (millstream only)")
    parser.add_argument(
        "--hog",
        action="store_true",
        help="beside a CPU-bound Python thread, for --seconds at most (packed)",
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="how long (--hog)")
    parser.add_argument("--uvloop", action="store_true", help="under uvloop (asyncio only)")
    parser.add_argument("--rate", type=int, default=500_000, help="messages a second (paced)")
    parser.add_argument("--size", type=int, default=0, help="pad messages to this many bytes")
    parser.add_argument("--in-flight", type=int, default=1, help="concurrent calls (unary)")
    parser.add_argument("--stall", type=float, default=4.0, help="seconds (stalled)")
    parser.add_argument(
        "--single", action="store_true", help="one DATA frame for each message (paced, stalled)"
    )
    if best_mode:
        parser.add_argument(
            "--single-threaded",
            action="store_true",
            help="grpc.experimental's SingleThreadedUnaryStream: the fastest mode of grpcio",
        )
    return parser.parse_args()


def request(args: argparse.Namespace) -> bench_pb2.StreamRequest:
    """What the streaming methods are asked for."""
    return StreamRequest(
        count=args.messages,
        rate=args.rate,
        size=args.size,
        bytes=FIREHOSE,
        single=args.single,
    )


def ticks() -> list[bench_pb2.Tick]:
    """Ticks to send."""
    return [
        Tick(
            due_nanos=1,
            sequence=n + 1,
            symbol="MSFT",
            venue="XNAS",
            bid=100.0 + n / 64,
            ask=100.5 + n / 64,
            last=100.25 + n / 64,
            bid_size=200 + n % 800,
            ask_size=200 + n % 700,
            volume=20_000 + n,
            traded_nanos=1_700_000_000_000_000_000 + n * 1000,
        )
        for n in range(1000)
    ]


def repeat(items: list, count: int) -> Iterator:
    """The items over and over, ``count`` in all."""
    whole, rest = divmod(count, len(items))
    for _ in range(whole):
        yield from items
    yield from items[:rest]


class Stopwatch:
    """Time, CPU time of the process and what else was measured."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, args: argparse.Namespace, messages: int, **more: object) -> None:
        """Prints the measurement: ``messages`` came, and as many were asked for."""
        seconds = time.perf_counter() - self._wall
        cpu = time.process_time() - self._cpu
        partial = args.hog or args.mode == "stalled"
        if not partial and messages != args.messages:
            raise SystemExit(f"{args.mode}: {messages} messages came instead of {args.messages}")
        line = {"name": args.mode, "messages": messages, "seconds": seconds, "cpu_seconds": cpu}
        print(json.dumps(line | more), flush=True)


def percentiles(nanos: list[int]) -> dict[str, float]:
    """The usual percentiles, in microseconds."""
    nanos.sort()
    shares = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999, "max_us": 1.0}
    return {
        name: nanos[max(math.ceil(len(nanos) * share) - 1, 0)] / 1e3
        for name, share in shares.items()
    }


def resident_kib() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


class Memory:
    """Growth of the resident memory since the start."""

    def __init__(self) -> None:
        self._before = resident_kib()

    def growth_kib(self) -> int:
        return max(resident_kib() - self._before, 0)

    def watch(self, seconds: float) -> int:
        """Waits, and returns the largest growth that was seen."""
        end = time.monotonic() + seconds
        most = 0
        while time.monotonic() < end:
            most = max(most, self.growth_kib())
            time.sleep(0.02)
        return most


def start_hog(args: argparse.Namespace) -> None:
    """A thread that computes and never waits, if one is wanted. It ends with the process."""
    if args.hog:
        threading.Thread(target=_compute, daemon=True).start()


def _compute() -> None:
    value = 1
    while True:
        value = value * 3 % 1_000_003


def timed(once: Callable[[], object], args: argparse.Namespace) -> list[int]:
    """Nanoseconds of each call, one after the other."""
    clock = time.perf_counter_ns
    nanos = []
    for _ in range(args.messages):
        begin = clock()
        once()
        nanos.append(clock() - begin)
    return nanos
