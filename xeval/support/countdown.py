"""Overall progress of several pieces of work: one line before each, with its number and the time left."""

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
    """Yield `items` and announce each through `say`: "run 2 of 9, about 40 minutes left: xnli, mbert".

    `works` has the relative amount of work of each item. An item of 0 is not counted, and a single counted item is not
    announced.
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
