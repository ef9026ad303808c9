"""Idle OpenMP threads sleep unless the user says otherwise."""

import os
import subprocess
import sys

import pytest

SHOWN = "from xeval.support.idle_threads import let_idle_threads_sleep as let; let(); import torch"


@pytest.mark.parametrize(("given", "shown"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")])
def test_openmp_policy_is_set_before_torch_loads(given, shown):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | given
    process = subprocess.run([sys.executable, "-c", SHOWN], env=environment, capture_output=True, text=True)
    assert f"OMP_WAIT_POLICY = '{shown}'" in process.stderr
