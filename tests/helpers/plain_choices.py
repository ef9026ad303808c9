"""Multiple choice as transformers' own example does it: one question at a time, its choices padded side by side."""

import torch
from transformers import AutoConfig, AutoModelForMultipleChoice, PreTrainedTokenizerBase

from tests.helpers.checkpoints import SIZES, without_dropout
from xeval.kinds.rows import Rows


def tiny_choice_model(architecture: str, vocabulary: int) -> torch.nn.Module:
    is_roberta = architecture == "xlm-roberta"
    config = AutoConfig.for_model(
        architecture,
        vocab_size=vocabulary,
        max_position_embeddings=130,
        pad_token_id=1 if is_roberta else 0,
        initializer_range=0.3,
        **SIZES[architecture] | without_dropout(architecture) | ({"type_vocab_size": 1} if is_roberta else {}),
    )
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
