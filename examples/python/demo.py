"""The demo scenario: all six services over real data, one JSON line for each on standard output.

    python demo.py TARGET DATA_DIR

The same scenario stands in every language. What each service sends back is summed up by a CRC-32
over the payload bytes of every message received, in order, so that the languages can be compared.
"""

from __future__ import annotations

import sys
from pathlib import Path

import millstream


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print("usage: demo.py TARGET DATA_DIR", file=sys.stderr)
        return 2
    import scenario

    target, data = arguments
    try:
        with millstream.channel(target) as channel:
            for step in scenario.STEPS:
                step(channel, Path(data))
    except (millstream.Error, scenario.Failed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
