"""Freed memory is used again without a page fault for every 4 KiB of it."""

import platform
import subprocess
import sys

import pytest

PAGES = 25_600  # of 4 KiB: 100 MiB
PROGRAM = f"""
import resource, sys
from xeval.support.freed_memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
faults = []
for _ in range(3):
    block = b"x" * ({PAGES} * 4096)  # allocated and written to
    del block
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


def faults_of_the_second_and_third_block(how: str) -> int:
    process = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(process.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_memory_that_was_freed_is_not_faulted_in_again() -> None:
    assert faults_of_the_second_and_third_block("keep") < PAGES / 10
    assert faults_of_the_second_and_third_block("give back") > PAGES  # what the C library does by itself
