"""Pretraining from scratch, as for BERT: the text → an encoder whose languages share one space."""

import time
from collections.abc import Callable

import torch
from transformers import BertConfig, BertForPreTraining

from tools.microcosm.text import NOT_ASKED, Batch, MultilingualText

N_LAYERS, HIDDEN_SIZE, N_HEADS = 6, 128, 4
BATCH_SIZE, PEAK_LEARNING_RATE, WARMUP_SHARE = 128, 1.2e-3, 0.05


def new_teacher(vocabulary_size: int, seed: int) -> BertForPreTraining:
    """Return a BERT with random weights. Dropout is off: the text repeats itself too little to be learnt by heart."""
    torch.manual_seed(seed)
    return BertForPreTraining(
        BertConfig(
            vocab_size=vocabulary_size,
            hidden_size=HIDDEN_SIZE,
            num_hidden_layers=N_LAYERS,
            num_attention_heads=N_HEADS,
            intermediate_size=4 * HIDDEN_SIZE,
            max_position_embeddings=128,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )


def tensors(batch: Batch) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return the model's inputs, each (B, L), and the targets (B, L)."""
    names = ("input_ids", "token_type_ids", "attention_mask")
    return {name: torch.from_numpy(getattr(batch, name)) for name in names}, torch.from_numpy(batch.targets)


def train(
    model: torch.nn.Module,
    text: MultilingualText,
    n_steps: int,
    loss_of: Callable[[Batch], torch.Tensor],
    log: Callable[[str], None],
    peak_learning_rate: float = PEAK_LEARNING_RATE,
) -> None:
    """Take `n_steps` AdamW steps on `loss_of` batches of the text, warming up and decaying linearly."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak_learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    n_warmup = max(1, int(WARMUP_SHARE * n_steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / n_warmup, (n_steps - step) / (n_steps - n_warmup))
    )
    model.train()
    started, losses = time.monotonic(), []
    for step, batch in zip(range(1, n_steps + 1), text.batches(BATCH_SIZE), strict=False):
        loss = loss_of(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if step % 250 == 0 or step == n_steps:
            mean_loss, wall_s = sum(losses) / len(losses), time.monotonic() - started
            log(f"step {step:6,} of {n_steps:,}  loss {mean_loss:.4f}  {wall_s:,.0f} s")
            losses.clear()


def pretraining_loss(model: BertForPreTraining) -> Callable[[Batch], torch.Tensor]:
    """Return the loss, as a function of a batch: masked language modelling, and on [CLS] whether two sentences agree.

    The second replaces BERT's next sentence prediction, since these sentences have no next one. The vocabulary head is
    computed for masked positions only.
    """
    cross_entropy = torch.nn.functional.cross_entropy

    def loss_of(batch: Batch) -> torch.Tensor:
        inputs, targets = tensors(batch)
        encoded = model.bert(**inputs)
        chosen = targets != NOT_ASKED  # (B, L)
        pieces = model.cls.predictions(encoded.last_hidden_state[chosen])  # (masked, V)
        same_meaning = model.cls.seq_relationship(encoded.pooler_output)  # (B, 2)
        asked = torch.from_numpy(batch.same_meaning)
        n_asked = max(1, int((asked != NOT_ASKED).sum()))  # some batches have only single sentences
        comparison = cross_entropy(same_meaning, asked, ignore_index=NOT_ASKED, reduction="sum") / n_asked
        return cross_entropy(pieces, targets[chosen]) + comparison

    return loss_of
