"""The programs of the guide and the examples run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from support import ROOT, SOON, binary, reference_server

GUIDE = ROOT / "docs" / "guide-python.md"
EXAMPLES = ROOT / "examples" / "python"

PROGRAMS = re.findall(r"^## (.+?)$|^```python\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.M)


def programs() -> list[tuple[str, str]]:
    """Each program of the guide with the heading that it stands under."""
    found = []
    heading = ""
    for new_heading, program in PROGRAMS:
        heading = new_heading or heading
        if program:
            found.append((heading, program))
    return found


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("guide")
    sources = [str(source) for source in (ROOT / "proto").glob("*/v1/*.proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    subprocess.run([*command, f"--python_out={out}", *sources], check=True)
    return out


def test_the_guide_has_programs() -> None:
    assert len(programs()) >= 8


@pytest.mark.parametrize("heading", [heading for heading, _ in programs()])
def test_a_program_of_the_guide_runs(
    targets: dict[str, str], tls_dir: Path, generated: Path, heading: str
) -> None:
    for program in [program for where, program in programs() if where == heading]:
        program = program.replace("http://127.0.0.1:50051", targets["http"])
        program = program.replace("https://localhost:50052", targets["mtls"])
        program = program.replace("certificates/", f"{tls_dir}/")
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            env={**os.environ, "PYTHONPATH": str(generated)},
            capture_output=True,
            text=True,
            timeout=SOON * 2,
        )
        assert (done.returncode, done.stderr) == (0, "")


def example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        capture_output=True,
        text=True,
        timeout=SOON * 3,
    )


def test_the_example_of_the_readme_runs(target: str) -> None:
    done = example("readme_example.py", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d+ observations, \d+ bytes\n", done.stdout)


def test_the_demo_runs_on_the_excerpt(tmp_path: Path) -> None:
    with reference_server() as server:
        prepare: list[str | Path] = [
            binary("MILLSTREAM_REFERENCE_SERVER", "reference-server"),
            "data",
            "prepare",
        ]
        prepare += ["--cache", tmp_path]
        subprocess.run(prepare, check=True, capture_output=True)
        done = example("demo.py", server.ready["http"], str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = {row["service"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert list(rows) == [
        "weather.v1.Weather",
        "logs.v1.LogCollector",
        "chat.v1.ChatService",
        "market.v1.MarketData",
        "telemetry.v1.DeviceManager",
        "sync.v1.DataSync",
    ]
    assert rows["chat.v1.ChatService"]["messages"] == 104
    reports = json.loads((tmp_path / "manifest.json").read_text())["files"][0]["messages"]
    assert rows["telemetry.v1.DeviceManager"]["messages"] == reports > 0
    for row in rows.values():
        assert row["language"] == "python"
        assert re.fullmatch(r"[0-9a-f]{8}", row["crc32"])
        assert row["crc32"] != f"{zlib.crc32(b''):08x}"
    for line in done.stderr.splitlines():
        assert re.fullmatch(r"progress \S+ \d+ \d+", line), line


def test_the_demo_says_what_is_wrong(target: str, tmp_path: Path) -> None:
    done = example("demo.py")
    assert (done.returncode, done.stderr) == (2, "usage: demo.py TARGET DATA_DIR\n")
    done = example("demo.py", "http://127.0.0.1:1", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("error: UNAVAILABLE: ")
    done = example("demo.py", target, str(tmp_path))
    assert done.returncode == 1
    assert "log_batches.binpb" in done.stderr
