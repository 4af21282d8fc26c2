"""The messages of the example services, as Python classes.

`load` makes them of `proto/` with grpcio-tools, unless they are there and new. They are build
output: nothing of it is committed.

    python messages.py      makes them and says where they are
"""

from __future__ import annotations

import fcntl
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "proto"
OUT = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "python-messages"


def make() -> None:
    """Makes the classes that are missing or older than their sources."""
    OUT.mkdir(parents=True, exist_ok=True)
    sources = sorted(SOURCES.glob("*/v1/*.proto"))
    stamp = OUT / "made"
    with open(OUT / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two programs may begin at once
        if stamp.exists() and stamp.stat().st_mtime >= max(s.stat().st_mtime for s in sources):
            return
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{SOURCES}", f"--python_out={OUT}"]
        done = subprocess.run([*command, *map(str, sources)], capture_output=True, text=True)
        if done.returncode != 0:
            what = done.stderr.strip()
            if "No module named" in what:
                what += "; install it: python -m pip install grpcio-tools"
            raise SystemExit(f"cannot make the messages: {what}")
        stamp.touch()


def load(package: str) -> Any:
    """The module with the messages of a package such as `weather`."""
    make()
    if str(OUT) not in sys.path:
        sys.path.insert(0, str(OUT))
    return importlib.import_module(f"{package}.v1.{package}_pb2")


if __name__ == "__main__":
    make()
    print(OUT)
