"""From the arguments of `millstream.channel()` to a native channel."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from millstream import _native
from millstream._errors import InvalidTlsError

Pem: TypeAlias = bytes | str | os.PathLike[str]
"""PEM as bytes, or the path of a file that holds it."""

_FORMS = dict(_native.channel_options())


def open_native(
    target: str,
    roots: Pem | None,
    cert_chain: Pem | None,
    private_key: Pem | None,
    server_name: str | None,
    options: Mapping[str, object],
) -> _native.Channel:
    """Opens a channel, or raises what is wrong with the arguments."""
    if not isinstance(target, str):
        raise TypeError(f"target is text such as 'http://localhost:50051', not {target!r}")
    texts = []
    for name, value in {**options, "server_name": server_name}.items():
        if name not in _FORMS:
            known = ", ".join(sorted(_FORMS.keys() - {"server_name"}))
            raise TypeError(f"unknown channel option {name!r}; known are {known}")
        if value is not None or "none" in _FORMS[name]:
            texts.append((name, _text(name, value)))
    return _native.Channel(
        target,
        texts,
        _pem("roots", roots),
        _pem("cert_chain", cert_chain),
        _pem("private_key", private_key),
    )


def _text(name: str, value: object) -> str:
    """An option as the core reads it."""
    if value is None:
        return "none"
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if _FORMS[name].startswith("duration"):
        if isinstance(value, timedelta):
            value = value.total_seconds()
        if isinstance(value, int | float):
            return f"{round(value * 1000)}ms"
    elif isinstance(value, int):
        return str(value)
    raise TypeError(f"channel option {name} is {_FORMS[name]}, not {value!r}")


def _pem(name: str, value: Pem | None) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str) and value.lstrip().startswith("-----BEGIN"):
        raise InvalidTlsError(
            f"{name} is PEM as str; pass it as bytes (a str is the path of a file)"
        )
    if isinstance(value, str | os.PathLike):
        return Path(value).read_bytes()
    raise TypeError(f"{name} is PEM as bytes or the path of a file, not {type(value)}")
