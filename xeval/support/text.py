"""Text: making it safe to show, putting numbers into words, and telling scripts apart."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from decimal import ROUND_HALF_UP, Decimal


def one_line(message: object) -> str:
    """Return text that is safe for one line of a terminal or a log, with white space folded.

    Control characters are shown as escapes, and so are the marks that GitHub takes for a command, at the beginning of a
    line or anywhere.
    """
    text = legible(" ".join(str(message).split()))
    return f"\\x3a{text[1:]}" if text.startswith("::") else text


def legible(line: str) -> str:
    """Do the same for a line whose white space is to stay, and that does not begin with text from elsewhere."""
    line = line.replace("##[", "#\\x23[")
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def is_whole_number(text: str) -> bool:
    """Return whether `text` is a whole number of at most 18 digits. Python turns no more than 4,300 into a number."""
    return len(text) <= 18 and text.isdecimal()


def is_unicode(text: str) -> bool:
    """Return whether `text` can be written: an escape in JSON can stand for an unpaired surrogate, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def metric_in_words(name: str) -> str:
    """Return a metric's name in words: "token accuracy", "span F1", "MLQA F1"."""
    return re.sub(r"\b(f1|mlqa|udpos)\b", lambda match: match[0].upper(), name.replace("_", " "))


def capitalised(text: str) -> str:
    """Return `text` with a capital first letter and the others unchanged."""
    return text[:1].upper() + text[1:]


def counted(n: int, things: str) -> str:
    """Return "1 language" or "4,927 pairs"; `things` is the plural."""
    return f"{n:,} {singular(things) if n == 1 else things}"


def one_decimal(points: float) -> str:
    """Return "71.3" for 71.25: rounded half away from zero, without noise after the ninth decimal, never "-0.0"."""
    return str(_rounded(points, 1))


def percent(share: float, places: int = 1) -> str:
    """Return "71.3 %" for 0.7125, rounded in the same way."""
    return f"{_rounded(100 * share, places)} %"


def signed(points: float, places: int = 1) -> str:
    """Return the same with its sign and with this many decimal places: "+0.4", "-1.3", "+0.0"."""
    return f"{_rounded(points, places):+}"


def printed_difference(points: float, other: float, places: int = 1) -> float:
    """Return the difference of two numbers as they are printed, so that a reader who subtracts gets the same."""
    return float(_rounded(points, places) - _rounded(other, places))


def _rounded(points: float, places: int) -> Decimal:
    if not math.isfinite(points):
        return Decimal(points)
    exact = Decimal(repr(round(float(points), 9)))
    return exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP) + Decimal("0.0")  # turns -0.0 into 0.0


def duration(seconds: float) -> str:
    """Return "40 seconds", "12 minutes" or "3.5 hours"."""
    if seconds < 90:
        return counted(max(1, round(seconds)), "seconds")
    minutes = seconds / 60
    return f"{minutes:.0f} minutes" if minutes < 90 else f"{minutes / 60:,.1f} hours"


def size(n_bytes: float) -> str:
    """Return "3.4 MB" or "1.1 GB"."""
    return f"{n_bytes / 1e9:,.1f} GB" if n_bytes >= 1e8 else f"{n_bytes / 1e6:,.1f} MB"


def numbered(things: str, numbers: Collection[int]) -> str:
    """Return "seed 1" or "seeds 1, 2"; `things` is the plural."""
    return f"{things if len(numbers) > 1 else singular(things)} {', '.join(map(str, numbers))}"


def seeds_in_words(seeds: Collection[int]) -> str:
    """Return "seed 1" or "mean of seeds 1, 2", for a number that was averaged over these seeds."""
    return f"{'mean of ' * (len(seeds) > 1)}{numbered('seeds', seeds)}"


def span(numbers: Collection[int]) -> str:
    """Return "5,010" if all numbers are the same, and otherwise the least and the greatest: "1,000 to 5,010"."""
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def on_mean_of(languages: Sequence[str]) -> str:
    """Return "on the mean of 15 languages" or "in de"."""
    return f"on the mean of {len(languages)} languages" if len(languages) > 1 else f"in {languages[0]}"


def singular(things: str) -> str:
    """Return "pair" for "pairs", "query" for "queries", "published row of XNLI" for "published rows of XNLI"."""
    noun, of, rest = things.partition(" of ")
    ends = (("ies", "y"), ("sses", "ss"), ("s", ""))
    end, instead = next(((end, instead) for end, instead in ends if noun.endswith(end)), ("", ""))
    return f"{noun.removesuffix(end)}{instead}{of}{rest}"


# Beginnings of Unicode's names of letters in scripts that put no space between words: those of UAX #14's classes for
# complex context and for ideographs (https://www.unicode.org/reports/tr14/), and Tibetan, which marks syllables.
_UNSPACED = (
    "CJK ", "HIRAGANA ", "KATAKANA ", "BOPOMOFO ", "YI ", "THAI ", "LAO ", "KHMER ", "MYANMAR ", "TIBETAN ", "TAI LE ",
    "NEW TAI LUE ", "TAI THAM ", "TAI VIET ", "AHOM ", "BALINESE ", "JAVANESE ",
)  # fmt: skip


def is_unspaced(texts: Iterable[str]) -> bool:
    """Return whether most letters of `texts` are of scripts that put no space between words, in whatever language."""
    counts = Counter("".join(texts))
    letters = {character: n for character, n in counts.items() if character.isalpha()}
    unspaced = sum(n for letter, n in letters.items() if unicodedata.name(letter, "").startswith(_UNSPACED))
    return 2 * unspaced > sum(letters.values())
