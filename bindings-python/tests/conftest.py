"""Fixtures. A test that is a coroutine runs once with the synchronous package and once with that of
asyncio under each kind of event loop; `connect` opens its channels."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import support
from millstream import _loops, _native

# So that the threads of loops without readers end soon after their loop.
_loops._LOOK = 0.05

FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "flavours(*names): run a coroutine only under these")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "flavour" in metafunc.fixturenames:
        marker = metafunc.definition.get_closest_marker("flavours")
        metafunc.parametrize("flavour", marker.args if marker else support.FLAVOURS)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    names = pyfuncitem._fixtureinfo.argnames
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    result = pyfuncitem.obj(**arguments)
    if hasattr(result, "send"):
        support.run(str(pyfuncitem.funcargs.get("flavour", "asyncio")), result)
    return True


@pytest.fixture
def connect(flavour: str) -> Callable[..., Any]:
    return support.opener(flavour)


@pytest.fixture(scope="session", autouse=True)
def messages(tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("protos")
    support.generate_messages(out)
    sys.path.insert(0, str(out))


@pytest.fixture(scope="session")
def tls_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="session")
def targets(tls_dir: Path) -> Iterator[dict[str, str]]:
    """The listeners of the reference server."""
    unix = tls_dir / "unix.sock"
    options = ["--tls", "--mtls", "--tls-dir", str(tls_dir), "--unix", str(unix)]
    with support.reference_server(*options) as server:
        yield server.ready


@pytest.fixture
def target(targets: dict[str, str]) -> str:
    return targets["http"]


@pytest.fixture(scope="session")
def faults() -> Iterator[dict[str, str]]:
    """The listeners of the server that breaks the rules."""
    with support.fault_server() as server:
        yield server.ready


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash.setdefault(FAILED, False)
    item.stash[FAILED] |= report.failed
    return report


@pytest.fixture(autouse=True)
def nothing_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every channel, call and queue of a test is gone when it ends."""
    yield
    if request.node.stash.get(FAILED, False):
        return  # its traceback holds what it used
    end = time.monotonic() + 10
    while any(_native.live()):
        gc.collect()
        if time.monotonic() > end:
            channels, calls, queues = _native.live()
            pytest.fail(f"left alive: {channels} channels, {calls} calls, {queues} queues")
        time.sleep(0.01)
