"""Runs the probes in turns against one server."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from itertools import groupby

from runner.build import Programs
from runner.catalogue import Probe

LIMIT = 300
"""Seconds after which a probe is given up."""

Results = dict[str, dict[str, list[dict]]]
"""Regime -> key of the probe -> one measurement for each run."""


class Server:
    """The load server; ends with this process."""

    def __init__(self, programs: Programs) -> None:
        self._process = subprocess.Popen(
            programs.server, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"run.py: the load server ended at once ({programs.server[0]})")
        ready = json.loads(line)
        self.address = ready["address"]
        self.message_bytes = ready["message_bytes"]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._process.stdin.close()
        self._process.wait()


class Failed(Exception):
    """A probe did not measure anything; the text says why."""


def measure(programs: Programs, server: Server, probe: Probe, scale: float) -> dict:
    """Runs one probe once."""
    words = [*programs.command(probe.program), server.address, probe.mode]
    if probe.messages:
        messages = max(int(probe.messages * scale), 64)
        # The C client takes the number as it is.
        words += [str(messages)] if probe.language == "c" else ["--messages", str(messages)]
    words += probe.options
    try:
        done = subprocess.run(
            words,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=os.environ | programs.environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {LIMIT} s") from None
    if done.returncode != 0:
        # A stack trace says what happened in its last line (Python) or its first (Java).
        lines = [line for line in done.stderr.splitlines() if line and not line[0].isspace()]
        raise Failed(lines[-1] if lines else f"exit code {done.returncode}")
    try:
        result = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise Failed(f"printed {done.stdout[-200:]!r} instead of a measurement") from None
    result["rate"] = result["messages"] / result["seconds"]
    result["cpu_us"] = result["cpu_seconds"] / result["messages"] * 1e6
    return result


def run_all(
    programs: Programs,
    server: Server,
    probes: list[Probe],
    runs: int,
    scale: float,
    say: Callable[[str], None],
    results: dict[str, list[dict]],
    failures: dict[str, str],
) -> None:
    """Runs every probe ``runs`` times, the probes of a group in turns."""
    total = len(probes) * runs
    done = 0
    begin = time.monotonic()
    for group, members in groupby(probes, key=lambda probe: probe.group):
        members = list(members)
        say(f"\n{group}")
        for run in range(runs):
            for probe in members:
                done += 1
                try:
                    result = measure(programs, server, probe, scale)
                    results.setdefault(probe.key, []).append(result)
                    text = summary(result)
                except Failed as failure:
                    failures[probe.key] = str(failure)
                    text = f"FAILED: {failure}"
                left = (time.monotonic() - begin) / done * (total - done)
                say(
                    f"[{done:3}/{total}, {left / 60:4.1f} min left] run {run + 1}  "
                    f"{probe.title:48} {text}"
                )


def summary(result: dict) -> str:
    """A measurement in a few words."""
    words = []
    if "rss_growth_kb" in result:
        return f"grew by {result['rss_growth_kb'] / 1024:.1f} MB"
    words.append(f"{result['rate']:14,.0f}/s  CPU {result['cpu_us']:8.3f} µs")
    if "p50_us" in result:
        words.append(f"p50 {result['p50_us']:,.0f} µs, p99 {result['p99_us']:,.0f} µs")
    return "  ".join(words)
