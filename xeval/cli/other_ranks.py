"""A command that several processes share, which torchrun has started: the first does it, and the others help."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from xeval.support.errors import XevalError
from xeval.support.termination import RankLost, Terminated

_TERMINATED = 143


def with_other_ranks(command: Callable[[], object]) -> object:
    """What `command` gives. Where torchrun has started several processes, the first alone calls it.

    The others compute what that one gives them, say nothing but what goes wrong on them, and exit when it does. Raises
    XevalError where one of them has gone.
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
            # torchrun passes Ctrl-C on, so that it comes twice, and the second must not cost what the first one saves.
            signal.signal(signal.SIGINT, signal.getsignal(signal.SIGTERM))
        try:
            code = command()
            ranks.give()  # the others are needed no more
        except RankLost as error:
            raise XevalError(
                "another rank has ended, so this one ends too; what was finished is kept, and the same command goes on"
                " from there"
            ) from error
        return code


@contextmanager
def _left_in_peace() -> Iterator[None]:
    """After this, a process that ends is not interrupted at it by torchrun, which notices that another has ended."""
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _silently(follow: Callable[[], None]) -> None:
    """Exit where rank 0, or whoever has started them all, says what there is to say."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # rank 0 gets it too
    try:
        follow()
    except RankLost:
        sys.exit(2)
    except Terminated:
        sys.exit(_TERMINATED)
    except XevalError as error:
        raise XevalError(f"rank {os.environ['RANK']}: {error}") from error
