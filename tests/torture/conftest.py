"""Processes that are cheap to start and to kill, and a disk that fails on command."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """faults.c as a library."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("faults.c needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("faults") / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@pytest.fixture(scope="session")
def victims(faults: Path) -> Iterator[multiprocessing.context.BaseContext]:
    """A source of processes with everything imported, and faults.c loaded before every other library."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["victims", "training_victims"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(faults))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        first = context.Process(target=len, args=("",))
        first.start()  # the first process starts the server
        first.join()
    assert first.exitcode == 0
    yield context
