"""Builds what is measured, as users get it, and the peers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
BENCH = TARGET / "bench"
VENV = BENCH / "venv"
MESSAGES = BENCH / "python"
DIST = BENCH / "dist"
LOG = BENCH / "build.log"

_TOOLS = {
    "cargo": ("builds the core and the server", "rustup (https://rustup.rs)"),
    "cc": ("compiles C", "the Debian/Ubuntu package gcc"),
    "cmake": ("installs the C library", "the Debian/Ubuntu package cmake"),
    "java": ("runs the Java clients", "the Debian/Ubuntu package openjdk-17-jdk"),
    "mvn": ("builds the Java clients", "the Debian/Ubuntu package maven"),
}


class BuildError(Exception):
    """A step failed; the text says which and where its output is."""


@dataclass
class Programs:
    """The command lines of the programs that measure."""

    commands: dict[str, list[str]] = field(default_factory=dict)
    server: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, program: str) -> list[str]:
        """How a program of the catalogue is started."""
        kind, _, name = program.partition(":")
        prefix = self.commands[kind]
        if kind == "python":
            return [*prefix, str(ROOT / "benches/python" / f"{name}.py")]
        if kind == "java":
            return [*prefix, f"dev.millstream.bench.{name}"]
        return prefix


def build(languages: set[str], profile: str, say, *, rebuild: bool = True) -> Programs:
    """Builds what these languages need; with ``rebuild`` false only looks for it."""
    native = TARGET / ("debug" if profile == "dev" else profile)
    need = {"cargo"} | ({"cc", "cmake"} if "c" in languages else set())
    need |= {"java", "mvn"} if "java" in languages else set()
    for tool in sorted(need):
        if shutil.which(tool) is None:
            what, package = _TOOLS[tool]
            raise BuildError(f"missing: {tool}, which {what}; install {package}")
    BENCH.mkdir(parents=True, exist_ok=True)
    LOG.write_text("")
    programs = Programs(server=[str(native / "load_server"), "--exit-with-stdin"])
    programs.versions["Rust"] = _version("rustc", "--version")
    if rebuild:
        packages = ["benches"]
        packages += ["millstream-capi"] if "c" in languages else []
        packages += ["millstream-jni"] if "java" in languages else []
        say(f"building {', '.join(packages)} (profile {profile}; the first time takes minutes)")
        _run("cargo", "build", "--profile", profile, *(("--package", name) for name in packages))
    programs.commands["rust"] = [str(native / "rust_client")]
    if "python" in languages:
        _python(programs, profile, say, rebuild)
    if "java" in languages:
        _java(programs, native, say, rebuild)
    if "c" in languages:
        _c(programs, native, say, rebuild)
    return programs


def _python(programs: Programs, profile: str, say, rebuild: bool) -> None:
    python = VENV / "bin/python"
    if rebuild:
        say("building the wheel, installing it and grpcio into a virtual environment")
        if not python.exists():
            _run(sys.executable, "-m", "venv", VENV)
        pip = (python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet")
        _run(pip, "-r", ROOT / "benches/python/requirements.txt")
        shutil.rmtree(DIST / "wheel", ignore_errors=True)
        _run(
            (VENV / "bin/maturin", "build", "--profile", profile),
            ("--manifest-path", ROOT / "bindings-python/Cargo.toml"),
            ("--interpreter", python, "--out", DIST / "wheel"),
            CARGO_TARGET_DIR=str(TARGET),
        )
        wheels = (DIST / "wheel").glob("*.whl")
        _run(pip, "--force-reinstall", "--no-deps", "--no-index", *wheels)
        MESSAGES.mkdir(parents=True, exist_ok=True)
        _run(
            (python, "-m", "grpc_tools.protoc", "-I", ROOT / "benches/proto"),
            (f"--python_out={MESSAGES}", f"--grpc_python_out={MESSAGES}"),
            ROOT / "benches/proto/bench/v1/bench.proto",
        )
    programs.commands["python"] = [str(python)]
    programs.environment["PYTHONPATH"] = str(MESSAGES)
    ask = (
        "import importlib.metadata as m, platform;"
        "print(platform.python_version(), *(m.version(p) for p in"
        " ('millstream', 'grpcio', 'protobuf', 'uvloop')))"
    )
    names = ("CPython", "Millstream", "grpcio", "protobuf (upb)", "uvloop")
    programs.versions.update(zip(names, _version(python, "-c", ask).split(), strict=True))


def _java(programs: Programs, native: Path, say, rebuild: bool) -> None:
    jar = DIST / "millstream.jar"
    out = BENCH / "java"
    if rebuild:
        say("building the jar and the Java clients")
        mvn = ("mvn", "--batch-mode", "--no-transfer-progress", "--quiet", "-DskipTests")
        suffix = "dylib" if sys.platform == "darwin" else "so"
        _run(
            (*mvn, "-f", ROOT / "bindings-java/pom.xml", "-pl", "millstream", "package"),
            f"-Dmillstream.native={native / 'libmillstream_jni'}.{suffix}",
        )
        DIST.mkdir(parents=True, exist_ok=True)
        built = [
            path
            for path in (ROOT / "bindings-java/millstream/target").glob("millstream-*.jar")
            if not path.stem.endswith(("-sources", "-javadoc", "-tests"))
        ]
        if len(built) != 1:
            raise BuildError(f"bindings-java/millstream/target has {len(built)} jars, not one")
        shutil.copy(built[0], jar)
        shutil.rmtree(out, ignore_errors=True)
        _run(
            (*mvn, "-f", ROOT / "benches/java/pom.xml", "package"),
            (f"-Dmillstream.jar={jar}", f"-Dbench.target={out}"),
        )
    path = os.pathsep.join((str(out / "bench.jar"), str(out / "lib/*"), str(jar)))
    programs.commands["java"] = ["java", "-cp", path]
    programs.versions["Java"] = _version("java", "-version").splitlines()[-1]
    for name, prefix in (("grpc-java", "grpc-core"), ("protobuf-java", "protobuf-java")):
        for found in (out / "lib").glob(f"{prefix}-*.jar"):
            programs.versions[name] = found.stem.removeprefix(f"{prefix}-")


def _c(programs: Programs, native: Path, say, rebuild: bool) -> None:
    client = BENCH / "bench_client"
    if rebuild:
        say("installing the C library and building the C client")
        prefix, build_directory = DIST / "c", BENCH / "cmake"
        library = prefix / "lib"
        _run(
            ("cmake", "-S", ROOT / "bindings-c", "-B", build_directory, "-DBUILD_TESTING=OFF"),
            ("-DCMAKE_INSTALL_LIBDIR=lib", f"-DMILLSTREAM_CARGO_DIR={native}"),
        )
        _run("cmake", "--install", build_directory, "--prefix", prefix)
        _run(
            ("cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-O2", "-Wall", "-Wextra"),
            ("-I", prefix / "include", ROOT / "benches/c/bench_client.c", "-o", client),
            ("-L", library, f"-Wl,-rpath,{library}", "-lmillstream"),
        )
    programs.commands["c"] = [str(client)]
    programs.versions["C compiler"] = _version("cc", "--version").splitlines()[0]


def _run(*command: object, **environment: str) -> None:
    """Runs a command; its words may come in tuples."""
    words = [
        str(word) for part in command for word in (part if isinstance(part, tuple) else (part,))
    ]
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(words)}\n")
        log.flush()
        done = subprocess.run(
            words, cwd=ROOT, stdout=log, stderr=log, env=os.environ | environment, check=False
        )
    if done.returncode != 0:
        tail = "\n".join(LOG.read_text().splitlines()[-15:])
        raise BuildError(f"{' '.join(words[:4])} ... failed (all of it: {LOG})\n{tail}")


def _version(*command: object) -> str:
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(f"{' '.join(words[:2])}: {error}; run without --no-build") from error
    return (done.stdout or done.stderr).strip()


def revision() -> str:
    """The commit that is measured."""
    try:
        commit = _version("git", "-C", ROOT, "rev-parse", "--short=12", "HEAD")
        changed = _version("git", "-C", ROOT, "status", "--porcelain", "--untracked-files=no")
    except BuildError:
        return "unknown"
    return f"{commit}, with local changes" if changed else commit
