"""Writes python/millstream/_errors.py from the error table of the core, as the built module has it.

python generate_errors.py            write the file
python generate_errors.py --check    exit with 1 if it is not what would be written
"""

from __future__ import annotations

import sys
from pathlib import Path

from millstream import _native

FILE = Path(__file__).parent / "python" / "millstream" / "_errors.py"

# Built-in exceptions that users already catch for the same reason.
BUILTINS = {
    4: "builtins.TimeoutError",
    100: "ValueError",
    101: "ValueError",
    102: "ValueError",
    103: "ValueError",
    104: "ValueError",
    109: "builtins.TimeoutError",
    112: "MemoryError",
    113: "OSError",
}
# `SystemError` means something else in Python.
NAMES = {113: "SystemCallError"}

HEAD = '''\
"""The status codes and the exceptions. Made by generate_errors.py; do not edit."""

from __future__ import annotations

import builtins
import enum
from typing import Final

from millstream._base import Error, RpcError


class StatusCode(enum.IntEnum):
    """The status codes of gRPC."""

'''

CLASS = '''

class {name}({bases}):
    """{doc}"""

    number = {number}
'''


def class_name(number: int, name: str) -> str:
    """DATA_LOSS is DataLoss as the end of a call; INVALID_TLS is InvalidTlsError as misuse."""
    camel = "".join(part.capitalize() for part in name.split("_"))
    return NAMES.get(number, camel if number < 100 else camel + "Error")


def table_of(variable: str, base: str, names: dict[int, str]) -> str:
    rows = "".join(f"    {number}: {name},\n" for number, name in names.items())
    return f"\n{variable}: Final[dict[int, type[{base}]]] = {{\n{rows}}}\n"


def render() -> str:
    """The text of the file."""
    table = _native.error_table()
    text = HEAD
    for number, name, _, _, doc in table:
        if number < 100:
            text += f'    {name} = {number}\n    """{doc}"""\n'
    names = {number: class_name(number, name) for number, name, *_ in table if number > 0}
    for number, name, _, retryable, doc in table:
        if number == 0:
            continue
        builtin = BUILTINS.get(number, "" if number < 100 else "RuntimeError")
        bases = ", ".join(filter(None, ["RpcError" if number < 100 else "Error", builtin]))
        text += CLASS.format(name=names[number], bases=bases, doc=doc, number=number)
        if number < 100:
            text += f"    code = StatusCode.{name}\n"
        text += f"    retryable = {retryable}\n"
    rpc = {number: name for number, name in names.items() if number < 100}
    misuse = {number: name for number, name in names.items() if number >= 100}
    text += "\n" + table_of("RPC_ERRORS", "RpcError", rpc)
    return text + table_of("MISUSE_ERRORS", "Error", misuse)


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    if arguments == []:
        FILE.write_text(render())
        return 0
    if FILE.read_text() == render():
        return 0
    print(f"{FILE} is not up to date: run python {Path(__file__).name}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
