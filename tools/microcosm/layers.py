"""Which of its teacher's layers a student should start with: the loss of the teacher cut down to each choice."""

from collections.abc import Sequence
from itertools import combinations

import torch
from transformers import BertForPreTraining

from tools.microcosm.pretrain import pretraining_loss
from tools.microcosm.text import Batch


@torch.no_grad()
def losses_of_choices(
    teacher: BertForPreTraining, batches: Sequence[Batch], n_layers: int
) -> dict[tuple[int, ...], float]:
    """Return the mean pretraining loss over `batches` with each choice of `n_layers` layers in order, lowest first."""
    whole, losses = teacher.bert.encoder.layer, {}
    loss_of = pretraining_loss(teacher)
    for choice in combinations(range(len(whole)), n_layers):
        teacher.bert.encoder.layer = torch.nn.ModuleList(whole[number] for number in choice)
        losses[choice] = sum(loss_of(batch).item() for batch in batches) / len(batches)
    teacher.bert.encoder.layer = whole
    return dict(sorted(losses.items(), key=lambda item: item[1]))
