"""Extractive question answering: a question, a text, and the part of the text that answers it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from xeval.kinds import windows
from xeval.kinds.answer_text import exact_and_f1, mlqa_rule, squad_normalised
from xeval.kinds.encoded import Encoded, PlainCall, plain_call
from xeval.kinds.exhibit import LANGUAGE, Cell, Exhibit, pooled, share_of, tallies
from xeval.kinds.given import KEY, Given
from xeval.kinds.kind import AssumedSpread, Column, Keys, Kind, Reads
from xeval.kinds.metric import Metric, share
from xeval.kinds.rows import ID, Rows, Table, groups_of
from xeval.kinds.tokenization import Tokenization
from xeval.support.errors import CopyError, DataError, UnansweredError
from xeval.support.findings import Finding, at_most, fine, warning
from xeval.support.json_text import parse_json
from xeval.support.text import is_unicode, one_line

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedTokenizerBase

TEXTS_PER_CALL = 1024
ENOUGH = 20  # answers needed to tell whether they are in this language
WRONG_SHOWN = 2  # answers for each language
SHOWN_LENGTH = 100  # characters of an answer
COMMON = 0.01  # share of test contexts also trained on that is too large to be an accident
START, END, FIRST = 0, 1, 2  # the columns of targets


class AnswerColumns(Keys):
    """Names of the columns in the data."""

    question: Column = "question"
    context: Column = "context"
    answers: Column = "answers"
    """Each a table of `text` and `answer_start`, as in SQuAD."""


class AnswerKeys(Keys):
    """The keys of a task of questions. The defaults are XTREME's."""

    columns: AnswerColumns = AnswerColumns()
    """Names of the columns in the data."""
    stride: Annotated[int, Field(gt=0, le=100_000)] = 128
    """Pieces from the start of one window over a long context to the start of the next."""
    question_pieces: Annotated[int, Field(gt=0, le=100_000)] = 64
    """Maximum number of pieces of a question; never more than half of what the encoder takes."""
    answer_pieces: Annotated[int, Field(gt=0, le=100_000)] = 30
    """Length of the longest answer, in pieces."""
    n_best: Annotated[int, Field(gt=0, le=10_000)] = 20
    """How many of the best-scoring pieces an answer may begin with, and how many it may end with."""


class Answers(Kind):
    """Questions on the same context depend on each other. Windows over a context are sequences of one row."""

    name: ClassVar[str] = "answers"
    unit: ClassVar[str] = "questions"
    in_words: ClassVar[str] = "extractive question answering"
    pipeline: ClassVar[str] = "question-answering"
    grouped_by: ClassVar[str] = "contexts"
    head: ClassVar[str] = "AutoModelForQuestionAnswering"
    reads: ClassVar[Reads] = "every token"
    counts: ClassVar[tuple[str, ...]] = (
        *("exact", "f1_sum", "mlqa_exact", "mlqa_f1_sum", "exact_in_words", "f1_in_words_sum"),
        "rows",
    )
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("f1", ("f1_sum", "rows"), share),
        Metric("exact_match", ("exact", "rows"), share, is_share_of_rows=True),
        Metric("mlqa_f1", ("mlqa_f1_sum", "rows"), share),
        Metric("mlqa_exact_match", ("mlqa_exact", "rows"), share, is_share_of_rows=True),
        Metric("f1_in_words", ("f1_in_words_sum", "rows"), share),
        Metric("exact_match_in_words", ("exact_in_words", "rows"), share, is_share_of_rows=True),
    )
    keys_model: ClassVar[type[Keys]] = AnswerKeys
    native: ClassVar[tuple[str, ...]] = (".json",)
    assumed_spread: ClassVar[AssumedSpread] = AssumedSpread(
        training_sd=0.4,
        other_sd=1.0,
        correlation=0.5,
        n_rows=1190,
        disagreement=0.2,
        df=4.0,
        source="F1 of XLM-R base and XLM-V base on XQuAD, five seeds each: standard deviations of 0.3 to 0.4 points in"
        " English and of 0.4 to 2.4 (root mean square 1.0) in ten other languages, of 0.2 and 0.9 in the mean over"
        " languages (stefan-it/xlm-v-experiments @13f86b4)."
        " A correlation of 0.5 gives the mean of both variances of the mean.",
    )

    # ── rows ──

    @property
    def text_columns(self) -> tuple[str, ...]:
        columns = self.keys.columns
        return (columns.question, columns.context)

    @property
    def gold_columns(self) -> tuple[str, ...]:
        return (self.keys.columns.answers,)

    @property
    def encoding(self) -> str:  # type: ignore[override]  # other keys give other windows
        """What the ids depend on besides the rows; it is part of a run's identity."""
        return f"answers-1 stride {self.keys.stride} question {self.keys.question_pieces}"

    @property
    def n_outputs(self) -> int:
        return 2

    def columns_in(self, files: Mapping[str, str]) -> dict[str, list[Any]]:
        """Return the questions in files in the format of SQuAD 1.1."""
        rows: dict[tuple[Any, ...], tuple[Any, str, str, Any]] = {}
        for path, text in files.items():
            for asked in _questions_in(path, text):
                key = tuple(str(part) for part in asked)
                if key in rows:
                    raise CopyError(f"{path}: question {one_line(repr(asked[0]))[:60]} occurs in it twice")
                rows[key] = asked
        names = (ID, *self.text_columns, *self.gold_columns)
        return {name: [row[place] for row in rows.values()] for place, name in enumerate(names)}

    def read(self, table: Table) -> Rows:
        questions, contexts = (table.texts(column) for column in self.text_columns)
        answers = [_listed(of_row) for of_row in table.columns.get(self.gold_columns[0], [None] * len(table))]
        if all(not any(text for _, text in of_row) for of_row in answers if isinstance(of_row, list)):
            raise UnansweredError(
                f"{table.where} carry no answers (XTREME strips them from test files), so they cannot be scored; use a"
                " copy that has them"
            )
        for number, (question, context, of_row) in enumerate(zip(questions, contexts, answers, strict=True), start=1):
            empty = [name for name, text in (("question", question), ("context", context)) if not text.strip()]
            if problem := f"has an empty {empty[0]}" if empty else _problem(of_row, context):
                raise CopyError(f"{table.where}: row {number} {problem}")
        texts = {"question": questions, "context": contexts}
        return Rows(table.language, table.split, texts, answers, groups_of(contexts))

    # ── encoder ──

    def encode(
        self,
        tokenizer: PreTrainedTokenizerBase,
        rows: Rows,
        max_length: int,
        on_rows: Callable[[int], None] = lambda n: None,
    ) -> Encoded:
        """Encode windows of question and context.

        A window without the answer has its first token as target, as in SQuAD v1. Raise DataError if `max_length`
        leaves no room for text.
        """
        frame = windows.Frame.of(tokenizer)
        if max_length <= len(frame):
            raise DataError(
                f"max_length {max_length} leaves no room for text: this tokenizer adds {len(frame)} special pieces;"
                f" wanted {len(frame) + 2} or more"
            )
        most_of_question = min(self.keys.question_pieces, (max_length - len(frame)) // 2)
        ids, type_ids, characters, targets = [], [], [], []
        row_of: list[int] = []
        count = _Count(tokenizer)
        for row, question, context in self._pieces(tokenizer, rows, on_rows):
            count.add(question.ids, context.ids, is_cut=len(question.ids) > most_of_question)
            asked = question.ids[:most_of_question]
            room = max_length - len(frame) - len(asked)
            before = frame.before.shape[1] + len(asked) + frame.between.shape[1]
            first, last = _target(context.characters, rows.gold[row][0])
            for start in windows.starts_of_windows(len(context.ids), room, self.keys.stride):
                shown = context.ids[start : start + room]
                of_window, types = frame.around(asked, shown)
                places = np.full((len(of_window), 2), windows.NOWHERE, dtype=np.int32)
                places[before : before + len(shown)] = context.characters[start : start + room]
                is_there = start <= first <= last < start + len(shown)
                target = np.zeros((len(of_window), 3), dtype=np.int8)
                target[0, FIRST] = 1
                target[before + first - start if is_there else 0, START] = 1
                target[before + last - start if is_there else 0, END] = 1
                ids.append(of_window)
                type_ids.append(types)
                characters.append(places)
                targets.append(target)
                row_of.append(row)
        offsets = np.concatenate([[0], np.cumsum([len(of_window) for of_window in ids])]).astype(np.int64)
        n_words = sum(len(text.split()) for column in rows.texts.values() for text in column)
        return Encoded(
            np.concatenate(ids),
            np.concatenate(type_ids),
            offsets,
            np.array(row_of, dtype=np.int64),
            np.concatenate(targets),
            count.tokenization(int(offsets[-1]), len(rows), n_words),
            np.concatenate(characters),
        )

    def _pieces(
        self, tokenizer: PreTrainedTokenizerBase, rows: Rows, on_rows: Callable[[int], None]
    ) -> Iterator[tuple[int, windows.Pieces, windows.Pieces]]:
        """Yield each row's number, question and context.

        In each chunk of rows, a context is tokenized once for all questions on it.
        """
        for start in range(0, len(rows), TEXTS_PER_CALL):
            chunk = slice(start, start + TEXTS_PER_CALL)
            questions = windows.cut_into_pieces(tokenizer, rows.texts["question"][chunk])
            distinct = dict.fromkeys(rows.texts["context"][chunk])
            contexts = dict(zip(distinct, windows.cut_into_pieces(tokenizer, list(distinct)), strict=True))
            for row, question in enumerate(questions, start):
                yield row, question, contexts[rows.texts["context"][row]]
            on_rows(len(questions))

    def plain_call(self, tokenizer: PreTrainedTokenizerBase, rows: Rows, max_length: int) -> PlainCall:
        """Return a plain call for the first window of each row whose question is not cut."""
        most = min(self.keys.question_pieces, (max_length - len(windows.Frame.of(tokenizer))) // 2)
        pieces = windows.cut_into_pieces(tokenizer, rows.texts["question"])
        whole = np.array([row for row, own in enumerate(pieces) if len(own.ids) <= most], dtype=np.int64)
        if not len(whole):
            return PlainCall([], whole)
        some, encoded = rows.take(whole), self.encode(tokenizer, rows, max_length)
        batches = plain_call(tokenizer, tuple(some.texts.values()), max_length, "only_second")
        return PlainCall(batches, np.searchsorted(encoded.row_of, whole))

    def loss(self, output: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the summed loss and the number of sequences.

        A sequence's loss is the mean of two cross-entropies over its positions, for the start and for the end. No
        number leaves the device, so a CUDA graph can record this.
        """
        import torch

        is_filling = targets[:, FIRST] < 0  # tokens that only fill a shape
        is_first = targets[:, FIRST] == 1
        sequence = (is_first.cumsum(0) - 1).clamp(min=0)[:, None].expand_as(output)  # (tokens, 2)
        logits = output.masked_fill(is_filling[:, None], torch.finfo(output.dtype).min)
        most = torch.full_like(logits, torch.finfo(output.dtype).min)
        most = most.scatter_reduce(0, sequence, logits.detach(), "amax")  # (tokens, 2), a line for each sequence
        exponentials = (logits - most.gather(0, sequence)).exp()
        sums = torch.zeros_like(logits).scatter_add(0, sequence, exponentials)
        is_target = targets[:, START : END + 1] == 1  # a list of columns would be copied to the device
        losses = most.gather(0, sequence) + sums.gather(0, sequence).log() - logits
        return torch.where(is_target, losses, 0.0).sum() / 2, is_first.sum()

    # ── answers ──

    def answers(self, outputs: np.ndarray, encoded: Encoded, rows: Rows) -> pa.Table:
        """Return `prediction`, `in_words` (the same up to the white space around it), `gold` (right answers) and `id`.

        Languages may ask the same question, which then has the same id.
        """
        assert encoded.characters is not None
        bounds = np.searchsorted(encoded.row_of, np.arange(len(rows) + 1))
        predictions, in_words = [], []
        for row, context in enumerate(rows.texts["context"]):
            start, end = self._span(outputs, encoded, range(bounds[row], bounds[row + 1]))
            predictions.append(context[start:end].strip())
            in_words.append(_whole_words(context, start, end))
        return _answered(predictions, in_words, rows)

    def _span(self, outputs: np.ndarray, encoded: Encoded, sequences: range) -> tuple[int, int]:
        """Return where the best answer in these windows of one row begins and ends in the context; (0, 0) for none."""
        assert encoded.characters is not None
        tokens = [slice(*encoded.offsets[sequence : sequence + 2]) for sequence in sequences]
        may_begin = _may_begin([encoded.characters[each, 0] != windows.NOWHERE for each in tokens], self.keys.stride)
        best: windows.Best | None = None
        for each, begins in zip(tokens, may_begin, strict=True):
            answer = windows.best_answer(
                outputs[each], encoded.characters[each], begins, self.keys.n_best, self.keys.answer_pieces
            )
            if answer is not None and (best is None or answer.logit > best.logit):
                best = answer
        return (best.start, best.end) if best is not None else (0, 0)

    def answers_in(self, path: str, text: str) -> list[Any]:
        """Return the questions of a file in SQuAD's format, which is the form of a key.

        Predictions come with their ids, in another format.
        """
        return list(_questions_in(path, text))

    def rows_of_key(self, table: Table, given: Given) -> Rows:
        names = (ID, *self.text_columns, *self.gold_columns)
        if not all(isinstance(question, tuple) for question in table.columns[KEY]):  # as `answers_in` returns them
            raise DataError(
                f"{table.where}: wanted the right answers in SQuAD's format, with questions and contexts; answers by id"
                " are the form of predictions"
            )
        asked = dict(zip(names, map(list, zip(*table.columns[KEY], strict=True)), strict=True))
        return replace(self.read(replace(table, columns=asked)), ids=[str(id_) for id_ in asked[ID]])

    def answers_given(self, given: Given, rows: Rows) -> pa.Table:
        """Return what `answers` does.

        Where an answer was found is unknown, so its first occurrence in the context is used.
        """
        predictions = given.with_answers().in_order_of(rows).answers
        for place, text in enumerate(predictions, start=1):
            if isinstance(text, tuple):  # from a file in SQuAD's format, by `answers_in`
                raise DataError(f'{given.where}: the file holds questions; wanted answers by id, {{"id": "answer"}}')
            if not isinstance(text, str) or not is_unicode(text):
                raise DataError(f"{given.where}: prediction {place:,} is {one_line(repr(text))[:80]}; wanted a text")
        self._check_contexts(given, predictions, rows)
        pairs = zip(predictions, rows.texts["context"], strict=True)
        in_words = [
            _whole_words(context, at, at + len(text)) if (at := context.find(text)) >= 0 else text
            for text, context in pairs
        ]
        return _answered([text.strip() for text in predictions], in_words, rows)

    def _check_contexts(self, given: Given, predictions: Sequence[str], rows: Rows) -> None:
        """Raise DataError if most answers are not in their contexts: questions of two languages may share their ids.

        Answers need not be written as in their contexts, for instance in lower case, since scores ignore that.
        """
        contexts = {context: squad_normalised(context) for context in set(rows.texts["context"])}
        texts = [
            (squad_normalised(text), contexts[context])
            for text, context in zip(predictions, rows.texts["context"], strict=True)
            if text.strip()
        ]
        n_there = sum(text in context for text, context in texts)
        if len(texts) >= ENOUGH and n_there < len(texts) / 2:
            raise DataError(
                f"{given.where}: {n_there:,} of {len(texts):,} answers occur in their contexts; wanted answers that are"
                " parts of them. Are they in another language?"
            )

    def tally(self, answers: pa.Table, rows: Rows) -> np.ndarray:
        of_language = mlqa_rule(rows.language)
        both = zip(answers["prediction"].to_pylist(), answers["in_words"].to_pylist(), strict=True)
        lines = []
        for (prediction, in_words), of_row in zip(both, rows.gold, strict=True):
            right = [text for _, text in of_row]
            by_squad = exact_and_f1(prediction, right, squad_normalised)
            by_mlqa = exact_and_f1(prediction, right, of_language)
            lines.append((*by_squad, *by_mlqa, *exact_and_f1(in_words, right, squad_normalised), 1.0))
        return np.array(lines, dtype=np.float64).reshape(-1, len(self.counts))

    @classmethod
    def right(cls, metric: str, tallies: np.ndarray) -> np.ndarray | None:
        """Return which answers are exact, by the rules of the metric."""
        return super().right(metric.replace("f1", "exact_match"), tallies)

    @classmethod
    def in_a_word(cls, answers: pa.Table, labels: Sequence[str]) -> tuple[list[str], list[str]]:
        gold = [" / ".join(dict.fromkeys(right)) for right in answers["gold"].to_pylist()]
        return gold, answers["prediction"].to_pylist()

    @classmethod
    def exhibits(cls, answers: Mapping[str, Sequence[pa.Table]], labels: Sequence[str]) -> list[Exhibit]:
        shares: list[tuple[Cell, ...]] = []
        examples: list[tuple[Cell, ...]] = []
        for language, tally in tallies(answers).items():
            table = pooled(answers[language], "row", "prediction", "gold")
            exact, f1 = (tally[:, cls.counts.index(name)] for name in ("exact", "f1_sum"))
            rows = list(zip(*(table[name].to_pylist() for name in table.column_names), exact, f1, strict=True))
            fates = [_fate(prediction, gold, is_exact, own) for _, prediction, gold, is_exact, own in rows]
            shares.append((language, len(rows), *(share_of(fates.count(fate), len(rows)) for fate in FATES)))
            examples += [
                (language, row, _cut(" / ".join(dict.fromkeys(gold))), _cut(prediction), float(own))
                for row, prediction, gold, is_exact, own in rows
                if not is_exact
            ][:WRONG_SHOWN]
        return [
            Exhibit("How the answers compare with the right ones", (LANGUAGE, "answers", *FATES), shares),
            Exhibit("The first wrong answers", (LANGUAGE, "row", "right", "given", "F1"), examples, ("right", "given")),
        ]

    # ── checks before a run ──

    def row_checks(self, training: Mapping[str, Rows], tests: Mapping[str, Rows]) -> list[Finding]:
        shares = {language: _share_in_words(rows) for language, rows in tests.items()}
        findings = [fine("ends of answers", f"inside a word for {at_most(shares)} of a language's answers")]
        known = set(training["train"].texts["context"]) if "train" in training else set()
        contexts = {language: set(rows.texts["context"]) for language, rows in tests.items()}
        trained_on = {language: len(own & known) / len(own) for language, own in contexts.items()}
        if max(trained_on.values(), default=0.0) >= COMMON:
            findings.append(
                warning(
                    "contexts",
                    f"{at_most(trained_on)} of a language's contexts are trained on",
                    "Take the training and test splits from one release of the data.",
                )
            )
        return findings


def _answered(predictions: Sequence[str], in_words: Sequence[str], rows: Rows) -> pa.Table:
    import pyarrow as pa

    gold = [[text for _, text in of_row] for of_row in rows.gold]
    ids = {"id": pa.array(rows.ids, pa.string())} if rows.ids is not None else {}
    return pa.table(
        {
            "prediction": pa.array(predictions, pa.string()),
            "in_words": pa.array(in_words, pa.string()),
            "gold": pa.array(gold, pa.list_(pa.string())),
            **ids,
        }
    )


# ── what the answers are ──

FATES = ("exact", "more than the right one", "part of it", "overlapping", "elsewhere", "none")


def _fate(prediction: str, right: Sequence[str], is_exact: float, f1: float) -> str:
    """Return which of FATES an answer has; its characters tell whether it has more or less than a right answer."""
    normal, answers = squad_normalised(prediction), list(map(squad_normalised, right))
    if is_exact:
        return "exact"
    if not normal:
        return "none"
    if any(own and own in normal for own in answers):
        return "more than the right one"
    if any(normal in own for own in answers):
        return "part of it"
    return "overlapping" if f1 else "elsewhere"


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + "…"


def _share_in_words(rows: Rows) -> float:
    """Return the share of first right answers that begin or end inside a word, where white space separates words."""
    n = 0
    for context, ((start, text), *_) in zip(rows.texts["context"], rows.gold, strict=True):
        n += _whole_words(context, start, start + len(text)) != text.strip()
    return n / len(rows)


# ── files ──


def _questions_in(path: str, text: str) -> Iterator[tuple[Any, str, str, Any]]:
    """Yield the id, question, context and answers of each question in a file in SQuAD's format."""
    try:
        content = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise CopyError(f"{path}: not readable as JSON: {one_line(error)[:120]}") from error
    for article in _list_in(content, "data", path):
        for paragraph in _list_in(article, "paragraphs", path):
            for asked in _list_in(paragraph, "qas", path):
                if not isinstance(asked, dict):
                    raise DataError(f"{path}: a question is {one_line(repr(asked))[:60]}; wanted SQuAD's format")
                yield asked.get("id"), asked.get("question", ""), paragraph.get("context"), asked.get("answers")


def _list_in(holder: Any, key: str, path: str) -> list[Any]:
    held = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(held, list):
        raise DataError(f"{path}: wanted SQuAD's format, data > paragraphs > qas, found no list {key!r}")
    return held


def _listed(answers: Any) -> Any:
    """Return answers as (start, text) pairs, from a table of lists or a list of tables; anything else in words."""
    if answers is None:
        return []
    if isinstance(answers, dict):
        texts, starts = answers.get("text"), answers.get("answer_start")
        if not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            return one_line(repr(answers))[:60]
        return list(zip(starts, texts, strict=True))
    if isinstance(answers, list) and all(isinstance(each, dict) for each in answers):
        return [(each.get("answer_start"), each.get("text")) for each in answers]
    return one_line(repr(answers))[:60]


def _problem(answers: Any, context: str) -> str:
    """Return what is wrong with the answers to a question; "" if nothing is."""
    if not isinstance(answers, list):
        return f"has answers {answers}; wanted lists text and answer_start of equal length"
    if not answers:
        return "has no answer; wanted questions that their context answers"
    for start, text in answers:
        if not isinstance(text, str) or isinstance(start, bool) or not isinstance(start, int):
            got = f"{one_line(repr(text))[:40]} at {one_line(repr(start))[:20]}"
            return f"has an answer {got}; wanted a text and a whole number"
        shown = one_line(repr(text))[:60]
        if not text.strip():
            return "has an empty answer"
        if not 0 <= start < len(context):
            return f"has an answer {shown} at character {start:,}, but its context has {len(context):,}"
        passage = context[start : start + len(text)]
        if passage != text:
            elsewhere = f", and {shown} elsewhere" if text in context else ""
            mismatch = f"where its context says {one_line(repr(passage))[:60]}{elsewhere}"
            return f"has an answer {shown} at character {start:,}, {mismatch}"
    return ""


# ── pieces ──


class _Count:
    """Counts what a tokenizer did to questions and contexts; each row counts once, however many windows it has."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._unknown_id = tokenizer.unk_token_id
        self._n_pieces = self._n_unknown = self._n_cut = 0

    def add(self, question: np.ndarray, context: np.ndarray, is_cut: bool) -> None:
        for ids in (question, context):
            self._n_pieces += len(ids)
            self._n_unknown += int(np.count_nonzero(ids == self._unknown_id))
        self._n_cut += is_cut

    def tokenization(self, n_tokens: int, n_rows: int, n_words: int) -> Tokenization:
        return Tokenization(
            truncated_share=self._n_cut / n_rows,  # only questions are cut: windows cover the whole context
            unknown_piece_share=self._n_unknown / max(1, self._n_pieces),
            pieces_per_word=self._n_pieces / max(1, n_words),
            pieces_per_row=n_tokens / n_rows,
        )


def _target(characters: np.ndarray, answer: tuple[int, str]) -> tuple[int, int]:
    """Return the first and the last piece of an answer, without white space around it."""
    start, text = answer
    start += len(text) - len(text.lstrip())
    return windows.target_pieces(characters, start, start + len(text.strip()))


def _may_begin(is_context: list[np.ndarray], stride: int) -> list[np.ndarray]:
    """Return, for each window of one row, whether an answer may begin at each of its tokens, (L,) bool."""
    if len(is_context) == 1:
        return is_context
    lengths = np.array([int(of_window.sum()) for of_window in is_context])
    starts = np.arange(len(lengths)) * min(stride, int(lengths[0]))  # the first of several windows is full
    chosen = windows.shows_most(starts, lengths)  # (W, n)
    may = []
    for of_window, most, start, length in zip(is_context, chosen, starts, lengths, strict=True):
        begins = of_window.copy()
        begins[of_window] = most[start : start + length]
        may.append(begins)
    return may


def _whole_words(context: str, start: int, end: int) -> str:
    """Return the text from `start` to `end`, extended on both sides to the next white space; "" if there is no text."""
    text = context[start:end]
    if not text.strip():
        return ""
    start, end = start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())
    while start > 0 and not context[start - 1].isspace():
        start -= 1
    while end < len(context) and not context[end].isspace():
        end += 1
    return context[start:end]
