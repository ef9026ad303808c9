"""Freed memory is reused without a page fault for every 4 KiB, until it is given back."""

import platform
import subprocess
import sys

import pytest

PAGES = 25_600  # of 4 KiB: 100 MiB
PROGRAM = f"""
import resource, sys
from xeval.support.freed_memory import give_back_freed_memory, keep_freed_memory
if sys.argv[1] != "as usual":
    keep_freed_memory()
faults = []
for _ in range(3):
    block = b"x" * ({PAGES} * 4096)  # allocated and written to
    del block
    if sys.argv[1] == "give back":
        give_back_freed_memory()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(faults[-1] - faults[0])
"""


def faults_of_the_second_and_third_block(how: str) -> int:
    process = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(process.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_freed_memory_is_reused_without_page_faults() -> None:
    assert faults_of_the_second_and_third_block("keep") < PAGES / 10
    assert faults_of_the_second_and_third_block("as usual") > PAGES  # the default of the C library


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the call")
def test_kept_memory_can_be_given_back() -> None:
    assert faults_of_the_second_and_third_block("give back") > PAGES
