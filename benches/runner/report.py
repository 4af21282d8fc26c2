"""Writes docs/benchmarks.md."""

from __future__ import annotations

from itertools import groupby

from runner.build import ROOT
from runner.catalogue import CPU, GOALS, GROWTH, P50, P50_US, P99, PROBES, RATE, Figure
from runner.judge import Spread, Verdict, judge, spread

_HOW = """\
Every client is a process of its own on the machine of the server, over plaintext loopback, against
one server (`benches/src/server.rs`): it speaks HTTP/2 by hand on one thread, sends ticks of
{message_bytes} bytes that were encoded beforehand, and counts what it receives. *Packed* means
many messages to a DATA frame of 16 KiB, as servers write that have many to send; the other extreme
is one DATA frame for each message. The programs of a group run in turns. A figure is the median of
{runs} runs, with the least and the most of them behind it. CPU is user and system time of the
client process per message, with all its threads. *Best mode* of grpcio is
`grpc.experimental.ChannelOptions.SingleThreadedUnaryStream`; *tuned* grpc-java has a direct
executor, windows of 4 MiB and requests 4096 messages ahead. A paced stream is an open loop: each
message carries the time when it was due, every 64th is looked at, and the server's own timer of
1 ms is part of what is measured.

How fast a thread of another process is woken differs by a factor of ten between a machine whose
cores sleep and one that is at work, and most of all for clients that wake a thread for each
message. So everything is measured in both states: *quiet*, and *busy* with one core occupied by a
process that only computes. A ratio is taken in the state that is better for the peer; an absolute
bound must hold in both.
"""


def _number(value: float, unit: str) -> str:
    if unit == "/s":
        if value >= 1e6:
            return f"{value / 1e6:.2f}M"
        if value >= 1e4:
            return f"{value / 1e3:.1f}k"
        return f"{value:,.0f}"
    if unit == "MB":
        return f"{value:.1f}"
    return f"{value:.3f}" if value < 10 else f"{value:,.1f}"


def _cell(value: Spread | None, figure: Figure) -> str:
    if value is None:
        return ""
    numbers = [_number(v, figure.unit) for v in (value.median, value.least, value.most)]
    return f"{numbers[0]} [{numbers[1]}-{numbers[2]}]"


def _unit(figure: Figure) -> str:
    return "" if figure.unit == "/s" else f" {figure.unit}"


def goals_table(results: dict) -> tuple[list[str], list[Verdict], int]:
    """The table of the goals; the verdicts; how many goals were not measured."""
    lines = [
        "| measure | | Millstream | peer | reached | asked | |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    verdicts = []
    missing = 0
    last = None
    for goal in GOALS:
        row = goal.row if goal.row != last else ""
        verdict = judge(goal, results)
        if verdict is None:
            missing += 1
            continue
        last = goal.row
        verdicts.append(verdict)
        unit = _unit(goal.figure)
        ours = _number(verdict.ours.median, goal.figure.unit) + unit
        peer = ""
        if verdict.peer is None:
            value, asked = ours, f"under {goal.bound:g}{unit}"
        else:
            peer = _number(verdict.peer.median, goal.figure.unit) + unit
            value = f"{verdict.value:,.2f} x" if verdict.value < 10 else f"{verdict.value:,.0f} x"
            asked = f"at {'most' if goal.lower_is_better else 'least'} {goal.bound:g} x"
        answer = "yes" if verdict.reached else "**no**"
        lines.append(
            f"| {row} | {goal.what} ({verdict.regime}) | {ours} | {peer} | {value} | {asked} "
            f"| {answer} |"
        )
    return lines, verdicts, missing


def _figures(results: dict) -> list[str]:
    lines = []
    regimes = list(results)
    for group, members in groupby(PROBES, key=lambda probe: probe.group):
        members = [p for p in members if any(results[r].get(p.key) for r in regimes)]
        if not members:
            continue
        sample = next(
            results[r][p.key][0] for p in members for r in regimes if results[r].get(p.key)
        )
        if "rss_growth_kb" in sample:
            columns = [("growth, MB", GROWTH)]
        elif sample["name"] == "paced":
            columns = [("p50, ms", P50), ("p99, ms", P99), ("CPU, µs/message", CPU)]
        else:
            columns = [("per second", RATE), ("CPU, µs each", CPU)]
            if any(
                "p50_us" in results[r][p.key][0]
                for p in members
                for r in regimes
                if results[r].get(p.key)
            ):
                columns.append(("p50, µs", P50_US))
        lines += ["", f"### {group}", ""]
        lines.append(
            "| | " + " | ".join(f"{name} ({r})" for r in regimes for name, _ in columns) + " |"
        )
        lines.append("|---|" + "--:|" * (len(regimes) * len(columns)))
        for probe in members:
            cells = [
                _cell(spread(results[r].get(probe.key, []), figure), figure)
                for r in regimes
                for _, figure in columns
            ]
            lines.append(f"| {probe.title} | " + " | ".join(cells) + " |")
    return lines


def render(record: dict) -> str:
    """The whole page."""
    results = record["results"]
    table, verdicts, missing = goals_table(results)
    reached = sum(verdict.reached for verdict in verdicts)
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` (`{record['command']}`); revision {record['revision']}.",
        f"{reached} of {len(verdicts)} goals are reached"
        + (f"; {missing} were not measured." if missing else "."),
        "",
        *table,
        "",
    ]
    analysis = ROOT / "benches/analysis.md"
    if analysis.exists():
        lines += ["## What is not reached, and why", "", analysis.read_text().strip(), ""]
    lines += ["## How it is measured", "", _HOW.format(**record).rstrip(), ""]
    lines += ["## The machine", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in record["machine"].items()]
    for regime, micros in record["ping_pong_us"].items():
        lines.append(f"| bare TCP ping-pong, {regime}, p50 | {micros:.1f} µs |")
    lines += [f"| {name} | {value} |" for name, value in record["versions"].items()]
    lines += ["", "## All figures", "", "Median [least-most]."]
    lines += _figures(results)
    if record["failures"]:
        lines += ["", "### What failed", ""]
        titles = {probe.key: f"{probe.group}: {probe.title}" for probe in PROBES}
        lines += [f"* {titles[key]}: {why}" for key, why in record["failures"].items()]
    return "\n".join(lines) + "\n"
