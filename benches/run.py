#!/usr/bin/env python3
"""Measures Millstream beside its peers and writes docs/benchmarks.md.

Needs the toolchains (cargo, a C compiler, Python 3.11 or newer, a JDK 17 or newer with Maven); the
rest is fetched into target/bench.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from pathlib import Path

from runner import build, execute, machine, report
from runner.catalogue import PROBES, select

RESULTS = build.BENCH / "results.json"
PAGE = build.ROOT / "docs/benchmarks.md"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="runs of everything (default 5)")
    parser.add_argument("--quick", action="store_true", help="one short run, to see that all works")
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        metavar="PART",
        help="part of the messages of each run; 0.2 takes a fifth of the time (default 1)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="a language, a key or a part of a group's title; may be repeated",
    )
    parser.add_argument(
        "--regime",
        choices=("both", "quiet", "busy"),
        default="both",
        help="quiet: the machine as it is; busy: with one core kept busy (default both)",
    )
    parser.add_argument(
        "--busy", action="store_const", const="busy", dest="regime", help="--regime busy"
    )
    parser.add_argument(
        "--profile", default="dist", help="Cargo profile of what is measured (default dist)"
    )
    parser.add_argument("--no-build", action="store_true", help="measure what was built before")
    parser.add_argument("--list", action="store_true", help="name what is measured, and end")
    parser.add_argument(
        "--report", action="store_true", help="write the page from the last results, and end"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="where the page goes (default docs/benchmarks.md, after a full run only)",
    )
    args = parser.parse_args()
    if args.runs < 1:
        parser.error("--runs must be at least 1")
    if not 0 < args.scale <= 1:
        parser.error("--scale must be above 0 and at most 1")
    return args


def main() -> int:
    args = arguments()
    if args.list:
        for probe in PROBES:
            print(f"{probe.key:26} {probe.language:7} {probe.group}: {probe.title}")
        return 0
    if args.report:
        return finish(json.loads(RESULTS.read_text()), args.output or PAGE)
    probes = select(args.only)
    try:
        languages = {probe.language for probe in probes}
        programs = build.build(languages, args.profile, say, rebuild=not args.no_build)
    except build.BuildError as error:
        say(f"run.py: {error}")
        return 1
    regimes = ["quiet", "busy"] if args.regime == "both" else [args.regime]
    runs, scale = (1, 0.2) if args.quick else (args.runs, args.scale)
    if (load := machine.load()) > 0.7:
        say(f"warning: the machine is at work (load {load:.1f}); the figures will be worse for it")
    record = {
        "command": shlex.join(["benches/run.py", *sys.argv[1:]]),
        "revision": build.revision(),
        "runs": runs,
        "machine": machine.description(),
        "versions": programs.versions,
        "ping_pong_us": {},
        "results": {},
        "failures": {},
    }
    begin = time.monotonic()
    with execute.Server(programs) as server:
        record["message_bytes"] = server.message_bytes
        for regime in regimes:
            with machine.busy_core(regime == "busy"):
                record["ping_pong_us"][regime] = machine.ping_pong_us()
                say(f"\n== {regime}: TCP ping-pong p50 {record['ping_pong_us'][regime]:.1f} µs")
                results = record["results"][regime] = {}
                execute.run_all(
                    programs, server, probes, runs, scale, say, results, record["failures"]
                )
    say(f"\nmeasured in {(time.monotonic() - begin) / 60:.0f} min")
    RESULTS.write_text(json.dumps(record))
    full = not args.only and not args.quick
    return finish(record, args.output or (PAGE if full else None))


def finish(record: dict, page: Path | None) -> int:
    """Prints the table of the goals and writes the page. 1 when something could not be measured."""
    table, _, missing = report.goals_table(record["results"])
    print("\n".join(table))
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report.render(record))
        say(f"written: {page}")
    for key, why in record["failures"].items():
        say(f"failed: {key}: {why}")
    if missing:
        say(f"{missing} goals were not measured")
    return 1 if record["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
