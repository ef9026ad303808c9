"""Every test runs in its own folders and without a network; fixtures that several files need are made once."""

import gc
import ipaddress
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from tests.helpers import archives

# huggingface_hub reads these when it is imported, which is before any fixture.
_HOME = tempfile.TemporaryDirectory(prefix="xeval-tests-")
os.environ["HF_HOME"] = _HOME.name
for _name in ("HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
    os.environ.pop(_name, None)

# Two test processes share two cores, where waiting threads would spin. Torch reads this when it is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples each time, and no limits on wall-clock time, which a busy machine would exceed.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=2000, deadline=None)
settings.load_profile("repeatable")

# Tests started in the background or with nohup ignore these signals, and so would the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_finish() -> None:
    gc.freeze()  # nothing imported so far is ever freed, and scanning it takes time in each test


def pytest_unconfigure() -> None:
    _HOME.cleanup()


@pytest.fixture(autouse=True)
def own_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own caches, for the libraries in this process and for the processes that it starts."""
    folder = Path(tempfile.mkdtemp(dir=_HOME.name))  # pytest would search all earlier folders for a free number
    monkeypatch.setenv("XEVAL_CACHE", str(folder / "xeval"))
    monkeypatch.setenv("HF_HOME", str(folder / "huggingface"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # nothing listens there
    for name in ("XEVAL_DATA", "XEVAL_TASKS", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    if "huggingface_hub" in sys.modules:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder / "huggingface" / "hub"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to other machines fail the test."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address) -> None:
        if self.family != socket.AF_UNIX and not _is_loopback(address[0]):
            pytest.fail(f"the test wanted to connect to {address!r}", pytrace=False)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_here)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data, next to the repository."""
    if not SHARED.is_dir():
        pytest.skip("the real data are not in ../shared")
    return SHARED


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory):
    """`unpacked("tatoeba")`: the folder of that archive of real data, unpacked once. Don't change it."""
    folders: dict[str, Path] = {}

    def unpack(name: str) -> Path:
        archive = SHARED / f"data/xtreme/{name}.tar.xz"
        if not archive.exists():
            pytest.skip(f"{name} is not in ../shared")
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            archives.unpack(archive, folder)
            folders[name] = folder / name
        return folders[name]

    return unpack


@pytest.fixture(scope="session")
def mini(tmp_path_factory: pytest.TempPathFactory):
    """The task mini-pairs, which xeval does not ship, with its rows in the hub's layout. Don't change it."""
    from tests.helpers import tiny

    folder = tmp_path_factory.mktemp("mini-pairs")
    return tiny.Mini(tiny.write_task(folder / "tasks"), tiny.write_hub_layout(folder / "data", tiny.mini_rows()))


@pytest.fixture(scope="session")
def checkpoint_of(tmp_path_factory: pytest.TempPathFactory):
    """`checkpoint_of(architecture, labels=None)`: the folder of a tiny checkpoint, made once. Don't change it."""
    from tests.helpers import tiny

    made: dict[tuple, Path] = {}

    def checkpoint(architecture: str, labels: tuple[str, ...] | None = None) -> Path:
        key = (architecture, labels)
        if key not in made:
            made[key] = tiny.make_checkpoint(tmp_path_factory.mktemp(architecture), architecture, labels)
        return made[key]

    return checkpoint


@pytest.fixture
def command(capsys, monkeypatch):
    """`command(*words)` runs xeval and returns its exit code, standard output and standard error."""
    from xeval.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["xeval", *map(str, words)])
        capsys.readouterr()  # whatever the test's preparations have printed
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return left.value.code, captured.out, captured.err

    return run


_FIGURES: list[tuple[str, str]] = []


@pytest.fixture
def figure():
    """`figure(what, result)` adds a line to the table that is printed at the end, for docs/reliability.md."""
    return lambda what, result: _FIGURES.append((what, str(result)))


def pytest_terminal_summary(terminalreporter) -> None:
    if _FIGURES:
        terminalreporter.section("figures")
        for what, result in _FIGURES:
            terminalreporter.write_line(f"| {what} | {result} |")
