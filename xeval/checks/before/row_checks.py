"""Checks of rows before a run: as many as the task file says, labelled, balanced, parallel, and no test pair among
those trained on.
"""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from xeval.definitions.task import Task
from xeval.kinds.pairs import LabelledPairs
from xeval.results.findings import Finding, at_most, by_language, error, fine, warning

TOO_FREQUENT = 1.5  # times the share that a label has where all are balanced
COMMON = 0.01  # share of rows from which repetition and overlap are no accident
WORTHLESS = 0.5  # share of test rows that are known from training from which a score says nothing


def check_sizes(train_rows: Mapping[str, int], tests: Mapping[str, LabelledPairs]) -> Finding:
    """`train_rows`: found, expected and used; empty where nothing is trained. Other splits are counted when read."""
    n_tests = sorted({len(pairs) for pairs in tests.values()})
    spans = " to ".join(f"{n:,}" for n in dict.fromkeys((n_tests[0], n_tests[-1])))
    tested = f"{spans} to test on in each of {len(tests)} languages"
    if not train_rows:
        return fine("rows", tested)
    used, found, expected = (train_rows[key] for key in ("used", "found", "expected"))
    if found == expected:
        return fine("rows", f"{used:,} of {found:,} pairs to train on, {tested}")
    return warning(
        "rows",
        f"the data hold {found:,} training pairs where the task file states {expected:,}; {tested}",
        "Fetch the whole training split before comparing with published numbers.",
    )


def check_labels(task: Task, splits: Mapping[str, LabelledPairs]) -> Finding:
    """Whether each of `splits` (name in messages → rows) has every label, none of them far too often."""
    n_labels = len(task.labels)
    strays, lacks_training_label = [], False
    for name, pairs in splits.items():
        shares = np.bincount(pairs.labels, minlength=n_labels) / len(pairs)  # (C,)
        noise = 3 * np.sqrt((1 - 1 / n_labels) / n_labels / len(pairs))
        if shares.min() == 0 and pairs.split == task.splits.train:
            lacks_training_label = True
        if shares.max() > TOO_FREQUENT / n_labels + noise or (shares.min() == 0 and len(pairs) > 10 * n_labels):
            said = ", ".join(f"{label} {share:.0%}" for label, share in zip(task.labels, shares, strict=True))
            strays.append(f"{name}: {said}".replace("%", " %"))
    if not strays and not lacks_training_label:
        return fine("labels", f"{', '.join(task.labels)}, balanced in each of {len(splits)} splits")
    evidence = "; ".join(strays) or "a label is absent from the rows to train on"
    mend = "Check that the copy of the data is whole and carries its own labels."
    return (error if lacks_training_label else warning)("labels", evidence, mend)


def check_overlap(
    train: LabelledPairs | None, selection: LabelledPairs | None, test: LabelledPairs | None
) -> Finding | None:
    """Whether pairs of the training language's test split are trained on, or the checkpoint is chosen on them.

    None where there is no test split of that language, or nothing is trained.
    """
    if test is None or train is None or selection is None:
        return None
    shares = {}
    for name, pairs in (("to train on", train), ("to choose the checkpoint on", selection)):
        known = set(_texts(pairs))
        shares[name] = sum(pair in known for pair in _texts(test)) / len(test)
    name, share = max(shares.items(), key=lambda item: item[1])
    if share < COMMON:
        return fine(
            "overlap", f"{100 * share:.1f} % of {len(test):,} {test.language} test pairs are known from training"
        )
    return (error if share >= WORTHLESS else warning)(
        "overlap",
        f"{100 * share:.1f} % of {len(test):,} {test.language} test pairs are among those {name}",
        "Take the training and test splits from one release of the data.",
    )


def check_repetition(tests: Mapping[str, LabelledPairs]) -> Finding:
    """Whether test splits hold the same pair several times."""
    shares = {language: 1 - len(set(_texts(pairs))) / len(pairs) for language, pairs in tests.items()}
    often = {language: share for language, share in shares.items() if share >= COMMON}
    if not often:
        return fine("repeated rows", f"{at_most(shares, '{:.2%}')} of a language's test pairs")
    return warning(
        "repeated rows",
        f"share of test pairs that stand there already: {by_language(often)}",
        "Fetch these test splits again: repeated pairs count several times in a score.",
    )


def check_alignment(tests: Mapping[str, LabelledPairs]) -> Finding | None:
    """Whether one language's gold labels are out of line where most of the others have the same ones, row by row.

    None where the languages are not parallel, or too few to tell.
    """
    keys = {language: pairs.labels.tobytes() for language, pairs in tests.items()}
    [(common, n_common)] = Counter(keys.values()).most_common(1) or [(b"", 0)]
    if n_common < 3 or 2 * n_common <= len(tests):
        return None
    usual = next(tests[language].labels for language, key in keys.items() if key == common)
    strays = {
        language: float(np.mean(pairs.labels != usual)) if len(pairs) == len(usual) else 1.0
        for language, pairs in tests.items()
        if keys[language] != common
    }
    if not strays:
        return fine("parallel labels", f"the same, row by row, in {n_common} languages")
    return warning(
        "parallel labels",
        f"{n_common} languages have the same labels row by row, but not: {by_language(strays)} of rows differ",
        "Fetch the test splits of these languages again: their labels or their order are not the others'.",
    )


def _texts(pairs: LabelledPairs) -> list[tuple[str, str]]:
    return list(zip(pairs.premises, pairs.hypotheses, strict=True))
