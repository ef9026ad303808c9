"""How many rows of a prediction file have which gold label and which prediction: all that the diagnosis asks of most.

To count them, a file has to be decoded, which takes ten times as long as to see by its checksum that it is whole. So
where a report diagnoses many files, the counts are remembered in the cache, by that checksum.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from xeval.checks.after.prediction_signatures import Predicted
from xeval.results.store import StoredRun
from xeval.support.cache import cache_home
from xeval.support.errors import StoreError
from xeval.support.files import read_ordinary, write_atomically

MANY_FILES = 500  # from which on they are remembered
_MOST = 200_000  # files
_MAX_BYTES = 100_000_000

Counts = dict[str, list[int]]  # checksum → number of rows, then (C, C) counts: predicted label by gold label


@contextmanager
def remembered(runs: Sequence[StoredRun]) -> Iterator[Counts | None]:
    """The counts of these runs that are known, to be added to; None where so few are not worth it."""
    files = [score.predictions_sha256 for run in runs for score in run.record.scores.values()]
    if len(files) < MANY_FILES:
        yield None
        return
    path = cache_home() / "counts" / "counts.json"
    counts = {}
    with suppress(OSError, ValueError):
        digest, _, content = read_ordinary(path, _MAX_BYTES).partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() == digest:
            counts = json.loads(content)
    n_known = len(counts)
    yield counts
    if len(counts) > n_known:
        if len(counts) > _MOST:
            counts = {sha256: counts[sha256] for sha256 in counts.keys() & set(files)}
        content = json.dumps(counts, separators=(",", ":")).encode()
        with suppress(StoreError):  # it only saves time
            write_atomically(path, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def count(own: Predicted) -> list[int] | None:
    """None where they do not say everything: rows are missing or out of order."""
    if not np.array_equal(own.rows, np.arange(len(own.rows))):
        return None
    return [len(own.rows), *(own.confusion().ravel().tolist() if own.n_labels else ())]


def predicted(counts: Sequence[int]) -> Predicted:
    """Predictions with these counts; in another order than they were made in."""
    n_rows, *pairs = counts
    rows = np.arange(n_rows, dtype=np.int32)
    if not pairs:
        return Predicted(rows)
    n_labels = round(len(pairs) ** 0.5)
    both = np.repeat(np.arange(len(pairs), dtype=np.int32), pairs)
    return Predicted(rows, both % n_labels, both // n_labels, n_labels)
