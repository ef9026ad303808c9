"""Threads that wait sleep, where OpenMP has them spin: on a busy machine they would take each other's turns.

Forty training steps of a small encoder took 106 s with two spinning threads beside other work, 7.6 s with two sleeping
ones, and 7.3 s with one. It changes the whole process, so it is for the command line and not for the library.
"""

import os


def let_idle_threads_sleep() -> None:
    """Set OMP_WAIT_POLICY to PASSIVE unless the user has set it. It is read when torch is loaded, so call this before.

    https://www.openmp.org/spec-html/5.0/openmpse55.html
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
