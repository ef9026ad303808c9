"""`xeval cache`: what is kept to save time, how large it is, and how to delete it."""

from typing import Annotated

import typer

from xeval.support.cache import PARTS, cache_home, clear, size_bytes
from xeval.support.errors import UnknownNameError


def cache(
    clear_part: Annotated[
        list[str] | None,
        typer.Option("--clear", metavar="PART", help=f"Part to delete: {', '.join(PARTS)}, or all; repeatable."),
    ] = None,
) -> None:
    """Show what the cache keeps to save time (none of it is a result), or delete it."""
    names = clear_part or []
    for name in names:
        if name not in (*PARTS, "all"):
            raise UnknownNameError("part of the cache", name, [*PARTS, "all"])
    for part in PARTS:
        if part in names or "all" in names:
            clear(part)
    print(cache_home())
    for part in PARTS:
        print(f"{part:11} {size_bytes(part) / 1e6:10,.1f} MB")
