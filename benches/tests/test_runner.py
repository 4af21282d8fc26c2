"""What the runner makes of measurements."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from runner import catalogue, judge, report
from runner.catalogue import CPU, P50_US, RATE, Goal

FASTER = Goal("row", "what", "ours", RATE, 10, ("peer", "best"))
QUICKER = Goal("row", "what", "ours", P50_US, 0.5, ("peer",))
BOUND = Goal("row", "what", "ours", CPU, 0.15)


def rates(**values: list[float]) -> dict[str, list[dict]]:
    return {key: [{"rate": value} for value in runs] for key, runs in values.items()}


def test_a_ratio_is_that_of_the_medians_and_against_the_best_peer():
    verdict = judge.judge(
        FASTER,
        {"quiet": rates(ours=[100, 900, 1000], peer=[10, 10, 500], best=[50, 60, 80])},
    )
    assert (verdict.ours.median, verdict.peer.median) == (900, 60)
    assert verdict.value == 15
    assert verdict.reached


def test_a_ratio_is_taken_in_the_regime_that_is_better_for_the_peer():
    verdict = judge.judge(
        FASTER,
        {"quiet": rates(ours=[1000], peer=[10]), "busy": rates(ours=[500], peer=[100])},
    )
    assert (verdict.regime, verdict.value, verdict.reached) == ("busy", 5, False)


def test_of_latencies_the_lower_one_is_better():
    def latency(ours: float, peer: float) -> dict:
        return {"ours": [{"p50_us": ours}], "peer": [{"p50_us": peer}]}

    verdict = judge.judge(QUICKER, {"quiet": latency(90, 200), "busy": latency(30, 80)})
    assert (verdict.regime, verdict.value, verdict.reached) == ("busy", 0.375, True)


def test_an_absolute_bound_must_hold_in_every_regime():
    results = {"quiet": {"ours": [{"cpu_us": 0.1}]}, "busy": {"ours": [{"cpu_us": 0.2}]}}
    verdict = judge.judge(BOUND, results)
    assert (verdict.regime, verdict.reached) == ("busy", False)
    assert judge.judge(BOUND, {"quiet": results["quiet"]}).reached


def test_what_was_not_measured_is_not_judged():
    assert judge.judge(FASTER, {"quiet": rates(ours=[1])}) is None
    assert judge.judge(FASTER, {"quiet": rates(peer=[1])}) is None
    _, verdicts, missing = report.goals_table({"quiet": {}})
    assert (verdicts, missing) == ([], len(catalogue.GOALS))


def test_every_goal_is_about_something_that_is_measured():
    keys = [probe.key for probe in catalogue.PROBES]
    assert len(keys) == len(set(keys))
    for goal in catalogue.GOALS:
        assert {goal.ours, *goal.peers} <= set(keys)


def test_ours_and_its_peers_run_in_turns():
    group = {probe.key: probe.group for probe in catalogue.PROBES}
    for goal in catalogue.GOALS:
        assert {group[key] for key in goal.peers} <= {group[goal.ours]}


def test_a_selection_brings_the_peers_along():
    keys = {probe.key for probe in catalogue.select(["py.bytes"])}
    assert keys == {"py.bytes", "grpcio.bytes", "grpcio-best.bytes"}
    assert {probe.language for probe in catalogue.select(["java"])} == {"java"}
    with pytest.raises(SystemExit, match="'nonsense'"):
        catalogue.select(["nonsense"])
