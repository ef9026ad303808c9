"""Teacher → student, as DistilBERT was made (Sanh et al. 2019, https://arxiv.org/abs/1910.01108).

The student has every other layer of its teacher to begin with. Its loss weighs three parts as the authors' code does:
cross-entropy to the teacher's softened predictions, masked language modelling, and the cosine of hidden states, here
after each of its layers and not the last alone, or three layers hardly find again how six compare two sentences. The
fourth, the teacher's softened answer on [CLS] to whether two sentences say the same, stands in for what the authors'
student learns of sentence pairs from texts of many sentences.
"""

from collections.abc import Callable

import torch
from transformers import BertForPreTraining, DistilBertConfig, DistilBertForMaskedLM

from xeval.microcosm.making.pretrain import tensors
from xeval.microcosm.making.text import NOT_ASKED, Batch

TEMPERATURE = 2.0
WEIGHTS = {"distillation": 5.0, "masked language modelling": 2.0, "cosine": 3.0, "comparison": 2.0}

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
    teacher.eval().requires_grad_(False)

    def loss_of(batch: Batch) -> torch.Tensor:
        inputs, targets = tensors(batch)
        chosen, real = targets != NOT_ASKED, inputs["attention_mask"].bool()  # (B, L)
        compared = torch.from_numpy(batch.same_meaning != NOT_ASKED)  # (B,)
        with torch.no_grad():
            teacher_hidden = _hidden(teacher.bert, inputs)[1::2]  # a layer of the student stands for two of these
            teacher_logits = teacher.cls.predictions(teacher_hidden[-1][chosen])  # (masked, V)
            teacher_comparison = _comparison(teacher, teacher_hidden[-1][compared])  # (compared, 2)
        hidden = _hidden(student.distilbert, {name: inputs[name] for name in ("input_ids", "attention_mask")})
        last = hidden[-1]  # (B, L, H)
        transformed = student.vocab_layer_norm(student.activation(student.vocab_transform(last[chosen])))
        logits = student.vocab_projector(transformed)
        cosine = sum(1 - _similarity(one[real], its[real]) for one, its in zip(hidden, teacher_hidden, strict=True))
        return (
            WEIGHTS["distillation"] * _divergence(logits, teacher_logits)
            + WEIGHTS["masked language modelling"] * torch.nn.functional.cross_entropy(logits, targets[chosen])
            + WEIGHTS["cosine"] * cosine
            + WEIGHTS["comparison"] * _divergence(_comparison(teacher, last[compared]), teacher_comparison)
        )

    return loss_of


def _hidden(encoder: torch.nn.Module, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    """The hidden states after every layer, each (B, L, H)."""
    states: tuple[torch.Tensor, ...] = encoder(**inputs, output_hidden_states=True).hidden_states
    return states[1:]  # the first are the embeddings


def _similarity(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """The mean cosine of hidden states, each (tokens, H)."""
    return torch.nn.functional.cosine_similarity(ours, theirs, dim=-1).mean()


def _comparison(teacher: BertForPreTraining, hidden: torch.Tensor) -> torch.Tensor:
    """Whether two sentences say the same, (N, 2), by the teacher's head on hidden states (N, L, H)."""
    assert teacher.bert.pooler is not None  # BertForPreTraining always has one
    comparison: torch.Tensor = teacher.cls.seq_relationship(teacher.bert.pooler(hidden))
    return comparison


def _divergence(logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of the softened predictions, each (N, classes), in the scale of the unsoftened."""
    softened = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    wanted = torch.log_softmax(teacher_logits / TEMPERATURE, dim=-1)
    total = torch.nn.functional.kl_div(softened, wanted, reduction="sum", log_target=True)
    return total / max(1, len(logits)) * TEMPERATURE**2
