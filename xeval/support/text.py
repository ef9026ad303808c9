"""Text made safe to show."""


def one_line(message: object) -> str:
    """Text safe for one terminal line: white space folded, control characters shown as escapes."""
    text = " ".join(str(message).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
