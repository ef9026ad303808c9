"""Text made safe to show."""

import re


def one_line(message: object) -> str:
    """Text safe for one terminal line: white space folded, control characters shown as escapes."""
    text = " ".join(str(message).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def metric_in_words(name: str) -> str:
    """ "token accuracy", "span F1"."""
    return re.sub(r"\bf1\b", "F1", name.replace("_", " "))


def capitalised(text: str) -> str:
    """With a capital first letter, and the others as they are."""
    return text[:1].upper() + text[1:]
