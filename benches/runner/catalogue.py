"""What is measured, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Probe:
    """One program in one mode: what a single process measures."""

    key: str
    group: str
    """Probes of a group run in turns, so that they see the same weather."""
    title: str
    program: str
    """`python:FILE`, `java:CLASS`, `rust` or `c`."""
    mode: str
    messages: int = 0
    """How many are asked for; 0 where the mode decides."""
    options: tuple[str, ...] = ()

    @property
    def language(self) -> str:
        return self.program.partition(":")[0]


@dataclass(frozen=True)
class Figure:
    """A number of a measurement."""

    name: str
    unit: str
    scale: float = 1.0


RATE = Figure("rate", "/s")
CPU = Figure("cpu_us", "µs")
P50 = Figure("p50_us", "ms", 1e-3)
P50_US = Figure("p50_us", "µs")
P99 = Figure("p99_us", "ms", 1e-3)
GROWTH = Figure("rss_growth_kb", "MB", 1 / 1024)


@dataclass(frozen=True)
class Goal:
    """One demand: a figure of ours against a peer's, or against a bound."""

    row: str
    what: str
    ours: str
    figure: Figure
    bound: float
    peers: tuple[str, ...] = ()
    """The best of them counts. None: the bound is absolute."""

    @property
    def lower_is_better(self) -> bool:
        return self.figure is not RATE


def _probes() -> list[Probe]:
    probes: list[Probe] = []

    def add(key, group, title, program, mode, messages=0, *options):
        probes.append(Probe(key, group, title, program, mode, messages, options))

    grpcio, grpc_aio = "python:grpcio_client", "python:grpcio_aio_client"
    sync, aio = "python:millstream_client", "python:millstream_aio_client"
    best = "--single-threaded"

    group = "Python, server stream, packed, bytes"
    add("grpcio.bytes", group, "grpcio", grpcio, "packed", 40_000)
    add(
        "grpcio-best.bytes",
        group,
        "grpcio, SingleThreadedUnaryStream",
        grpcio,
        "packed",
        200_000,
        best,
    )
    add("grpc.aio.bytes", group, "grpc.aio", grpc_aio, "packed", 40_000)
    add("py.bytes", group, "Millstream", sync, "packed", 10_000_000)
    add("py.aio.bytes", group, "Millstream asyncio", aio, "packed", 10_000_000)
    add("py.batches", group, "Millstream, batches()", sync, "packed", 10_000_000, "--batches")
    add(
        "py.aio.batches",
        group,
        "Millstream asyncio, batches()",
        aio,
        "packed",
        10_000_000,
        "--batches",
    )
    add(
        "py.aio.uvloop",
        group,
        "Millstream asyncio under uvloop",
        aio,
        "packed",
        10_000_000,
        "--uvloop",
    )

    group = "Python, server stream, packed, objects (upb)"
    add("grpcio.objects", group, "grpcio", grpcio, "packed", 40_000, "--objects")
    add(
        "grpcio-best.objects",
        group,
        "grpcio, SingleThreadedUnaryStream",
        grpcio,
        "packed",
        200_000,
        best,
        "--objects",
    )
    add("grpc.aio.objects", group, "grpc.aio", grpc_aio, "packed", 40_000, "--objects")
    add("py.objects", group, "Millstream", sync, "packed", 3_000_000, "--objects")
    add("py.aio.objects", group, "Millstream asyncio", aio, "packed", 3_000_000, "--objects")

    group = "Python, server stream, one DATA frame per message, bytes"
    add("grpcio.single", group, "grpcio", grpcio, "single", 40_000)
    add(
        "grpcio-best.single",
        group,
        "grpcio, SingleThreadedUnaryStream",
        grpcio,
        "single",
        200_000,
        best,
    )
    add("grpc.aio.single", group, "grpc.aio", grpc_aio, "single", 40_000)
    add("py.single", group, "Millstream", sync, "single", 2_000_000)
    add("py.aio.single", group, "Millstream asyncio", aio, "single", 2_000_000)

    group = "Python, server stream of 1000-byte messages, packed"
    size = ("--size", "1000")
    add(
        "grpcio-best.1000",
        group,
        "grpcio, SingleThreadedUnaryStream",
        grpcio,
        "packed",
        200_000,
        best,
        *size,
    )
    add("py.1000", group, "Millstream", sync, "packed", 2_000_000, *size)

    group = "Python, server stream, packed, bytes, beside a CPU-bound Python thread"
    many = 100_000_000
    add("grpcio.hog", group, "grpcio", grpcio, "packed", many, "--hog")
    add(
        "grpcio-best.hog",
        group,
        "grpcio, SingleThreadedUnaryStream",
        grpcio,
        "packed",
        many,
        "--hog",
        best,
    )
    add("grpc.aio.hog", group, "grpc.aio", grpc_aio, "packed", many, "--hog")
    add("py.hog", group, "Millstream", sync, "packed", many, "--hog")
    add("py.aio.hog", group, "Millstream asyncio", aio, "packed", many, "--hog")

    group = "Python, client stream"
    add("grpcio.publish", group, "grpcio, bytes", grpcio, "publish", 40_000)
    add("grpc.aio.publish", group, "grpc.aio, bytes", grpc_aio, "publish", 40_000)
    add("py.publish", group, "Millstream, bytes, send()", sync, "publish", 6_000_000)
    add(
        "py.publish.many",
        group,
        "Millstream, bytes, send_many()",
        sync,
        "publish",
        6_000_000,
        "--batches",
    )
    add("py.aio.publish", group, "Millstream asyncio, bytes, send()", aio, "publish", 3_000_000)
    add("grpcio.publish.objects", group, "grpcio, objects", grpcio, "publish", 40_000, "--objects")
    add(
        "py.publish.objects",
        group,
        "Millstream, objects, send()",
        sync,
        "publish",
        2_000_000,
        "--objects",
    )
    add(
        "py.publish.objects.many",
        group,
        "Millstream, objects, send_many()",
        sync,
        "publish",
        2_000_000,
        "--objects",
        "--batches",
    )

    group = "Python, unary"
    in_flight = ("--in-flight", "64")
    add("grpcio.unary", group, "grpcio", grpcio, "unary", 8_000)
    add("py.unary", group, "Millstream", sync, "unary", 15_000)
    add("grpc.aio.unary64", group, "grpc.aio, 64 in flight", grpc_aio, "unary", 25_600, *in_flight)
    add(
        "py.aio.unary64",
        group,
        "Millstream asyncio, 64 in flight",
        aio,
        "unary",
        64_000,
        *in_flight,
    )

    group = "Python, bidirectional ping-pong"
    add("grpcio.echo", group, "grpcio", grpcio, "echo", 8_000)
    add("grpc.aio.echo", group, "grpc.aio", grpc_aio, "echo", 8_000)
    add("py.echo", group, "Millstream", sync, "echo", 15_000)
    add("py.aio.echo", group, "Millstream asyncio", aio, "echo", 15_000)

    group = "500,000 messages a second, open loop, from due time to user code"
    paced = 2_000_000
    add("py.paced", group, "Python, Millstream", sync, "paced", paced)
    add("py.aio.paced", group, "Python, Millstream asyncio", aio, "paced", paced)
    add("py.paced.objects", group, "Python, Millstream, objects", sync, "paced", paced, "--objects")
    add("java.paced", group, "Java, Millstream", "java:MillstreamClient", "paced", paced)
    add(
        "java.paced.objects",
        group,
        "Java, Millstream, parsed",
        "java:MillstreamClient",
        "paced",
        paced,
        "--objects",
    )
    add("grpc-java.paced", group, "Java, grpc-java, tuned", "java:GrpcJavaClient", "paced", paced)
    add("rust.paced", group, "Rust", "rust", "paced", paced)

    group = "Java, server stream, packed"
    theirs, ours = "java:GrpcJavaClient", "java:MillstreamClient"
    add("grpc-java.bytes", group, "grpc-java, tuned, bytes", theirs, "packed", 5_000_000)
    add("java.bytes", group, "Millstream, bytes", ours, "packed", 20_000_000)
    add(
        "java.batches",
        group,
        "Millstream, walking batches",
        ours,
        "packed",
        20_000_000,
        "--batches",
    )
    add(
        "grpc-java.objects",
        group,
        "grpc-java, tuned, parsed",
        theirs,
        "packed",
        4_000_000,
        "--objects",
    )
    add("java.objects", group, "Millstream, parsed", ours, "packed", 10_000_000, "--objects")
    add(
        "grpc-java.plain",
        group,
        "grpc-java, default executor, bytes",
        theirs,
        "packed",
        200_000,
        "--plain",
    )

    group = "Java, server stream, one DATA frame per message"
    add("grpc-java.single", group, "grpc-java, tuned, bytes", theirs, "single", 3_000_000)
    add("java.single", group, "Millstream, bytes", ours, "single", 3_000_000)

    group = "Java, client stream"
    add("grpc-java.publish", group, "grpc-java, bytes", theirs, "publish", 1_000_000)
    add("java.publish", group, "Millstream, bytes", ours, "publish", 6_000_000)
    add(
        "grpc-java.publish.objects",
        group,
        "grpc-java, objects",
        theirs,
        "publish",
        1_000_000,
        "--objects",
    )
    add(
        "java.publish.objects",
        group,
        "Millstream, objects",
        ours,
        "publish",
        4_000_000,
        "--objects",
    )

    group = "Java, blocking unary calls and ping-pong"
    add("grpc-java.unary", group, "grpc-java, unary", theirs, "unary", 20_000)
    add("java.unary", group, "Millstream, unary", ours, "unary", 20_000)
    add("grpc-java.echo", group, "grpc-java, ping-pong", theirs, "echo", 20_000)
    add("java.echo", group, "Millstream, ping-pong", ours, "echo", 20_000)

    group = "C and Rust, server stream, packed"
    add("rust.bytes", group, "Rust", "rust", "packed", 20_000_000)
    add("c.bytes", group, "C", "c", "packed", 20_000_000)
    add("h2.bytes", group, "the floor: h2 alone", "rust", "h2-packed", 20_000_000)

    group = "C and Rust, server stream, one DATA frame per message"
    add("rust.single", group, "Rust", "rust", "single", 3_000_000)
    add("c.single", group, "C", "c", "single", 3_000_000)
    add("h2.single", group, "the floor: h2 alone", "rust", "h2-single", 3_000_000)

    group = "C and Rust, the other kinds"
    add("rust.publish", group, "Rust, client stream", "rust", "publish", 6_000_000)
    add("c.publish", group, "C, client stream", "c", "publish", 6_000_000)
    add("rust.unary", group, "Rust, unary", "rust", "unary", 20_000)
    add("c.unary", group, "C, unary", "c", "unary", 20_000)
    add("rust.echo", group, "Rust, ping-pong", "rust", "echo", 20_000)

    group = "Growth of the memory of a consumer stalled under a 1 GB stream"
    add("py.stalled", group, "Python, Millstream", sync, "stalled")
    add(
        "py.stalled.single",
        group,
        "Python, Millstream, one DATA frame per message",
        sync,
        "stalled",
        0,
        "--single",
    )
    add("py.aio.stalled", group, "Python, Millstream asyncio", aio, "stalled")
    add("grpcio.stalled", group, "Python, grpcio", grpcio, "stalled")
    add("java.stalled", group, "Java, Millstream", ours, "stalled")
    add(
        "java.stalled.single",
        group,
        "Java, Millstream, one DATA frame per message",
        ours,
        "stalled",
        0,
        "--single",
    )
    add("grpc-java.stalled", group, "Java, grpc-java, tuned", theirs, "stalled")
    add("c.stalled", group, "C", "c", "stalled")
    add("rust.stalled", group, "Rust", "rust", "stalled")
    return probes


PROBES = _probes()
_LANGUAGES = {probe.language for probe in PROBES}


def _goals() -> list[Goal]:
    goals: list[Goal] = []

    def ratio(row, what, ours, peers, bound, figure=RATE):
        goals.append(Goal(row, what, ours, figure, bound, tuple(peers.split())))

    def below(row, what, ours, figure, bound):
        goals.append(Goal(row, what, ours, figure, bound))

    for kind, row, default, best in (
        ("bytes", "Python server stream of bytes, packed", 100, 50),
        ("objects", "Python server stream of upb objects, packed", 35, 15),
        ("single", "Python server stream of bytes, one DATA frame per message", 20, 8),
    ):
        ratio(row, "sync against grpcio", f"py.{kind}", f"grpcio.{kind}", default)
        ratio(row, "sync against grpcio's best mode", f"py.{kind}", f"grpcio-best.{kind}", best)
        ratio(row, "asyncio against grpc.aio", f"py.aio.{kind}", f"grpc.aio.{kind}", default)
        ratio(
            row, "asyncio against grpcio's best mode", f"py.aio.{kind}", f"grpcio-best.{kind}", best
        )

    row = "Python server stream beside one CPU-bound Python thread"
    any_mode = "grpcio.hog grpcio-best.hog grpc.aio.hog"
    ratio(row, "sync against any grpcio mode", "py.hog", any_mode, 500)
    ratio(row, "asyncio against any grpcio mode", "py.aio.hog", any_mode, 500)

    row = "Python client stream against grpcio"
    ratio(row, "bytes", "py.publish", "grpcio.publish", 100)
    ratio(row, "serialised from objects", "py.publish.objects", "grpcio.publish.objects", 50)

    row = "Python unary calls and ping-pong"
    ratio(row, "sync, calls/s", "py.unary", "grpcio.unary", 1.7)
    ratio(row, "asyncio, 64 in flight, calls/s", "py.aio.unary64", "grpc.aio.unary64", 2.2)
    ratio(row, "sync ping-pong, p50", "py.echo", "grpcio.echo", 0.5, P50_US)
    ratio(row, "asyncio ping-pong, p50", "py.aio.echo", "grpc.aio.echo", 0.5, P50_US)

    row = "Java server stream against tuned grpc-java, packed"
    ratio(row, "bytes", "java.bytes", "grpc-java.bytes", 5)
    ratio(row, "parsed", "java.objects", "grpc-java.objects", 3)

    row = "Java client stream and unary calls against grpc-java"
    ratio(row, "client stream, bytes", "java.publish", "grpc-java.publish", 5)
    ratio(row, "client stream, objects", "java.publish.objects", "grpc-java.publish.objects", 5)
    ratio(row, "blocking unary, calls/s", "java.unary", "grpc-java.unary", 1)
    ratio(row, "blocking unary, p50", "java.unary", "grpc-java.unary", 1, P50_US)

    ratio("C server stream against Rust, packed", "messages/s", "c.bytes", "rust.bytes", 0.9)

    row = "500,000 updates/s, from due time to user code"
    for what, ours in (
        ("Python sync", "py.paced"),
        ("Python asyncio", "py.aio.paced"),
        ("Java", "java.paced"),
    ):
        below(row, f"{what}, p50", ours, P50, 2)
        below(row, f"{what}, p99", ours, P99, 10)

    row = "CPU per received message in Python, packed"
    below(row, "sync, bytes", "py.bytes", CPU, 0.15)
    below(row, "asyncio, bytes", "py.aio.bytes", CPU, 0.15)
    below(row, "sync, objects", "py.objects", CPU, 0.5)
    below(row, "asyncio, objects", "py.aio.objects", CPU, 0.5)

    row = "Memory growth of a consumer stalled under a 1 GB stream"
    for what, ours in (
        ("Python sync", "py.stalled"),
        ("Python sync, one DATA frame per message", "py.stalled.single"),
        ("Python asyncio", "py.aio.stalled"),
        ("Java", "java.stalled"),
        ("Java, one DATA frame per message", "java.stalled.single"),
        ("C", "c.stalled"),
        ("Rust", "rust.stalled"),
    ):
        below(row, what, ours, GROWTH, 32)
    return goals


GOALS = _goals()


def select(names: list[str]) -> list[Probe]:
    """The probes whose key, language or group contains one of the names, and their peers."""
    if not names:
        return PROBES
    unknown = [name for name in names if not any(_matches(probe, name) for probe in PROBES)]
    if unknown:
        raise SystemExit(f"run.py: nothing is called {unknown[0]!r}; --list names everything")
    keys = {p.key for p in PROBES if any(_matches(p, name) for name in names)}
    for goal in GOALS:
        if goal.ours in keys:
            keys.update(goal.peers)
    return [probe for probe in PROBES if probe.key in keys]


def _matches(probe: Probe, name: str) -> bool:
    if name in _LANGUAGES:
        return name == probe.language
    return name == probe.key or name.lower() in probe.group.lower()
