"""Medians, ratios, and whether a goal is reached."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from runner.catalogue import Figure, Goal
from runner.execute import Results


@dataclass(frozen=True)
class Spread:
    """Median, least and most of the runs."""

    median: float
    least: float
    most: float


def spread(runs: list[dict], figure: Figure) -> Spread | None:
    """Of a figure over the runs; None when it was not measured."""
    values = [run[figure.name] * figure.scale for run in runs if figure.name in run]
    if not values:
        return None
    return Spread(statistics.median(values), min(values), max(values))


@dataclass(frozen=True)
class Verdict:
    """A goal and what came of it."""

    goal: Goal
    regime: str
    ours: Spread
    peer: Spread | None
    value: float
    """The ratio, or the figure itself."""
    reached: bool


def judge(goal: Goal, results: Results) -> Verdict | None:
    """None when what it takes was not measured.

    A ratio is taken in the regime that is better for the peer. An absolute bound must hold in every
    regime, so the worse one counts.
    """
    verdicts = []
    for regime, measured in results.items():
        ours = spread(measured.get(goal.ours, []), goal.figure)
        if ours is None:
            continue
        if not goal.peers:
            value = ours.median
            verdicts.append(Verdict(goal, regime, ours, None, value, value < goal.bound))
            continue
        peers = [spread(measured.get(key, []), goal.figure) for key in goal.peers]
        known = [peer for peer in peers if peer is not None]
        if not known:
            continue
        best = min if goal.lower_is_better else max
        peer = best(known, key=lambda peer: peer.median)
        value = ours.median / peer.median
        reached = value <= goal.bound if goal.lower_is_better else value >= goal.bound
        verdicts.append(Verdict(goal, regime, ours, peer, value, reached))
    if not verdicts:
        return None
    if not goal.peers:
        return max(verdicts, key=lambda verdict: verdict.value)
    sign = -1 if goal.lower_is_better else 1
    return max(verdicts, key=lambda verdict: sign * verdict.peer.median)
