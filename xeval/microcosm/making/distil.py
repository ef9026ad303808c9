"""Teacher → student, as DistilBERT was made (Sanh et al. 2019, https://arxiv.org/abs/1910.01108).

The student has every other layer of its teacher to begin with. Its loss weighs three parts as the authors' code does:
cross-entropy to the teacher's softened predictions, masked language modelling, and the cosine of hidden states.
"""

from collections.abc import Callable

import torch
from transformers import BertForPreTraining, DistilBertConfig, DistilBertForMaskedLM

from xeval.microcosm.making.pretrain import tensors
from xeval.microcosm.making.text import NOT_ASKED, Batch

TEMPERATURE = 2.0
WEIGHTS = {"distillation": 5.0, "masked language modelling": 2.0, "cosine": 1.0}

# Where DistilBERT keeps what BERT calls otherwise, within one layer.
_LAYER_NAMES = {
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def student_of(teacher: BertForPreTraining) -> DistilBertForMaskedLM:
    """A DistilBERT of half the layers that starts from the teacher's embeddings, head and every other layer."""
    config = teacher.config
    student = DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=config.vocab_size,
            dim=config.hidden_size,
            hidden_dim=config.intermediate_size,
            n_layers=config.num_hidden_layers // 2,
            n_heads=config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings,
            dropout=0.0,
            attention_dropout=0.0,
        )
    )
    theirs = teacher.state_dict()
    ours = {}
    for part in ("word_embeddings.weight", "position_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias"):
        ours[f"distilbert.embeddings.{part}"] = theirs[f"bert.embeddings.{part}"]
    for layer in range(config.num_hidden_layers // 2):
        for their_name, our_name in _LAYER_NAMES.items():
            for kind in ("weight", "bias"):
                ours[f"distilbert.transformer.layer.{layer}.{our_name}.{kind}"] = theirs[
                    f"bert.encoder.layer.{2 * layer}.{their_name}.{kind}"
                ]
    for kind in ("weight", "bias"):
        ours[f"vocab_transform.{kind}"] = theirs[f"cls.predictions.transform.dense.{kind}"]
        ours[f"vocab_layer_norm.{kind}"] = theirs[f"cls.predictions.transform.LayerNorm.{kind}"]
    ours["vocab_projector.weight"] = theirs["bert.embeddings.word_embeddings.weight"]
    ours["vocab_projector.bias"] = theirs["cls.predictions.bias"]
    student.load_state_dict(ours)
    return student


def distillation(teacher: BertForPreTraining, student: DistilBertForMaskedLM) -> Callable[[Batch], torch.Tensor]:
    """The student's loss on one batch. The student sees no token types, as DistilBERT does not."""
    teacher.eval()

    def loss_of(batch: Batch) -> torch.Tensor:
        inputs, targets = tensors(batch)
        chosen, real = targets != NOT_ASKED, inputs["attention_mask"].bool()  # (B, L)
        with torch.no_grad():
            teacher_hidden = teacher.bert(**inputs).last_hidden_state  # (B, L, H)
            teacher_logits = teacher.cls.predictions(teacher_hidden[chosen])  # (masked, V)
        hidden = student.distilbert(inputs["input_ids"], inputs["attention_mask"]).last_hidden_state
        transformed = student.vocab_layer_norm(student.activation(student.vocab_transform(hidden[chosen])))
        logits = student.vocab_projector(transformed)
        softened = torch.nn.functional.kl_div(
            torch.log_softmax(logits / TEMPERATURE, dim=-1),
            torch.softmax(teacher_logits / TEMPERATURE, dim=-1),
            reduction="batchmean",
        )
        cosine = 1 - torch.nn.functional.cosine_similarity(hidden[real], teacher_hidden[real], dim=-1).mean()
        return (
            WEIGHTS["distillation"] * softened * TEMPERATURE**2
            + WEIGHTS["masked language modelling"] * torch.nn.functional.cross_entropy(logits, targets[chosen])
            + WEIGHTS["cosine"] * cosine
        )

    return loss_of
