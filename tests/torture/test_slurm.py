"""Grids on Slurm: an array, jobs that are put back into the queue, time that is up, a node that goes down."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_grid_killed import PATIENCE_S, RECIPE, environment, undisturbed, wait_until, weights_in, words

from tests.helpers.slurm_cluster import SlurmCluster, why_not
from xeval.runs.plan import plan_grid, write_plan

__all__ = ["environment", "undisturbed", "words"]  # fixtures
pytestmark = [pytest.mark.slow, pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]
