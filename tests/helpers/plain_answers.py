"""Extractive question answering in a plain loop around transformers: padded, one row at a time, in float32.

After `compute_predictions_logits` of https://github.com/huggingface/transformers and its use in XTREME, written anew.
"""

from collections.abc import Iterator

import torch

from xeval.kinds.rows import Rows


@torch.no_grad()
def plain_answers(model, tokenizer, rows: Rows, max_length: int, stride: int) -> Iterator[str]:
    for question, context in zip(rows.texts["question"], rows.texts["context"], strict=True):
        yield plain_answer(model, tokenizer, question, context, max_length, stride)


def plain_answer(model, tokenizer, question: str, context: str, max_length: int, stride: int) -> str:
    n_special = len(tokenizer("a", "a")["input_ids"]) - 2 * len(tokenizer("a", add_special_tokens=False)["input_ids"])
    most = min(64, (max_length - n_special) // 2)  # XTREME's 64, but at most half of the room
    asked = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
    if len(asked["input_ids"]) > most:
        question = question[: asked["offset_mapping"][most - 1][1]]
    n_asked = min(most, len(asked["input_ids"]))
    windows = tokenizer(
        question,
        context,
        truncation="only_second",
        max_length=max_length,
        stride=max_length - stride - n_asked - n_special,  # the overlap of two windows
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        padding="max_length",
        return_tensors="pt",
    )
    taken = {name: windows[name] for name in tokenizer.model_input_names if name in windows}
    output = model(**taken)
    spans = []  # each window's first piece of the context, and its number of pieces
    for number in range(len(windows["input_ids"])):
        spans.append((number * stride, windows.sequence_ids(number).count(1)))
    found: list[tuple[float, str]] = []
    for number in range(len(spans)):
        n = int(windows["attention_mask"][number].sum())
        starts, ends = output.start_logits[number, :n].tolist(), output.end_logits[number, :n].tolist()
        of = windows.sequence_ids(number)
        first = of.index(1) if 1 in of else 0
        for start in best_20(starts):
            for end in best_20(ends):
                if of[start] != 1 or of[end] != 1 or not 0 <= end - start < 30:
                    continue
                if not is_max_context(spans, number, spans[number][0] + start - first):
                    continue
                places = windows["offset_mapping"][number]
                text = context[int(places[start][0]) : int(places[end][1])]
                found.append((starts[start] + ends[end], text.strip()))
    return max(found, key=lambda each: each[0])[1] if found else ""


def best_20(logits: list[float]) -> list[int]:
    return sorted(range(len(logits)), key=lambda place: -logits[place])[:20]


def is_max_context(spans: list[tuple[int, int]], number: int, piece: int) -> bool:
    """Whether window `number` has more context around `piece` than any other."""
    best, best_score = -1, float("-inf")
    for other, (start, length) in enumerate(spans):
        if start <= piece < start + length:
            score = min(piece - start, start + length - 1 - piece) + 0.01 * length
            if score > best_score:
                best, best_score = other, score
    return best == number
