"""Bitext mining: finding translations in two corpora by margins between sentence vectors, without training.

Margins: Artetxe and Schwenk 2019, https://arxiv.org/abs/1811.01136. The task is that of BUCC (Zweigenbaum, Sharoff and
Rapp 2018), as XTREME mines and scores it: https://github.com/google-research/xtreme.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from xeval.kinds.encoded import Encoded, PlainCall, encode_texts, plain_call, without_words
from xeval.kinds.exhibit import LANGUAGE, Cell, Exhibit, share_of, tallies
from xeval.kinds.given import KEY, Given
from xeval.kinds.kind import Column, Keys
from xeval.kinds.metric import Metric, f1, share
from xeval.kinds.rows import Rows, Table, evenly_spread
from xeval.kinds.vectors import OfVectors, first_of_each, lines_of, normalised, not_empty, similarities
from xeval.support.errors import CopyError, DataError, UnansweredError
from xeval.support.findings import Finding, fine, warning

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerBase

NEIGHBOURS = 4  # a margin is a ratio to the mean similarity with this many neighbours
TESTED = "test"  # the part whose pairs are scored, unless there is only one part
_AS_IN_XTREME = {"sample": "dev", "training": "test"}  # BUCC's own names of parts


class MiningColumns(Keys):
    """Names of the columns in the data."""

    id: Column = "id"
    text: Column = "text"
    side: Column = "side"
    part: Column = "part"
    pairs: Column = "pairs"


class MiningKeys(Keys):
    """The keys of a task of two corpora, some of whose sentences translate each other."""

    columns: MiningColumns = MiningColumns()
    """Names of the columns in the data."""
    english_suffix: Column = "en"
    """Extension of the files with the English sentences; the others are those of the other language, and `gold`."""


@dataclass(frozen=True)
class Mined:
    """The pairs mined in one part of the rows, best first."""

    part: str
    foreign: np.ndarray  # (M,) int64, row numbers
    english: np.ndarray  # (M,) int64, row numbers
    margins: np.ndarray  # (M,) float64


def _share_of_both(sums: np.ndarray) -> np.ndarray:
    return share(np.stack([sums[..., 0], sums[..., 0] + sums[..., 1]], axis=-1))


class BitextMining(OfVectors):
    """A row is a sentence of either language. A pair's counts belong to the row of its sentence that is not English.

    Files come in parts: pairs are mined in the part `test`, with the threshold whose F1 is best in the part `dev`. A
    single part serves as both, so its F1 is the best that any threshold gives.
    """

    name: ClassVar[str] = "bitext-mining"
    in_words: ClassVar[str] = "mining of translations"
    encoding: ClassVar[str] = "sentences-1"
    counts: ClassVar[tuple[str, ...]] = ("tp", "fp", "fn")
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", ("tp", "fp", "fn"), f1),
        Metric("precision", ("tp", "fp"), _share_of_both),
        Metric("recall", ("tp", "fn"), _share_of_both),
    )
    keys_model: ClassVar[type[Keys]] = MiningKeys

    @property
    def text_columns(self) -> tuple[str, ...]:
        columns = self.keys.columns
        return (columns.id, columns.text, columns.side, columns.part)

    @property
    def gold_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.pairs,)

    def columns_in(self, files: Mapping[str, str]) -> dict[str, list[Any]]:
        """Return the columns of sentences in `<name>.<part>.<language>` and of pairs in `<name>.<part>.gold`.

        Parts are dev and test, or by BUCC's own names sample and training.

        A line has an id, a tab and a sentence, or the ids of a pair with a tab between them, the English one last.
        """
        rows: list[tuple[float, list[str]]] = []  # with each row's relative place in its file
        for part, paths in _parts(files).items():
            if "gold" not in paths or self.keys.english_suffix not in paths or len(paths) != 3:
                raise DataError(
                    f"{next(iter(paths.values()))}: wanted {part}.{self.keys.english_suffix}, {part}.gold and one"
                    f" file of another language, got {', '.join(f'{part}.{name}' for name in paths)}"
                    + "; XTREME deletes test.gold: add BUCC's training gold, or leave out test"
                    * ("gold" not in paths)
                )
            partners: dict[str, list[str]] = {}
            for foreign, english in _two_fields(paths.pop("gold"), files, "the ids of a pair"):
                partners.setdefault(foreign, []).append(english)
            for language, path in paths.items():
                side = "english" if language == self.keys.english_suffix else "foreign"
                lines = _two_fields(path, files, "an id and a sentence")
                of_side = partners if side == "foreign" else {}
                rows += [
                    (place / len(lines), [id_, text, side, part, " ".join(of_side.pop(id_, ()))])
                    for place, (id_, text) in enumerate(lines)
                ]
            if partners:
                raise DataError(
                    f"{next(iter(paths.values()))}: {next(iter(partners))!r} is paired, but is not a sentence of {part}"
                )
        # So that the first rows have both languages in the proportion that all rows have.
        columns = zip(*(row for _, row in sorted(rows, key=lambda row: row[0])), strict=True)
        return dict(zip((*self.text_columns, *self.gold_columns), map(list, columns), strict=True))

    def read(self, table: Table) -> Rows:
        names = self.keys.columns
        texts = not_empty(table, table.texts(names.text))
        ids, sides, parts = (table.texts(column) for column in (names.id, names.side, names.part))
        pairs = table.columns.get(names.pairs)
        if pairs is None or not any(pairs):
            raise UnansweredError(f"{table.where} carry no pairs, so they cannot be scored; use a copy that has them")
        known = sorted(set(parts))
        if len(known) > 1 and TESTED not in known:
            raise DataError(f"{table.where}: parts {' and '.join(known)}; wanted dev and test, or one part")
        for (part, id_), n in Counter(zip(parts, ids, strict=True)).items():
            if n > 1:
                raise CopyError(f"{table.where}: id {id_!r} occurs {n} times in {part}")
        gold = [
            (part, side, id_, (partners or "").split())
            for part, side, id_, partners in zip(parts, sides, ids, pairs, strict=True)
        ]
        english = {(part, id_) for part, side, id_, _ in gold if side == "english"}
        for part, _, id_, partners in gold:
            for partner in partners:
                if (part, partner) not in english:
                    raise DataError(
                        f"{table.where}: {id_!r} is paired with {partner!r}, which is not an English sentence"
                    )
        return Rows(table.language, table.split, {"text": texts}, gold, np.arange(len(table)))

    def draw(self, rows: Rows, n: int | None, seed: int) -> Rows:
        """Draw rows as other kinds do, but together with their translations; pairs that are cut apart no longer
        count."""
        if n is None or n >= len(rows):
            return rows
        english = {(part, id_): row for row, (part, side, id_, _) in enumerate(rows.gold) if side == "english"}
        own = [[english[part, partner] for partner in partners] for part, _, _, partners in rows.gold]
        units = _together(own)
        numbers = np.repeat(np.arange(len(units)), [len(unit) for unit in units])
        drawn = rows.take(np.unique(np.concatenate(units)[evenly_spread(numbers, n, seed)]))
        there = {(part, id_) for part, _, id_, _ in drawn.gold}
        gold = [
            (part, side, id_, [partner for partner in partners if (part, partner) in there])
            for part, side, id_, partners in drawn.gold
        ]
        if not any(partners for *_, partners in gold):
            raise DataError(f"{rows.language}: no two of {n:,} sentences drawn translate each other; evaluate on more")
        return replace(drawn, gold=gold)

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        max_length: int,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> Encoded:
        """Encode each sentence as one sequence."""
        texts = rows.texts["text"]
        encoded = encode_texts(tokenizer, [texts], np.zeros(len(rows), np.int64), max_length, on_rows)
        foreign = [text for text, gold in zip(texts, rows.gold, strict=True) if gold[1] == "foreign"]
        return without_words(encoded, foreign)

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall:
        return PlainCall(plain_call(tokenizer, [rows.texts["text"]], max_length), np.arange(len(rows)))

    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return `id`, `prediction`, `margin` and `threshold` of each sentence.

        `prediction` is the id of the English sentence that it is paired with, empty if there is none and for English
        sentences. `margin` is that of the best pair that it was in, 0 if there is none.
        """
        import pyarrow as pa

        vectors = normalised(outputs)
        mined = {part: mine(vectors, rows, part) for part in dict.fromkeys(gold[0] for gold in rows.gold)}
        tested = tested_part(mined)
        threshold = best_threshold(mined["dev"] if "dev" in mined else mined[tested], rows)
        predictions, margins = [""] * len(rows), np.zeros(len(rows))
        pairs = mined[tested]
        for foreign, english, margin in zip(pairs.foreign, pairs.english, pairs.margins, strict=True):
            margins[foreign] = margin
            if margin >= threshold:
                predictions[foreign] = rows.gold[english][2]
        return pa.table(
            {
                "id": [gold[2] for gold in rows.gold],
                "prediction": predictions,
                "margin": pa.array(margins, pa.float32()),
                "threshold": pa.array(np.full(len(rows), threshold), pa.float32()),
            }
        )

    def answers_in(self, path: str, text: str) -> list[Any]:
        """Return the pair of ids on each line, the English one last."""
        pairs = _two_fields(path, {path: text}, "the ids of a pair") if text.strip() else []
        for number, (_, english) in enumerate(pairs, start=1):
            if "\t" in english:
                raise DataError(
                    f"{path}: line {number} has {english.count(chr(9)) + 2} fields; wanted the ids of a pair"
                )
        return pairs

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return `id` and `prediction`. Pairs belong to the sentences that they name; all other sentences have none."""
        import pyarrow as pa

        partners: dict[str, str] = {}
        _check_pairs(given.where, given.with_answers().answers)
        for place, pair in enumerate(given.answers, start=1):
            if partners.setdefault(pair[0], pair[1]) != pair[1]:
                raise DataError(f"{given.where}: line {place:,} pairs {pair[0]!r} a second time; wanted it once")
        english = {each for gold in rows.gold for each in gold[3]}
        if partners and partners.keys() <= english and english.isdisjoint(partners.values()):
            raise DataError(f"{given.where}: English first on each line; wanted the other language's id first")
        tested = tested_part({gold[0] for gold in rows.gold})
        may_be_paired = [gold[:2] == (tested, "foreign") for gold in rows.gold]
        if strays := partners.keys() - {
            gold[2] for gold, is_one in zip(rows.gold, may_be_paired, strict=True) if is_one
        }:
            raise DataError(
                f"{given.where}: {len(strays):,} pairs name a sentence that the data do not have, for instance"
                f" {min(strays)!r}"
            )
        ids = [gold[2] for gold in rows.gold]
        predictions = [partners.get(id_, "") if is_one else "" for id_, is_one in zip(ids, may_be_paired, strict=True)]
        return pa.table({"id": ids, "prediction": predictions})

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        """Return the sentences that are paired in the key or in `given`; such a key says nothing about others."""
        _check_pairs(table.where, table.columns[KEY])
        _check_pairs(given.where, given.answers)
        partners: dict[str, list[str]] = {pair[0]: [] for pair in (*table.columns[KEY], *given.answers)}
        for foreign, english in table.columns[KEY]:
            partners[foreign].append(english)
        gold = [(TESTED, "foreign", foreign, english) for foreign, english in partners.items()]
        return Rows(table.language, table.split, {}, gold, np.arange(len(gold)))

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        tested = tested_part({gold[0] for gold in rows.gold})
        tally = np.zeros((len(rows), 3))
        for row, (prediction, (part, _, _, partners)) in enumerate(
            zip(answers["prediction"].to_pylist(), rows.gold, strict=True)
        ):
            if part == tested:
                is_right = prediction in partners
                tally[row] = is_right, bool(prediction) and not is_right, len(partners) - is_right
        return tally

    @classmethod
    def right(cls, metric: str, tallies: np.ndarray) -> np.ndarray:
        """Return which sentences have no wrong and no missed pair, (...) bool."""
        right: np.ndarray = tallies[..., [cls.counts.index("fp"), cls.counts.index("fn")]].sum(axis=-1) == 0
        return right

    @classmethod
    def in_a_word(cls, answers: pa.Table, labels: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return ids of English sentences, "–" for none."""
        predictions = [id_ or "–" for id_ in answers["prediction"].to_pylist()]
        correct = cls.right("f1", tallies({"": [answers]})[""])
        return [id_ if is_right else "" for id_, is_right in zip(predictions, correct, strict=True)], predictions

    @classmethod
    def exhibits(cls, answers: Mapping[str, Sequence[pa.Table]], labels: Sequence[str]) -> list[Exhibit]:
        lines: list[tuple[Cell, ...]] = []
        for language, tally in tallies(answers).items():
            right, wrong, missed = tally.T
            n_mined, n_gold = int((right + wrong).sum()), int((right + missed).sum())
            other_partner = int(((wrong > 0) & (missed > 0)).sum())
            no_partner = int(((wrong > 0) & (missed == 0)).sum())
            first = answers[language][0]
            threshold = f"{first['threshold'][0].as_py():.4f}" if "threshold" in first.column_names else "–"
            shares = [share_of(n, n_mined) for n in (right.sum(), other_partner, no_partner)]
            lines.append((language, threshold, n_mined, *shares, n_gold, share_of(right.sum(), n_gold)))
        header = ("threshold", "mined", "right", "another partner", "no partner", "pairs there are", "of them found")
        return [Exhibit("Mined pairs: shares of those that were mined", (LANGUAGE, *header), lines)]

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> Sequence[Finding]:
        parts = {language: {gold[0] for gold in rows.gold} for language, rows in tests.items()}
        alone = [language for language, own in parts.items() if len(own) == 1]
        if not alone:
            return [fine("threshold", "chosen on sentences other than those that are scored")]
        return [
            warning(
                "threshold",
                f"chosen on the sentences that are scored, since there is only one part of them in {' '.join(alone)}:"
                " F1 is the best that any threshold gives",
                "Say so next to the score, or add the files of the missing part, dev or test.",
            )
        ]


def _parts(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return part → language or "gold" → path, for files called `<name>.<part>.<language>`."""
    parts: dict[str, dict[str, str]] = {}
    for path in files:
        _, _, named = PurePath(path).name.partition(".")
        part, _, language = named.partition(".")
        parts.setdefault(part, {})[language] = path
    if parts.keys() <= _AS_IN_XTREME.keys():
        return {_AS_IN_XTREME[part]: paths for part, paths in parts.items()}
    return parts


def _check_pairs(where: str, answers: Sequence[Any]) -> None:
    """Raise DataError unless all `answers` are pairs of ids, as `answers_in` returns them."""
    if not all(isinstance(pair, tuple) for pair in answers):
        raise DataError(f"{where}: wanted the ids of a pair on each line, with a tab between them, and no header")


def _two_fields(path: str, files: Mapping[str, str], fields: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(lines_of(files[path]), start=1):
        first, tab, second = line.partition("\t")
        if not (first and tab and second.strip()):
            raise DataError(f"{path}: line {number} is {line[:80]!r}; wanted {fields}, with a tab between them")
        pairs.append((first, second))
    return pairs


def _together(partners_of: Sequence[Sequence[int]]) -> list[list[int]]:
    """Return the rows that are drawn together: a sentence and its translations. Each row is in one unit.

    Sentences that share a translation are in one unit too.
    """
    brought = {row for partners in partners_of for row in partners}
    units: list[list[int]] = []
    unit_of: dict[int, list[int]] = {}
    for row, partners in enumerate(partners_of):
        if row in brought:
            continue
        unit = next((unit_of[partner] for partner in partners if partner in unit_of), None)
        if unit is None:
            units.append(unit := [])
        for each in (row, *partners):
            if each not in unit_of:
                unit_of[each] = unit
                unit.append(each)
    return units


def tested_part(parts: Iterable[str]) -> str:
    """Return the part whose pairs are scored."""
    names = list(parts)
    return TESTED if TESTED in names or len(names) > 1 else names[0]


def mine(vectors: np.ndarray, rows: Rows, part: str) -> Mined:
    """Mine the pairs of `part` from (N, H) unit `vectors`.

    Take the best of each sentence's neighbours by margin, in both directions, then the best pairs of all, each sentence
    once. Equal sentences count as one while mining. Since it is unknown which of them was meant, they are in no pair
    afterwards.
    """
    sides = {
        side: np.array([row for row, gold in enumerate(rows.gold) if gold[:2] == (part, side)], dtype=np.int64)
        for side in ("foreign", "english")
    }
    distinct: dict[str, np.ndarray] = {}
    is_repeated: dict[str, np.ndarray] = {}
    for side, own in sides.items():
        texts = [rows.texts["text"][row] for row in own]
        distinct[side] = np.unique(first_of_each(texts, own))
        times = Counter(texts)
        is_repeated[side] = np.array([times[rows.texts["text"][row]] > 1 for row in distinct[side]], dtype=bool)
    foreign, english, margins = best_pairs(vectors[distinct["foreign"]], vectors[distinct["english"]])
    kept = ~(is_repeated["foreign"][foreign] | is_repeated["english"][english])
    return Mined(part, distinct["foreign"][foreign[kept]], distinct["english"][english[kept]], margins[kept])


def best_pairs(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the places of pairs in (X, H) and (Y, H) unit vectors, and margins, best first; no place is in two pairs.

    The margin of a pair is its cosine over the mean cosine that both have with their nearest neighbours.
    """
    if not len(x) or not len(y):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    near_x, cosines_x = neighbours(x, y)  # (X, k)
    near_y, cosines_y = neighbours(y, x)  # (Y, k)
    mean_x, mean_y = cosines_x.mean(axis=1), cosines_y.mean(axis=1)
    margins_x = cosines_x / ((mean_x[:, None] + mean_y[near_x]) / 2)
    margins_y = cosines_y / ((mean_y[:, None] + mean_x[near_y]) / 2)
    best_x, best_y = margins_x.argmax(axis=1), margins_y.argmax(axis=1)
    xs = np.concatenate([np.arange(len(x)), near_y[np.arange(len(y)), best_y]])
    ys = np.concatenate([near_x[np.arange(len(x)), best_x], np.arange(len(y))])
    margins = np.concatenate([margins_x.max(axis=1), margins_y.max(axis=1)])
    taken_x, taken_y = np.zeros(len(x), bool), np.zeros(len(y), bool)
    kept = []
    for pair in np.argsort(-margins, kind="stable").tolist():
        if not taken_x[xs[pair]] and not taken_y[ys[pair]]:
            taken_x[xs[pair]] = taken_y[ys[pair]] = True
            kept.append(pair)
    return xs[kept], ys[kept], margins[kept]


def best_threshold(mined: Mined, rows: Rows) -> float:
    """Return the threshold with the best F1.

    It is half-way between the margins next to the cut, or the last margin if nothing is cut off. It is infinite if no
    pair is right.
    """
    n_gold = sum(len(gold[3]) for gold in rows.gold if gold[0] == mined.part)
    pairs = zip(mined.foreign, mined.english, strict=True)
    right = np.array([rows.gold[english][2] in rows.gold[foreign][3] for foreign, english in pairs], dtype=bool)
    if not right.any():
        return float("inf")
    n_right, n_taken = np.cumsum(right), np.arange(1, len(right) + 1)
    is_cut = np.append(mined.margins[:-1] > mined.margins[1:], True)  # equal margins go together
    values = np.where(is_cut, 2 * n_right / (n_taken + n_gold), -1.0)
    best = int(values.argmax())
    if best + 1 == len(right):
        return float(mined.margins[best])
    return float((mined.margins[best] + mined.margins[best + 1]) / 2)


def neighbours(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the (X, k) places in `y`, (Y, H), nearest to each of `x`, (X, H), nearest first, and their cosines."""
    k = min(NEIGHBOURS, len(y))
    places, cosines = np.zeros((len(x), k), np.int64), np.zeros((len(x), k), np.float64)
    for start, block in similarities(x, y):
        nearest = np.argpartition(-block, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(block, nearest, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        places[start : start + len(block)] = np.take_along_axis(nearest, order, axis=1)
        cosines[start : start + len(block)] = np.take_along_axis(values, order, axis=1)
    return places, cosines
