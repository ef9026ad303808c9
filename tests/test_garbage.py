"""Garbage collection ignores what libraries made while loading, but collects cycles made later."""

import subprocess
import sys

LOADED = """
import gc
from xeval.cli.screen import loading
with loading(quiet=True):
    import torch
spared = gc.get_freeze_count()
with loading(quiet=True):  # of what is there already
    import torch
print(spared > 100_000, gc.get_freeze_count() == spared, gc.isenabled())
class Node: ...
node = Node(); node.itself = node; del node
print(gc.collect() > 0)
"""


def test_libraries_are_exempt_from_garbage_collection():
    process = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["True"] * 4
