"""One driver for each event loop: what wakes the loop when something happened in the core."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref

from millstream import _native

_drivers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _native.Driver]
_lock: threading.Lock

_LOOK = 1.0
"""Seconds after which a thread looks whether its loop still lives."""


def _reset() -> None:
    """In a forked child the parent's drivers are of no use, and its locks may be taken for ever."""
    global _drivers, _lock
    _drivers = weakref.WeakKeyDictionary()
    _lock = threading.Lock()


_reset()
os.register_at_fork(after_in_child=_reset)


def driver_of(loop: asyncio.AbstractEventLoop) -> _native.Driver:
    """The driver of a loop, which must be the one that runs in this thread."""
    with _lock:
        driver = _drivers.get(loop)
        if driver is None:
            _forget_closed_loops()
            driver = _native.Driver(loop)
            try:
                loop.add_reader(driver.fileno(), driver.drain)
            except NotImplementedError:
                _drain_from_a_thread(loop, driver)
            _drivers[loop] = driver
        return driver


def _forget_closed_loops() -> None:
    """Tasks of a loop that was closed under them hold each other for ever; let go of them."""
    for loop, driver in list(_drivers.items()):
        if loop.is_closed():
            driver.abandon()
            del _drivers[loop]


def _drain_from_a_thread(loop: asyncio.AbstractEventLoop, driver: _native.Driver) -> None:
    """For loops that cannot watch a file descriptor, such as the Proactor loop of Windows."""
    thread = threading.Thread(
        target=_call_soon,
        args=(weakref.ref(loop), driver),
        name="millstream-drain",
        daemon=True,
    )
    thread.start()


def _call_soon(loop_ref: weakref.ref[asyncio.AbstractEventLoop], driver: _native.Driver) -> None:
    drained = threading.Event()

    def drain() -> None:
        driver.drain()
        drained.set()

    while True:
        try:
            something = driver.wait(_LOOK)
        except RuntimeError:  # abandoned
            return
        loop = loop_ref()
        if loop is None or loop.is_closed():
            return
        if something:
            drained.clear()
            try:
                loop.call_soon_threadsafe(drain)
            except RuntimeError:  # closed just now
                return
            while not drained.wait(_LOOK):
                if loop.is_closed():
                    return
        del loop
