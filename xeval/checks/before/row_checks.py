"""Checks of rows before a run: as many as the task file states, none repeated, and no test rows among training rows.

A kind of task adds its own (`Kind.row_checks`).
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from xeval.kinds.rows import Rows
from xeval.support.findings import Finding, at_most, by_language, error, fine, to_hundredths, warning
from xeval.support.text import percent, span

COMMON = 0.01  # from this share of rows on, repetition and overlap are no accident
WORTHLESS = 0.5  # if this share of test rows is known from training, a score says nothing


def check_sizes(unit: str, train_rows: Mapping[str, int], tests: Mapping[str, Rows]) -> Finding:
    """Compare the number of training rows with what the task file states.

    `unit` is the name for rows. `train_rows` has `found`, `expected` (0 if unknown) and `used`, and is empty if nothing
    is trained. The rows of other splits are counted when they are read.
    """
    in_each = f" in each of {len(tests)} languages" if len(tests) > 1 else ""
    tested = f"{span([len(rows) for rows in tests.values()])} to test on{in_each}"
    if not train_rows:
        return fine("rows", tested)
    used, found, expected = (train_rows[key] for key in ("used", "found", "expected"))
    if expected in (0, found):
        return fine("rows", f"{used:,} of {found:,} {unit} to train on, {tested}")
    return warning(
        "rows",
        f"the data hold {found:,} training {unit} where the task file states {expected:,}; {tested}",
        "Fetch the whole training split before comparing with published numbers.",
    )


def check_overlap(unit: str, train: Rows | None, selection: Rows | None, test: Rows | None) -> Finding | None:
    """Check whether rows of the training language's test split are also trained on, or used to choose the checkpoint.

    Returns None if there is no test split of that language, or nothing is trained. `selection` is None if the user has
    said to test on the selection rows.
    """
    if test is None or train is None:
        return None
    shares = {}
    for name, rows in (("to train on", train), ("to choose the checkpoint on", selection)):
        if rows is None:
            continue
        known = set(_texts(rows))
        shares[name] = sum(row in known for row in _texts(test)) / len(test)
    name, share = max(shares.items(), key=lambda item: item[1])
    if share < COMMON:
        return fine(
            "overlap",
            f"{percent(share)} of {len(test):,} {test.language} test {unit} also occur in training",
        )
    return (error if share >= WORTHLESS else warning)(
        "overlap",
        f"{percent(share)} of {len(test):,} {test.language} test {unit} are among those {name}",
        "Take the training and test splits from one release of the data.",
    )


def check_choice(language: str, selection: str, is_swept: bool = False) -> Finding | None:
    """Warn that the checkpoint, or the recipe's values in a sweep, are chosen on the very rows that are evaluated.

    Returns None if the last checkpoint is taken and nothing is swept.
    """
    if selection == "last" and not is_swept:
        return None
    chosen = ["the checkpoint"] * (selection != "last") + ["the recipe's values"] * is_swept
    verb = "are" if is_swept else "is"
    other = "" if is_swept else ", or add --selection last"
    return warning(
        "rows to choose on",
        f"evaluated on the selection split, whose {language} rows {' and '.join(chosen)} {verb} chosen on",
        f"Leave the number in {language} out{other}.",
    )


def check_copies(unit: str, tests: Mapping[str, Rows]) -> list[Finding]:
    """Check whether a test split has the same row several times, and, given several, whether two languages have the
    same texts."""
    texts = {language: set(_texts(rows)) for language, rows in tests.items()}
    repetition = _check_repetition(unit, tests, texts)
    return [repetition, _check_same_texts(unit, texts)] if len(tests) > 1 else [repetition]


def _check_repetition(unit: str, tests: Mapping[str, Rows], texts: Mapping[str, set[Any]]) -> Finding:
    """Check whether a test split has the same row several times; `texts` are the distinct rows by language."""
    shares = {language: 1 - len(texts[language]) / len(rows) for language, rows in tests.items()}
    often = {language: share for language, share in shares.items() if share >= COMMON}
    if not often:
        return fine("repeated rows", f"{at_most(shares, to_hundredths)} of a language's test {unit}")
    return warning(
        "repeated rows",
        f"share of test {unit} that repeat earlier ones: {by_language(often)}",
        f"Fetch these test splits again: repeated {unit} count several times in a score.",
    )


def _check_same_texts(unit: str, texts: Mapping[str, set[Any]]) -> Finding:
    """Check whether two languages have the same texts, as if one file was copied over the other."""
    languages_of: dict[Any, list[str]] = {}
    n_shared = Counter[tuple[str, str]]()
    for language, own in texts.items():
        for row in own:
            others = languages_of.setdefault(row, [])
            n_shared.update((other, language) for other in others)
            others.append(language)
    shares = {pair: n / min(len(texts[language]) for language in pair) for pair, n in n_shared.items()}
    alike = {" and ".join(pair): share for pair, share in shares.items() if share >= WORTHLESS}
    if not alike:
        return fine("texts of languages", f"those of {len(texts)} languages differ")
    return warning(
        "texts of languages",
        f"the same test {unit} under two names: {by_language(alike)}",
        "Look at the files of both: one may be a copy of the other, and its score that of the other language.",
    )


def _texts(rows: Rows) -> list[tuple[Any, ...]]:
    """Return the texts of each row, as hashable values."""
    columns = [
        column if isinstance(next(iter(column), ""), str) else map(_hashable, column) for column in rows.texts.values()
    ]
    return list(zip(*columns, strict=True))


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list | tuple) else value
