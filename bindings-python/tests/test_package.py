"""The package itself: what it exports, its types, its documentation."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import millstream
import millstream.aio
from millstream import _native

PACKAGE = Path(millstream.__file__).parent


def test_everything_that_is_exported_is_there_and_documented() -> None:
    for module in (millstream, millstream.aio):
        for name in module.__all__:
            value = getattr(module, name)
            assert name.startswith("__") or inspect.getdoc(value), name
    for owner in (millstream.Channel, millstream.aio.Channel, millstream.Call, millstream.aio.Call):
        for name, value in vars(owner).items():
            if not name.startswith("_"):
                assert inspect.getdoc(value), f"{owner.__name__}.{name}"


def test_both_packages_have_the_same_names() -> None:
    def public(owner: type) -> set[str]:
        return {name for name in vars(owner) if not name.startswith("_")}

    assert public(millstream.Channel) == public(millstream.aio.Channel)
    assert public(millstream.Call) == public(millstream.aio.Call)


def test_signatures_of_both_packages_are_the_same() -> None:
    for name, method in vars(millstream.Channel).items():
        if not name.startswith("_") and callable(method):
            theirs = inspect.signature(getattr(millstream.aio.Channel, name))
            ours = inspect.signature(method)
            assert list(ours.parameters) == list(theirs.parameters), name


def test_the_version_is_that_of_the_library() -> None:
    assert millstream.__version__ == _native.version()
    assert len(_native.build_id()) == 16


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    assert not hasattr(millstream, "no_such_name")


def test_the_package_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()
    assert (PACKAGE / "_native.pyi").exists()


def test_the_stubs_agree_with_the_native_module(tmp_path: Path) -> None:
    allow = Path(__file__).with_name("stubtest_allowlist.txt")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy.stubtest", "millstream"),
            *("--allowlist", str(allow), "--ignore-unused-allowlist"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
