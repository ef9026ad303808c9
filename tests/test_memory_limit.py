"""A memory limit ends with the block that it was set for."""

import resource
import threading
import time
from pathlib import Path

import pytest

from xeval.support.memory_limit import at_most

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="nothing tells what a process has")


def test_overlapping_limits_of_two_threads_both_end():
    before, first_holds = resource.getrlimit(resource.RLIMIT_DATA), threading.Event()

    def first() -> None:
        with at_most(2**32):
            first_holds.set()
            time.sleep(0.05)

    def second() -> None:
        first_holds.wait()
        with at_most(2**31):
            time.sleep(0.1)

    threads = [threading.Thread(target=target) for target in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_inner_limit_restores_the_outer_one():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with at_most(2**32):
        outer = resource.getrlimit(resource.RLIMIT_DATA)
        with at_most(2**31):
            assert resource.getrlimit(resource.RLIMIT_DATA) < outer
        assert resource.getrlimit(resource.RLIMIT_DATA) == outer != before
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
