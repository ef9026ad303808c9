"""Waiting OpenMP threads that soon sleep instead of spinning, which takes time from other threads on a busy machine.

Forty training steps of a small encoder took 106 s with two spinning threads while other work ran, 7.6 s with two
sleeping threads, and 7.3 s with one. On an idle machine, 150 steps took 16.6 and 17.2 s with threads that spin for
ever, 20.7 and 20.0 s with threads that sleep immediately, and 18.0 and 17.5 s with threads that first spin for some
microseconds. The setting changes the whole process, so it is for the command line and not for the library.
"""

import os

_SPINS = 20_000  # that a thread of GNU's OpenMP does before it sleeps


def let_idle_threads_sleep() -> None:
    """Set OMP_WAIT_POLICY and GOMP_SPINCOUNT unless the user has set the former.

    They are read when torch is loaded, so call this first.

    https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        os.environ.setdefault("GOMP_SPINCOUNT", str(_SPINS))
