"""Every type of encoder gives the results of plain transformers or is refused in one line."""

import copy
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, CanineConfig

from tests.helpers.checkpoints import KIND, WORDS, labelled_pairs, make_pairs
from tests.helpers.encoder_types import NO_DROPOUT, T5_LIKE, TYPES, tiny_checkpoint, tiny_config
from tests.helpers.plain_tasks import MAX_LENGTH, TASKS, hold_to_plain_transformers
from tests.helpers.tiny_training import recipe
from xeval.data.model_files import find_checkpoint
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import can_pack, logits_of, packed
from xeval.engine.loading import load_pretrained, load_tokenizer
from xeval.engine.prediction import predict, predict_logits
from xeval.kinds.rows import Rows
from xeval.support.errors import ModelError

CPU = Compute(torch.device("cpu"), torch.float32)


class Filled(Compute):
    """Fills batches as in bfloat16, where rounding would hide small faults."""

    def token_granule(self) -> int:
        return 32


FILLED = Filled(torch.device("cpu"), torch.float32)
# With choices, the gradient of the bias of DistilBERT's pre_classifier is pure rounding error. An epsilon of 1e-8 lets
# AdamW turn it into full steps, which differ between processors.
RECIPE = recipe(batch_size=4, max_length=MAX_LENGTH, max_steps=3, adam_epsilon=1e-6)
POOLED = {"modernbert": ("cls", "mean"), "eurobert": ("bos", "late", "mean")}
HEADS = [(name, pooling) for name in TYPES for pooling in POOLED.get(name, (None,))]
PACKED = sorted(set(TYPES) - {"mpnet", *T5_LIKE})


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """`checkpoint(model_type, **config)`: a tiny one, made once."""

    @cache
    def make(model_type: str, **config):
        folder = tmp_path_factory.mktemp("encoder")
        return find_checkpoint(str(tiny_checkpoint(folder, model_type, **(NO_DROPOUT | config))))

    return make


def pairs() -> Rows:
    """Rows in several languages, some of them truncated."""
    rows = [row for language in WORDS for row in make_pairs(language, 3)]
    long = " ".join(WORDS["en"] * 4)
    return labelled_pairs("en", [*rows, (long, "dog", 0), ("dog", long, 1), (long, long, 2)])


def pooling_of(pooling: str | None) -> dict[str, str]:
    return {"classifier_pooling": pooling} if pooling else {}


@torch.no_grad()
def plain_logits(model, tokenizer, rows: Rows) -> np.ndarray:
    """Computed by hand, one row at a time."""
    logits = []
    for premise, hypothesis in zip(rows.texts["premise"], rows.texts["hypothesis"], strict=True):
        inputs = tokenizer(premise, hypothesis, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
        logits.append(model(**inputs).logits[0].numpy())
    return np.stack(logits)


@pytest.mark.parametrize(("model_type", "pooling"), HEADS)
def test_logits_are_those_of_plain_transformers(checkpoint, model_type, pooling):
    own = checkpoint(model_type, **pooling_of(pooling))
    model, tokenizer = load_pretrained(own, KIND, seed=1).eval(), load_tokenizer(own, MAX_LENGTH)
    encoded = encode(KIND, tokenizer, pairs(), MAX_LENGTH)
    assert encoded.tokenization.truncated_share > 0
    expected = plain_logits(model, tokenizer, pairs())
    assert np.ptp(expected, axis=0).max() > 0.05, "the reference should tell the rows apart"
    np.testing.assert_allclose(predict(model, KIND, encoded, CPU), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("model_type", TYPES)
def test_which_types_are_packed(checkpoint, model_type):
    assert can_pack(load_pretrained(checkpoint(model_type), KIND, seed=1)) == (model_type in PACKED)


def gradients(model, encoded, rows: np.ndarray, reads: str | None, compute: Compute = CPU) -> dict[str, torch.Tensor]:
    model.zero_grad()
    if reads is None:
        logits = logits_of(model, encoded, rows, compute)
    else:
        with packed(model, reads):
            logits = logits_of(model, encoded, rows, compute)
    (logits * torch.linspace(-1, 1, logits.numel()).view_as(logits)).mean().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


@pytest.mark.parametrize("compute", [CPU, FILLED], ids=["as they are", "filled"])
@pytest.mark.parametrize("reads", ["first token", "every token"])
@pytest.mark.parametrize(("model_type", "pooling"), [head for head in HEADS if head[0] in PACKED])
def test_packed_and_padded_gradients_agree(checkpoint, model_type, pooling, reads, compute):
    own = checkpoint(model_type)
    tokenizer = load_tokenizer(own, MAX_LENGTH)
    config = tiny_config(model_type, tokenizer, num_labels=3, **NO_DROPOUT, **pooling_of(pooling))
    torch.manual_seed(0)
    head = AutoModelForSequenceClassification if reads == "first token" else AutoModelForTokenClassification
    model, encoded = head.from_config(config).train(), encode(KIND, tokenizer, pairs(), MAX_LENGTH)
    chosen = np.array([3, 16, 0, 9, 15, 1])
    expected, got = gradients(model, encoded, chosen, None), gradients(model, encoded, chosen, reads, compute)
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=0, atol=1e-5)
    assert max(float(gradient.abs().max()) for gradient in expected.values()) > 0.001


# ── every type with every kind of task ──


@pytest.fixture(scope="module")
def tried(checkpoint):
    """`tried(model_type, name)`: the one-line refusal of such a task, or "" if it runs."""

    @cache
    def attempt(model_type: str, name: str) -> str:
        try:
            hold_to_plain_transformers(checkpoint(model_type), TASKS[name], CPU, RECIPE)
        except ModelError as error:
            return str(error)
        return ""

    return attempt


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("model_type", TYPES)
def test_tasks_match_plain_transformers_or_are_refused(tried, model_type, name):
    head = getattr(transformers, TASKS[name].kind.head)
    refusal = tried(model_type, name)
    assert "\n" not in refusal
    assert bool(refusal) == (transformers.CONFIG_MAPPING[model_type] not in head._model_mapping)
    if refusal:
        assert f"has no {TASKS[name].kind.head} for encoders of type {model_type}; use another encoder for" in refusal


def test_local_attention_changes_logits(checkpoint):
    tokenizer = load_tokenizer(checkpoint("modernbert"), MAX_LENGTH)
    encoded, logits = encode(KIND, tokenizer, pairs(), MAX_LENGTH), []
    for local_attention in (16, 512):
        torch.manual_seed(0)
        config = tiny_config("modernbert", tokenizer, num_labels=3, local_attention=local_attention)
        logits.append(predict_logits(AutoModelForSequenceClassification.from_config(config), encoded, CPU))
    assert np.abs(logits[0] - logits[1]).max() > 1e-3


@pytest.mark.parametrize("model_type", ["albert", "rembert"])
def test_segments_follow_the_tokenizers_input_names(checkpoint, model_type, tmp_path):
    own = checkpoint(model_type)
    silent = load_tokenizer(own, MAX_LENGTH)
    speaking = copy.deepcopy(silent)
    speaking.model_input_names = [*speaking.model_input_names, "token_type_ids"]
    assert not encode(KIND, silent, pairs(), MAX_LENGTH).token_type_ids.any()
    assert encode(KIND, speaking, pairs(), MAX_LENGTH).token_type_ids.any()


def refusal(folder: Path) -> str:
    own = find_checkpoint(str(folder))
    with pytest.raises(ModelError) as refused:
        load_tokenizer(own, MAX_LENGTH)
        load_pretrained(own, KIND, seed=1)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_character_encoder_is_refused(tmp_path):
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    transformers.CanineModel(CanineConfig(**sizes, num_hash_buckets=32)).save_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "CanineTokenizer"}')
    assert "no fast tokenizer, and transformers has none for canine; add a tokenizer.json" in refusal(tmp_path)


def test_encoder_without_fast_tokenizer_is_refused(tmp_path):
    sizes = {"emb_dim": 16, "n_layers": 1, "n_heads": 2, "vocab_size": 8, "n_words": 8}
    transformers.XLMModel(transformers.XLMConfig(**sizes)).save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text('{"<s>": 0, "</s>": 1, "<pad>": 2, "<unk>": 3, "a</w>": 4}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    assert "no fast tokenizer, and transformers has none for xlm; use another encoder" in refusal(tmp_path)


def test_only_the_head_of_t5_is_initialised_anew(checkpoint, tmp_path):
    torch.manual_seed(3)
    brought = transformers.AutoModelForQuestionAnswering.from_pretrained(checkpoint("t5").folder)
    brought.save_pretrained(tmp_path)
    loaded = load_pretrained(find_checkpoint(str(tmp_path)), TASKS["answers"].kind, seed=1)
    same = {name for name, tensor in brought.state_dict().items() if torch.equal(tensor, loaded.state_dict()[name])}
    assert brought.state_dict().keys() - same == {"qa_outputs.weight"}


DISTANCES = {
    "as in mDeBERTa": {},
    "projected by themselves": {"share_att_key": False},
    "of keys alone": {"pos_att_type": ["c2p"]},
    "of queries alone, projected by themselves": {"pos_att_type": ["p2c"], "share_att_key": False},
    "without buckets": {"position_buckets": -1, "max_relative_positions": 24},
    "absolute positions as well": {"position_biased_input": True, "type_vocab_size": 2},
}


@pytest.mark.parametrize("reads", ["first token", "every token"])
@pytest.mark.parametrize("settings", DISTANCES.values(), ids=DISTANCES)
def test_deberta_distances_match_plain_transformers(checkpoint, settings, reads):
    tokenizer = load_tokenizer(checkpoint("deberta-v2"), MAX_LENGTH)
    config = tiny_config("deberta-v2", tokenizer, num_labels=3, **NO_DROPOUT, **settings)
    torch.manual_seed(0)
    head = AutoModelForSequenceClassification if reads == "first token" else AutoModelForTokenClassification
    # Plain transformers rounds the scale to float32.
    model, encoded = head.from_config(config).double(), encode(KIND, tokenizer, pairs(), MAX_LENGTH)
    rows = np.array([16, 3, 0, 15])
    with torch.no_grad():
        expected = logits_of(model.eval(), encoded, rows, CPU)
        with packed(model, reads):
            torch.testing.assert_close(logits_of(model, encoded, rows, CPU), expected, rtol=0, atol=1e-6)
    expected_gradients, got = (gradients(model.train(), encoded, rows, how) for how in (None, reads))
    assert got.keys() == expected_gradients.keys()
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(got[name], gradient, rtol=0, atol=1e-6)


def test_deberta_with_a_convolution_is_padded(checkpoint):
    config = tiny_config("deberta-v2", load_tokenizer(checkpoint("deberta-v2"), MAX_LENGTH), conv_kernel_size=3)
    assert not can_pack(AutoModelForSequenceClassification.from_config(config))


def test_custom_code_type_is_refused_with_an_alternative(checkpoint, tmp_path):
    folder = tiny_checkpoint(tmp_path, "bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "new", "auto_map": {"AutoModel": "modeling.NewModel"}}
    (folder / "config.json").write_text(json.dumps(config))
    assert "its own code is never run; use alibaba-nlp-community/gte-multilingual-base" in refusal(folder)


def test_unknown_type_is_refused(tmp_path):
    folder = tiny_checkpoint(tmp_path, "bert")
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "bart-of-tomorrow"}
    (folder / "config.json").write_text(json.dumps(config))
    assert "of type 'bart-of-tomorrow', which transformers" in refusal(folder)


EXAMPLES = {
    "albert": "",
    "bert": "mBERT, LaBSE",
    "camembert": "CamemBERT",
    "deberta-v2": "mDeBERTa",
    "distilbert": "DistilmBERT",
    "electra": "",
    "ernie": "",
    "eurobert": "EuroBERT",
    "gte": "mGTE, as alibaba-nlp-community/gte-multilingual-base has it",
    "jina_embeddings_v3": "jinaai/jina-embeddings-v3-hf",
    "modernbert": "mmBERT, ModernBERT",
    "mpnet": "",
    "mt5": "mT5",
    "nomic_bert": "nomic-embed",
    "rembert": "RemBERT",
    "roberta": "",
    "t5": "",
    "umt5": "umT5",
    "xlm-roberta": "XLM-R, XLM-V, multilingual-e5, bge-m3",
    "xlm-roberta-xl": "XLM-R XL and XXL",
}


def table(checkpoint, tried) -> list[str]:
    """The results of this file's tests, as docs/encoders.md shows them."""
    lines = [
        f"| type | for instance | a pair | segments | packed | {' | '.join(TASKS)} |",
        f"|{'---|' * (5 + len(TASKS))}",
    ]
    for model_type, examples in EXAMPLES.items():
        own = checkpoint(model_type)
        tokenizer = load_tokenizer(own, MAX_LENGTH)
        pieces = [piece.strip("▁") for piece in tokenizer("a", "b").tokens()]
        pair = " ".join(f"*{piece}*" if piece in "ab" else f"`{piece}`" for piece in pieces if piece).replace(
            "|", "\\|"
        )
        told = "token_type_ids" in tokenizer.model_input_names and tokenizer("a", "b").token_type_ids[-1] == 1
        segments = told and getattr(tiny_config(model_type, tokenizer), "type_vocab_size", 0) > 1
        marks = ["yes" if mark else "–" for mark in (segments, model_type in PACKED)]
        outcomes = ["refused" if tried(model_type, name) else "yes" for name in TASKS]
        cells = [f"`{model_type}`", examples, pair, *marks, *outcomes]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def test_table_in_the_docs_is_up_to_date(checkpoint, tried):
    page = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text(encoding="utf-8")
    printed = "\n".join(table(checkpoint, tried))
    print(printed)
    assert printed in page
