"""Multiple choice as in transformers' own example: one question at a time, its choices padded to one length."""

import torch
from transformers import AutoModelForMultipleChoice, PreTrainedTokenizerBase

from tests.helpers.checkpoints import tiny_config, without_dropout
from xeval.kinds.rows import Rows


def tiny_choice_model(architecture: str, vocabulary: int) -> torch.nn.Module:
    config = tiny_config(architecture, vocabulary, max_position_embeddings=130, **without_dropout(architecture))
    torch.manual_seed(0)
    return AutoModelForMultipleChoice.from_config(config)


def plain_choices(model, tokenizer: PreTrainedTokenizerBase, rows: Rows) -> torch.Tensor:
    """(N, choices)."""
    logits = []
    for premise, question, choices in zip(*rows.texts.values(), strict=True):
        inputs = tokenizer(
            [f"{premise} {question}"] * len(choices), list(choices), truncation=True, max_length=128, padding=True,
            return_tensors="pt",
        )  # fmt: skip
        if model.config.model_type != "bert":
            inputs.pop("token_type_ids", None)
        logits.append(model(**{name: tensor[None] for name, tensor in inputs.items()}).logits[0])
    return torch.stack(logits)
