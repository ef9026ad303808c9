"""A command in several processes started by torchrun: the first runs it, and the others help."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xeval.support.errors import XevalError
from xeval.support.termination import RankLost, Terminated
from xeval.support.text import one_line

_TERMINATED = 143


def with_other_ranks(command: Callable[[], object]) -> object:
    """Return what `command` returns. If torchrun has started several processes, only the first calls it.

    The others compute what the first gives them, report only their own errors, and exit when it does. Raises XevalError
    if one of them has gone.
    """
    if "RANK" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1":
        return command()
    from xeval.engine.followers import follow  # takes seconds: torch and transformers
    from xeval.engine.ranks import joined

    with joined() as ranks, _left_in_peace():
        if not ranks.leads:
            _silently(lambda: follow(ranks))
            return 0
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            # torchrun passes Ctrl-C on, so it comes twice; the second must not interrupt the saving after the first.
            signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
        try:
            code = command()
            ranks.give()  # tells the others that they are no longer needed
        except RankLost as error:
            why = one_line(error.__cause__)[:200]
            raise XevalError(
                f"another rank has ended or cannot be reached ({why}), so this one ends too; finished work is kept, and"
                " the same command resumes from there"
            ) from error
        return code


@contextmanager
def _left_in_peace() -> Iterator[None]:
    """On exit, ignore the signals that torchrun sends to remaining processes once another has ended."""
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _silently(follow: Callable[[], None]) -> None:
    """Call `follow`, and exit silently on errors that rank 0 or torchrun reports."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 gets it too
    try:
        follow()
    except RankLost:
        sys.exit(2)
    except Terminated:
        sys.exit(_TERMINATED)
    except XevalError as error:
        raise XevalError(f"rank {os.environ['RANK']}: {error}") from error
