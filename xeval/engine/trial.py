"""A comparison on a few rows before a run: a plain call of transformers and the run's own computation must agree.

A plain call is `model(**tokenizer(premises, hypotheses))` with padding and with every input that the tokenizer returns.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedTokenizerBase

from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import can_pack, logits_in
from xeval.engine.fast_path.packing import pack
from xeval.engine.prediction import predict_logits
from xeval.engine.vectors import SentenceEncoder
from xeval.kinds.encoded import Encoded, PlainCall
from xeval.kinds.kind import Kind
from xeval.kinds.rows import Rows

ROWS = 8  # per language whose ids are compared
MOST_ROWS = 16  # over all languages whose outputs are compared
TOLERANCE = {"float32": 1e-4, "bfloat16": 5e-2}  # relative to the largest output
_SHOWN = 8  # ids
_CPU = torch.device("cpu")


class Trial:
    """A model and its tokenizer, compared with a plain call on rows before a run."""

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, kind: Kind, compute: Compute, max_length: int
    ) -> None:
        self._model, self._tokenizer, self._kind, self._compute = model, tokenizer, kind, compute
        self._max_length = max_length
        self._knows_segments = getattr(model.config, "type_vocab_size", 0) > 1
        self.has_numbers = True  # whether all outputs of the plain call were finite

    def difference(self, tests: Mapping[str, Rows]) -> str | None:
        """Return what differs between the plain call and a run, and in which language.

        Return None if nothing differs or if the kind of task has no plain call.
        """
        parts = [rows.sample(ROWS) for rows in tests.values()]
        rows, languages = Rows.joined(parts), np.repeat(list(tests), [len(part) for part in parts])
        encoded = encode(self._kind, self._tokenizer, rows, self._max_length)
        plain = self._kind.plain_call(self._tokenizer, rows, self._max_length)
        if plain is None or not len(plain.sequences):
            return None
        inputs = self._other_inputs(encoded.take(plain.sequences), plain)
        if inputs is not None:
            number, what = inputs
            return f"{what} (in {str(languages[encoded.row_of[plain.sequences[number]]])!r})"
        some = rows.take(_shortest(encoded, np.unique(encoded.row_of[plain.sequences]), languages))
        plain = self._kind.plain_call(self._tokenizer, some, self._max_length)
        assert plain is not None
        encoded = encode(self._kind, self._tokenizer, some, self._max_length)
        return self._other_outputs(encoded.take(plain.sequences), plain)

    def _other_inputs(self, own: Encoded, plain: PlainCall) -> tuple[int, str] | None:
        """Return the number of the first sequence whose inputs differ, and a description of the difference."""
        for number, row in enumerate(_rows_alone(plain)):
            place = slice(*own.offsets[number : number + 2])
            ids = row["input_ids"][0].numpy()
            if not np.array_equal(ids, own.input_ids[place]):
                return number, f"the ids of pieces, {_beside(ids, own.input_ids[place])}"
            # If the tokenizer returns no segments, the model takes all pieces as the first text's.
            segments = row.get("token_type_ids", torch.zeros_like(row["input_ids"]))[0].numpy()
            if self._knows_segments and not np.array_equal(segments, own.token_type_ids[place]):
                return number, f"segment ids, {_beside(segments, own.token_type_ids[place])}"
        return None

    def _other_outputs(self, own: Encoded, plain: PlainCall) -> str | None:
        """Return why the model gives different outputs for the same inputs, or None if it does not."""
        self._model.eval()
        expected = self._outputs(plain.batches)
        outputs = predict_logits(self._model, own, self._compute, reads=self._kind.reads)
        self.has_numbers = bool(np.isfinite(expected).all())
        if not self.has_numbers:
            return None  # the caller decides what to do about outputs that are not finite
        if not self._are_near(expected, outputs):
            return f"{self._reason(own, expected, outputs)}, {_how_far(expected, outputs)}"
        if not can_pack(self._model):  # packed outputs are those of rows without padding
            alone = self._outputs(_rows_alone(plain))
            if not self._are_near(alone, outputs):
                return (
                    f"the outputs of a row on its own, {_how_far(alone, outputs)}; they depend on the padding of its"
                    f" batch, in transformers {transformers.__version__}"
                )
        return None

    def _are_near(self, expected: np.ndarray, outputs: np.ndarray) -> bool:
        difference, size = np.abs(expected - outputs).max(initial=0.0), np.abs(expected).max(initial=0.0)
        return bool(difference <= TOLERANCE[self._compute.dtype_name] * size)

    def _reason(self, own: Encoded, expected: np.ndarray, outputs: np.ndarray) -> str:
        config, rows = self._model.config, np.arange(len(own))
        padded = collate(own, rows, config, _CPU)
        if not self._are_near(expected, self._outputs([padded])):
            if self._tokenizer.padding_side == "left":
                return "positions, since its tokenizer pads on the left (padding_side in tokenizer_config.json)"
            return "the outputs of batches that are padded differently"
        inputs, sequences = pack(own, rows, config, _CPU)
        positions = torch.zeros_like(padded["input_ids"])
        positions[padded["attention_mask"].bool()] = inputs["position_ids"][0, sequences.tokens_in_place()]
        if self._takes("position_ids") and self._are_near(
            self._outputs([padded | {"position_ids": positions}]), outputs
        ):
            return "positions"
        return "the outputs of batches without padding"

    @torch.no_grad()
    def _outputs(self, batches: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Return (S, C), or (tokens, C) if the head gives an output for every token."""
        outputs = []
        with self._compute.matmuls(), self._compute.autocast():
            for batch in batches:
                inputs = {name: each.to(self._compute.device) for name, each in batch.items() if self._takes(name)}
                logits = logits_in(self._model(**inputs)).float().cpu()
                outputs.append(logits if logits.ndim == 2 else logits[batch["attention_mask"].bool()])
        return torch.cat(outputs).numpy()

    def _takes(self, name: str) -> bool:
        """Return whether the model takes this input. transformers' Trainer, too, leaves out all other inputs."""
        if name == "token_type_ids" and not self._knows_segments:
            return False
        of_encoder = self._model.encoder if isinstance(self._model, SentenceEncoder) else self._model
        parameters = inspect.signature(of_encoder.forward).parameters
        return name in parameters or any(each.kind == each.VAR_KEYWORD for each in parameters.values())


def _rows_alone(plain: PlainCall) -> list[Mapping[str, Any]]:
    """Return a batch for each sequence of a plain call, without padding: (1, its length) each."""
    return [
        {name: each[row : row + 1, mask] for name, each in batch.items()}
        for batch in plain.batches
        for row, mask in enumerate(batch["attention_mask"].bool())
    ]


def _how_far(expected: np.ndarray, outputs: np.ndarray) -> str:
    return f"by {np.abs(expected - outputs).max():.2g} where the largest is {np.abs(expected).max():.2g}"


def _shortest(encoded: Encoded, rows: np.ndarray, languages: np.ndarray) -> np.ndarray:
    """Return those of the (R,) `rows` with the fewest pieces: one per language, and one more so that one is padded."""
    n_pieces = np.bincount(encoded.row_of, weights=encoded.lengths)
    ordered = rows[np.argsort(n_pieces[rows], kind="stable")]
    _, firsts = np.unique(languages[ordered], return_index=True)
    chosen = ordered[np.sort(firsts)][: MOST_ROWS - 1]
    others = ordered[~np.isin(ordered, chosen)]
    return np.sort(np.concatenate([chosen, others[-1:] if len(chosen) == 1 else others[:1]]))


def _beside(plain: np.ndarray, own: np.ndarray) -> str:
    """Show both sequences of ids from shortly before the place where they differ."""
    n = min(len(plain), len(own))
    differs = np.flatnonzero(plain[:n] != own[:n])
    start = max(0, int(differs[0] if len(differs) else n) - _SHOWN // 2)
    both = (" ".join(map(str, each[start : start + _SHOWN])) for each in (plain, own))
    return " there and ".join(f"… {some} …" for some in both) + " here"
