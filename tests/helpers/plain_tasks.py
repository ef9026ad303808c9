"""Every kind of task in plain transformers: plain calls of the tokenizer, padded batches, the losses of its own heads.

Rows are few and short, so that each text is one sequence.
"""

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import transformers

from tests.helpers.checkpoints import KIND, LABELS, WORDS, labelled_pairs, make_pairs
from tests.helpers.tiny_training import into
from xeval.data.model_files import Checkpoint
from xeval.definitions.recipe import Recipe
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.loading import count_layers, load_encoder, load_pretrained, load_tokenizer
from xeval.engine.prediction import predict
from xeval.engine.training import fine_tune
from xeval.engine.vectors import SentenceEncoder
from xeval.kinds.answers import AnswerKeys, Answers
from xeval.kinds.choices import ChoiceKeys, MultipleChoice
from xeval.kinds.encoded import IGNORED
from xeval.kinds.kind import Kind
from xeval.kinds.retrieval import RetrievalKeys, SentenceRetrieval
from xeval.kinds.rows import Rows, Table
from xeval.kinds.sentences import SentenceClassification, SentenceKeys
from xeval.kinds.tags import Tagging, TagKeys

MAX_LENGTH = 96
TAGS = ("O", "B-X", "I-X")
LANGUAGES = ("en", "de", "ar")
Sequence_ = dict[str, list[int]]  # a tokenizer's output for one sequence


@dataclass(frozen=True)
class PlainTask:
    """A kind of task, some rows, and each row's sequences and labels as transformers expects them, made by hand."""

    kind: Kind
    rows: Rows
    sequences: Callable[[Any, Rows], list[list[Sequence_]]]
    labels: Callable[[Any, Rows, int], dict[str, Any]]  # of one row


def _words(language: str, n: int, seed: int) -> list[str]:
    return np.random.default_rng((seed, n)).choice(WORDS[language], n).tolist()


def _table(**columns: list[Any]) -> Table:
    return Table("en", "test", "here", columns, {})


def _sentences() -> list[list[str]]:
    return [_words(language, n, n) for language in LANGUAGES for n in (2, 5)]


# ── rows ──

_PAIRS = labelled_pairs("en", [row for language in LANGUAGES for row in make_pairs(language, 2)])
_TEXTS = [" ".join(words) for words in _sentences()]
_LABELS = [LABELS[n % 3] for n in range(len(_TEXTS))]


def _questions() -> Rows:
    contexts, answers = [" ".join(words) for words in _sentences()], []
    for number, words in enumerate(_sentences()):
        first = number % len(words)
        answers.append({"text": [words[first]], "answer_start": [len("".join(f"{word} " for word in words[:first]))]})
    asked = [" ".join(_words("en", 1 + number % 3, 7)) for number in range(len(contexts))]
    return Answers(AnswerKeys()).read(_table(question=asked, context=contexts, answers=answers))


# ── sequences ──


def _called(tokenizer: Any, *texts: str) -> Sequence_:
    return dict(tokenizer(*texts, truncation=True, max_length=MAX_LENGTH))


def _of_columns(*names: str) -> Callable[[Any, Rows], list[list[Sequence_]]]:
    return lambda tokenizer, rows: [
        [_called(tokenizer, *texts)] for texts in zip(*(rows.texts[name] for name in names), strict=True)
    ]


def _of_choices(tokenizer: Any, rows: Rows) -> list[list[Sequence_]]:
    return [
        [_called(tokenizer, f"{premise} {question}", choice) for choice in choices]
        for premise, question, choices in zip(*rows.texts.values(), strict=True)
    ]


def _of_words(tokenizer: Any, rows: Rows) -> list[list[Sequence_]]:
    """Each word tokenized by itself, between the special pieces that the tokenizer puts around a text."""
    alone, framed = (tokenizer("a", add_special_tokens=special)["input_ids"] for special in (False, True))
    place = next(n for n in range(len(framed)) if framed[n : n + len(alone)] == alone)
    before, after = framed[:place], framed[place + len(alone) :]
    found = []
    for words in rows.texts["words"]:
        pieces = [piece for word in words for piece in tokenizer(word, add_special_tokens=False)["input_ids"]]
        ids = [*before, *pieces, *after]
        found.append([{"input_ids": ids, "attention_mask": [1] * len(ids)}])
    return found


# ── labels ──


def _label(tokenizer: Any, rows: Rows, row: int) -> dict[str, Any]:
    return {"labels": int(rows.gold[row])}


def _tag_labels(tokenizer: Any, rows: Rows, row: int) -> dict[str, Any]:
    """Tags stand at the first piece of each word."""
    framed = len(tokenizer("a")["input_ids"]) - len(tokenizer("a", add_special_tokens=False)["input_ids"])
    has_before = tokenizer("a")["input_ids"][0] in tokenizer.all_special_ids
    labels = [IGNORED] * has_before
    for word, tag in zip(rows.texts["words"][row], rows.gold[row], strict=True):
        n_more = len(tokenizer(word, add_special_tokens=False)["input_ids"]) - 1
        labels += [TAGS.index(tag), *[IGNORED] * n_more]
    return {"labels": [*labels, *[IGNORED] * (framed - has_before)]}


def _span_labels(tokenizer: Any, rows: Rows, row: int) -> dict[str, Any]:
    """The last piece that begins no later than the answer, and the first that ends no earlier, as in run_qa.py.

    https://github.com/huggingface/transformers/blob/main/examples/pytorch/question-answering/run_qa.py
    """
    question, context = rows.texts["question"][row], rows.texts["context"][row]
    ((start, text),) = rows.gold[row]
    called = tokenizer(question, context, return_offsets_mapping=True)
    of_context = [
        (piece, begin, end)
        for piece, (of, (begin, end)) in enumerate(zip(called.sequence_ids(), called["offset_mapping"], strict=True))
        if of == 1
    ]
    first = max(piece for piece, begin, _ in of_context if begin <= start)
    last = min(piece for piece, _, end in of_context if end >= start + len(text))
    return {"start_positions": first, "end_positions": last}


def _none(tokenizer: Any, rows: Rows, row: int) -> dict[str, Any]:
    return {}


_SENTENCES = SentenceClassification(SentenceKeys(labels=LABELS))
_TAGGING = Tagging(TagKeys(labels=TAGS))
_CHOICES = MultipleChoice(ChoiceKeys())
_RETRIEVAL = SentenceRetrieval(RetrievalKeys())

TASKS: dict[str, PlainTask] = {
    "pairs": PlainTask(KIND, _PAIRS, _of_columns("premise", "hypothesis"), _label),
    "sentences": PlainTask(
        _SENTENCES, _SENTENCES.read(_table(text=_TEXTS, label=_LABELS)), _of_columns("text"), _label
    ),
    "tags": PlainTask(
        _TAGGING,
        _TAGGING.read(
            _table(
                tokens=_sentences(),
                tags=[[TAGS[(n + len(words)) % 3] for n in range(len(words))] for words in _sentences()],
            )
        ),
        _of_words,
        _tag_labels,
    ),
    "answers": PlainTask(Answers(AnswerKeys()), _questions(), _of_columns("question", "context"), _span_labels),
    "choices": PlainTask(
        _CHOICES,
        _CHOICES.read(
            _table(
                premise=_TEXTS,
                question=["cause", "effect"] * 3,
                choice1=[" ".join(_words("en", 2 + n, 8)) for n in range(6)],
                choice2=[" ".join(_words("en", 7 - n, 9)) for n in range(6)],
                label=[0, 1, 1, 0, 1, 0],
            )
        ),
        _of_choices,
        _label,
    ),
    "retrieval": PlainTask(
        _RETRIEVAL,
        _RETRIEVAL.read(_table(english=[" ".join(_words("en", 3 + n, 3)) for n in range(6)], text=_TEXTS)),
        lambda tokenizer, rows: [
            [_called(tokenizer, text)] for column in ("text", "query") for text in rows.texts[column]
        ],
        _none,
    ),
}


# ── plain transformers ──


def _padded(
    task: PlainTask, tokenizer: Any, rows: Sequence[list[Sequence_]], device: torch.device
) -> dict[str, torch.Tensor]:
    flat = tokenizer.pad([sequence for row in rows for sequence in row], return_tensors="pt").to(device)
    if task.kind.head != "AutoModelForMultipleChoice":
        return dict(flat)
    return {name: tensor.view(len(rows), -1, tensor.shape[-1]) for name, tensor in flat.items()}


@torch.no_grad()
def plain_outputs(task: PlainTask, model: Any, tokenizer: Any) -> np.ndarray:
    """(S, C), or (tokens, C) for a head that reads every token; for retrieval, the means of the last hidden states."""
    padded = _padded(task, tokenizer, task.sequences(tokenizer, task.rows), model.device)
    mask = padded["attention_mask"].bool()
    if not task.kind.trains:
        hidden = model(**padded, output_hidden_states=True).hidden_states[-1]
        return np.stack([states[own].mean(dim=0).cpu().numpy() for states, own in zip(hidden, mask, strict=True)])
    output = model.eval()(**padded)
    if "start_logits" in output:
        return torch.stack([output.start_logits, output.end_logits], dim=-1)[mask].cpu().numpy()
    logits = output.logits
    of_rows = logits[mask] if task.kind.reads == "every token" else logits.reshape(mask[..., 0].numel(), -1)
    return of_rows.cpu().numpy()


def plain_losses(task: PlainTask, model: Any, tokenizer: Any, chosen: Recipe, n_steps: int) -> list[float]:
    """The usual loop: padded batches, torch's AdamW over all parameters, clipping, linear decay."""
    sequences, n_rows, losses = task.sequences(tokenizer, task.rows), len(task.rows), []
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=chosen.learning_rate, eps=chosen.adam_epsilon, weight_decay=0.0
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (n_steps - step) / n_steps)
    model.train()
    for step in range(n_steps):
        epoch, start = divmod(step, math.ceil(n_rows / chosen.batch_size))
        order = np.random.default_rng((0, epoch)).permutation(n_rows).tolist()
        rows = order[start * chosen.batch_size : (start + 1) * chosen.batch_size]
        # The loss for question answering also looks for answers in padding, so its rows are computed one by one.
        together = [[row] for row in rows] if task.kind.head == "AutoModelForQuestionAnswering" else [rows]
        loss = sum(_loss(task, model, tokenizer, [sequences[row] for row in some], some) for some in together)
        loss = loss / len(together)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), chosen.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def _loss(task: PlainTask, model: Any, tokenizer: Any, sequences: list[list[Sequence_]], rows: list[int]) -> Any:
    of_rows = [task.labels(tokenizer, task.rows, row) for row in rows]
    labels = {name: _tensor([of_row[name] for of_row in of_rows]).to(model.device) for name in of_rows[0]}
    return model(**_padded(task, tokenizer, sequences, model.device), **labels).loss


def hold_to_plain_transformers(
    own: Checkpoint, task: PlainTask, compute: Compute, chosen: Recipe, say: Callable[[str], None] = lambda line: None
) -> None:
    """Encoded rows, outputs before a short training and its losses are those of plain transformers."""
    kind, tokenizer = task.kind, load_tokenizer(own, MAX_LENGTH)
    model = load_pretrained(own, kind, seed=1) if kind.trains else load_encoder(own, kind)
    model = model.to(compute.device)
    encoded = encode(kind, tokenizer, task.rows, MAX_LENGTH)
    plain = [sequence["input_ids"] for of_row in task.sequences(tokenizer, task.rows) for sequence in of_row]
    assert [part.tolist() for part in np.split(encoded.input_ids, encoded.offsets[1:-1])] == plain
    if not kind.trains:
        expected = plain_outputs(task, deepcopy(model).eval(), tokenizer)
        outputs = predict(SentenceEncoder(model, count_layers(own), "mean"), kind, encoded, compute)
    else:
        by_itself = getattr(transformers, kind.head).from_config(deepcopy(model.config)).to(compute.device)
        by_itself.load_state_dict(model.state_dict())
        expected = plain_outputs(task, by_itself, tokenizer)
        outputs = predict(model, kind, encoded, compute)
    assert np.ptp(expected, axis=0).max() > 0.05, "the reference should tell the rows apart"
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    if kind.trains:
        losses: list[float] = []
        fine_tune(kind, model, encoded, chosen, chosen.learning_rate, 0, compute, None, into(losses), say=say)
        expected_losses = plain_losses(task, by_itself, tokenizer, chosen, len(losses))
        np.testing.assert_allclose(losses, expected_losses, rtol=0, atol=1e-4)
        assert np.abs(predict(model, kind, encoded, compute) - outputs).max() > 1e-3
    tally = kind.tally(kind.answers(outputs, encoded, task.rows), task.rows)
    assert len(tally) == len(task.rows)
    assert 0.0 <= kind.measure(kind.metrics[0].name).over(tally) <= 1.0


def _tensor(labels: list[Any]) -> torch.Tensor:
    if isinstance(labels[0], int):
        return torch.tensor(labels)
    rows = [torch.tensor(of_row) for of_row in labels]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=IGNORED)
