"""The machine: what it is, how it wakes threads, and a core kept busy."""

from __future__ import annotations

import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

_ECHO = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
connection = listener.accept()[0]
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
while data := connection.recv(64):
    connection.sendall(data)
"""
_ROUNDS = 3000

# Ends with its standard input, and so with the process that started it, however that ends.
_BUSY = """
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
while True:
    pass
"""


def ping_pong_us() -> float:
    """p50 of a bare TCP ping-pong between two Python processes, in microseconds.

    Most of it is the price of waking a thread of another process, and so tells in which regime the
    machine is: tens of microseconds where it has to wake a sleeping core, a few where it has not.
    """
    echo = subprocess.Popen([sys.executable, "-c", _ECHO], stdout=subprocess.PIPE, text=True)
    with echo, socket.create_connection(("127.0.0.1", int(echo.stdout.readline()))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        nanos = []
        for _ in range(_ROUNDS):
            begin = time.perf_counter_ns()
            connection.sendall(b"x" * 56)
            connection.recv(64)
            nanos.append(time.perf_counter_ns() - begin)
    return statistics.median(nanos) / 1e3


@contextmanager
def busy_core(wanted: bool):
    """Keeps one core busy meanwhile, by a process that only computes."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdin=subprocess.PIPE) as process:
        try:
            time.sleep(0.5)
            yield
        finally:
            process.kill()


def load() -> float:
    """How many processes wanted to run over the last minute."""
    return os.getloadavg()[0]


def description() -> dict[str, str]:
    """What this machine is."""
    cpu = platform.processor() or platform.machine()
    cores = os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    info = Path("/proc/cpuinfo")
    if info.exists() and (model := re.search(r"model name\s*: (.*)", info.read_text())):
        cpu = model[1]
    virtual = " (virtual machine)" if _is_virtual() else ""
    return {
        "CPU": f"{cpu}, {cores} cores{virtual}",
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
    }


def _is_virtual() -> bool:
    info = Path("/proc/cpuinfo")
    return info.exists() and "hypervisor" in info.read_text()
