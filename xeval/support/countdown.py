"""Overall progress of several pieces of work: before each, a line that says which it is and how long the rest takes."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from xeval.support.text import duration, one_line

Item = TypeVar("Item")


def count_down(
    items: Sequence[Item],
    works: Sequence[float],
    name: Callable[[Item], str],
    say: Callable[[str], None],
    what: str = "run",
) -> Iterator[Item]:
    """Yield `items`, the next when the work on one has ended: "run 2 of 9, about 40 minutes left: xnli, mbert".

    An item's work is as long as its number in `works` is large. One of 0 is not counted, and a single one goes without
    saying.
    """
    n_all, n = sum(work > 0 for work in works), 0
    done_work, done_s = 0.0, 0.0
    for place, (item, work) in enumerate(zip(items, works, strict=True)):
        if work > 0 and n_all > 1:
            n += 1
            rest = f", about {duration(done_s / done_work * sum(works[place:]))} left" if done_work else ""
            say(one_line(f"{what} {n} of {n_all}{rest}: {name(item)}"))
        started_s = time.monotonic()
        yield item
        if work > 0:
            done_work, done_s = done_work + work, done_s + time.monotonic() - started_s
