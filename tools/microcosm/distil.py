"""Teacher → student, as DistilBERT was made (Sanh et al. 2019, https://arxiv.org/abs/1910.01108).

The student starts with half of its teacher's layers: not every other one, but the three with which the cut-down teacher
has the smallest loss; `python -m tools.microcosm layers DIR` prints it for every choice. Three parts of the student's
loss are weighted as in the authors' code: cross-entropy to the teacher's softened predictions, masked language
modelling, and the cosine of the last hidden states. The fourth is the teacher's softened answer on [CLS] to whether two
sentences say the same. It replaces what the authors' student learns about sentence pairs from texts of many sentences.
"""

from collections.abc import Callable, Sequence

import torch
from transformers import BertForPreTraining, DistilBertConfig, DistilBertForMaskedLM

from tools.microcosm.pretrain import tensors
from tools.microcosm.text import NOT_ASKED, Batch

LAYERS = (0, 4, 5)  # of the teacher's six; a student of every other layer did not learn to compare
TEMPERATURE = 2.0
WEIGHTS = {"distillation": 5.0, "masked language modelling": 2.0, "cosine": 1.0, "comparison": 2.0}

# BERT's names within one layer → DistilBERT's.
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


def student_of(teacher: BertForPreTraining, batches: Sequence[Batch]) -> DistilBertForMaskedLM:
    """Return a DistilBERT that starts from the teacher's embeddings, head and `LAYERS`.

    It has no token types. The teacher's mean token type embedding at each position of `batches` is therefore added to
    its position embeddings; otherwise, the layers would get inputs unlike any they have seen.
    """
    config = teacher.config
    student = DistilBertForMaskedLM(
        DistilBertConfig(
            vocab_size=config.vocab_size,
            dim=config.hidden_size,
            hidden_dim=config.intermediate_size,
            n_layers=len(LAYERS),
            n_heads=config.num_attention_heads,
            max_position_embeddings=config.max_position_embeddings,
            dropout=0.0,
            attention_dropout=0.0,
        )
    )
    of_teacher = teacher.state_dict()
    ours = {}
    for part in ("word_embeddings.weight", "position_embeddings.weight", "LayerNorm.weight", "LayerNorm.bias"):
        ours[f"distilbert.embeddings.{part}"] = of_teacher[f"bert.embeddings.{part}"]
    types = of_teacher["bert.embeddings.token_type_embeddings.weight"]  # (2, H)
    share = _share_of_second_sentences(batches, config.max_position_embeddings)[:, None]  # (P, 1)
    positions = ours["distilbert.embeddings.position_embeddings.weight"]  # (P, H)
    ours["distilbert.embeddings.position_embeddings.weight"] = positions + (1 - share) * types[0] + share * types[1]
    for layer, their_layer in enumerate(LAYERS):
        for their_name, our_name in _LAYER_NAMES.items():
            for kind in ("weight", "bias"):
                ours[f"distilbert.transformer.layer.{layer}.{our_name}.{kind}"] = of_teacher[
                    f"bert.encoder.layer.{their_layer}.{their_name}.{kind}"
                ]
    for kind in ("weight", "bias"):
        ours[f"vocab_transform.{kind}"] = of_teacher[f"cls.predictions.transform.dense.{kind}"]
        ours[f"vocab_layer_norm.{kind}"] = of_teacher[f"cls.predictions.transform.LayerNorm.{kind}"]
    ours["vocab_projector.weight"] = of_teacher["bert.embeddings.word_embeddings.weight"]
    ours["vocab_projector.bias"] = of_teacher["cls.predictions.bias"]
    student.load_state_dict(ours)
    return student


def _share_of_second_sentences(batches: Sequence[Batch], n_positions: int) -> torch.Tensor:
    """Return (P,) the share of tokens at each position that are of a second sentence; 1 where there are no tokens."""
    counts = torch.zeros(2, n_positions)
    for batch in batches:
        types, real = torch.from_numpy(batch.token_type_ids), torch.from_numpy(batch.attention_mask).bool()  # (B, L)
        for sentence in (0, 1):
            counts[sentence, : types.shape[1]] += (real & (types == sentence)).sum(0)
    seen = counts.sum(0)
    return torch.where(seen > 0, counts[1] / seen.clamp(min=1), 1.0)


def distillation(teacher: BertForPreTraining, student: DistilBertForMaskedLM) -> Callable[[Batch], torch.Tensor]:
    """Return the student's loss, as a function of a batch. The student sees no token types, like DistilBERT."""
    teacher.eval().requires_grad_(False)

    def loss_of(batch: Batch) -> torch.Tensor:
        inputs, targets = tensors(batch)
        chosen, real = targets != NOT_ASKED, inputs["attention_mask"].bool()  # (B, L)
        compared = torch.from_numpy(batch.same_meaning != NOT_ASKED)  # (B,)
        with torch.no_grad():
            teacher_hidden = teacher.bert(**inputs).last_hidden_state  # (B, L, H)
            teacher_logits = teacher.cls.predictions(teacher_hidden[chosen])  # (masked, V)
            teacher_comparison = _comparison(teacher, teacher_hidden[compared])  # (compared, 2)
        seen = {name: inputs[name] for name in ("input_ids", "attention_mask")}
        hidden = student.distilbert(**seen).last_hidden_state  # (B, L, H)
        transformed = student.vocab_layer_norm(student.activation(student.vocab_transform(hidden[chosen])))
        logits = student.vocab_projector(transformed)
        similarity = torch.nn.functional.cosine_similarity(hidden[real], teacher_hidden[real], dim=-1)  # (real,)
        return (
            WEIGHTS["distillation"] * _divergence(logits, teacher_logits)
            + WEIGHTS["masked language modelling"] * torch.nn.functional.cross_entropy(logits, targets[chosen])
            + WEIGHTS["cosine"] * (1 - similarity.mean())
            + WEIGHTS["comparison"] * _divergence(_comparison(teacher, hidden[compared]), teacher_comparison)
        )

    return loss_of


def _comparison(teacher: BertForPreTraining, hidden: torch.Tensor) -> torch.Tensor:
    """Return (N, 2) logits of whether two sentences say the same, by the teacher's head on (N, L, H) hidden states."""
    assert teacher.bert.pooler is not None  # BertForPreTraining always has one
    comparison: torch.Tensor = teacher.cls.seq_relationship(teacher.bert.pooler(hidden))
    return comparison


def _divergence(logits: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of softened predictions, each (N, classes), on the unsoftened scale."""
    softened = torch.log_softmax(logits / TEMPERATURE, dim=-1)
    target = torch.log_softmax(teacher_logits / TEMPERATURE, dim=-1)
    total = torch.nn.functional.kl_div(softened, target, reduction="sum", log_target=True)
    return total / max(1, len(logits)) * TEMPERATURE**2
