"""What a recipe freezes stays identical to the bit, and what it trains is trained as in a plain loop."""

import importlib.util

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import ARCHITECTURES, KIND, labelled_pairs, make_pairs, tiny_tokenizer, without_dropout
from tests.helpers.encoder_types import T5_LIKE, TYPES, tiny_checkpoint
from tests.helpers.tiny_training import CPU, MAX_LENGTH, PAIRS, into, model_of, plain_losses, recipe, same, weights
from tests.test_resume import Often, interrupt_after
from xeval.data.model_files import find_checkpoint
from xeval.definitions.recipe import Recipe
from xeval.engine.adaptation import adapt, count_trained
from xeval.engine.encoding import encode
from xeval.engine.loading import brings_pooler, load_pretrained, load_tokenizer
from xeval.engine.prediction import predict_logits
from xeval.engine.remembered import remember
from xeval.engine.training import fine_tune
from xeval.kinds.answers import AnswerKeys, Answers
from xeval.kinds.choices import ChoiceKeys, MultipleChoice
from xeval.kinds.tags import Tagging, TagKeys
from xeval.results.identity import lasting_values
from xeval.support.errors import ModelError

FROZEN, LORA = {"adaptation": "frozen"}, {"adaptation": "lora", "lora_dropout": 0.0}
SETTINGS = [FROZEN, LORA, LORA | {"lora_targets": "all-linear"}, {"layers_frozen": 0}, {"layers_frozen": 1}]
HAVE_PEFT = importlib.util.find_spec("peft") is not None


@pytest.fixture(params=SETTINGS, ids=lambda settings: " ".join(map(str, settings.values())))
def settings(request) -> dict:
    if request.param.get("adaptation") == "lora" and not HAVE_PEFT:
        pytest.skip("peft is not installed")
    return request.param


def rows_of(architecture: str):
    return encode(KIND, tiny_tokenizer(architecture), PAIRS, MAX_LENGTH)


def adapted(architecture: str, chosen: Recipe, **config):
    """Return a model with a pretrained pooler that `chosen` adapts, and the function that makes it ordinary again."""
    model = model_of(architecture, **config)
    return model, adapt(model, chosen, seed=7, has_pooler=True, name="tiny")


def train_as_told(model, chosen: Recipe, **also) -> list[float]:
    losses: list[float] = []
    pairs = rows_of(model.config.model_type)
    if chosen.adaptation == "frozen":
        pairs = remember(model, pairs, KIND.reads, CPU)
    fine_tune(KIND, model, pairs, chosen, chosen.learning_rate, 0, CPU, lambda: 0.5, into(losses), **also)
    return losses


# ── the same as a plain loop ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_adaptation_trains_like_a_plain_loop(settings, architecture):
    chosen = recipe(max_steps=5, learning_rate=1e-2, **settings)
    model, _ = adapted(architecture, chosen, **without_dropout(architecture))
    plain, _ = adapted(architecture, chosen, **without_dropout(architecture))
    assert train_as_told(model, chosen) == pytest.approx(plain_losses(plain, chosen, 0, 5), abs=2e-5)
    trained = dict(plain.named_parameters())
    for name, parameter in model.named_parameters():
        if name.endswith(("key.bias", "k_lin.bias")):
            continue  # adding the same to every key changes no attention, so these gradients are noise
        torch.testing.assert_close(parameter, trained[name], atol=2e-4, rtol=0)


DROPOUT = {
    "bert": {"hidden_dropout_prob": 0.4, "attention_probs_dropout_prob": 0.4, "classifier_dropout": 0.0},
    "distilbert": {"dropout": 0.4, "attention_dropout": 0.4, "seq_classif_dropout": 0.0},
    "xlm-roberta": {"hidden_dropout_prob": 0.4, "attention_probs_dropout_prob": 0.4, "classifier_dropout": 0.0},
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_encoder_runs_once_per_row_without_dropout(architecture):
    chosen = recipe(max_steps=5, learning_rate=1e-2, **FROZEN)
    model, _ = adapted(architecture, chosen, **DROPOUT[architecture])
    plain, _ = adapted(architecture, chosen, **without_dropout(architecture))
    seen = []
    model.base_model.register_forward_hook(lambda encoder, inputs, output: seen.append(len(output[0])))
    assert train_as_told(model, chosen) == pytest.approx(plain_losses(plain, chosen, 0, 5), abs=2e-5)
    assert sum(seen) <= len(PAIRS) + 2 * 8, "each row once, and a few to find out what the head reads"


# ── what stays frozen ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_frozen_weights_are_bit_identical_after_training(settings, architecture):
    chosen = recipe(epochs=3.0, learning_rate=1e-2, weight_decay=0.5, selection="english-dev", **settings)
    model, _ = adapted(architecture, chosen)
    before, frozen = weights(model), {name for name, each in model.named_parameters() if not each.requires_grad}
    train_as_told(model, chosen)
    after = weights(model)
    assert [name for name in frozen if not torch.equal(after[name], before[name])] == []
    changed = {name for name in before.keys() - frozen if not torch.equal(after[name], before[name])}
    assert changed >= {name for name, _ in model.named_parameters()} - frozen
    assert model.get_input_embeddings().weight is not None
    embeddings = next(name for name, each in model.named_parameters() if each is model.get_input_embeddings().weight)
    assert embeddings in frozen, "and the rows of it that no pair uses have not decayed"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_lowest_layers_are_frozen_with_the_embeddings(architecture):
    layers = "transformer" if architecture == "distilbert" else "encoder"
    for n_layers in range(3):
        model, _ = adapted(architecture, recipe(layers_frozen=n_layers))
        frozen = {name for name, each in model.base_model.named_parameters() if not each.requires_grad}
        lowest = tuple(f"{layers}.layer.{number}." for number in range(n_layers))
        expected = {name for name, _ in model.base_model.named_parameters() if name.startswith(("embeddings", *lowest))}
        assert frozen == expected


@pytest.mark.parametrize("n_layers", [1, 2])
@pytest.mark.parametrize("model_type", ["deberta-v2", "electra", "modernbert", "mpnet", "eurobert"])
def test_lowest_layers_are_frozen_in_other_encoders_too(tmp_path, model_type, n_layers):
    model = load_pretrained(find_checkpoint(str(tiny_checkpoint(tmp_path, model_type))), KIND, 0)
    adapt(model, recipe(layers_frozen=n_layers), 0, True, "tiny")
    frozen = [name for name, each in model.base_model.named_parameters() if not each.requires_grad]
    of_layers = {int(part) for name in frozen for part in name.split(".") if part.isdecimal()}
    assert of_layers == set(range(n_layers))
    assert any("embed" in name for name in frozen)


def test_layers_that_share_weights_cannot_be_frozen(tmp_path):
    model = load_pretrained(find_checkpoint(str(tiny_checkpoint(tmp_path, "albert"))), KIND, 0)
    with pytest.raises(ModelError, match="layers_frozen needs an encoder that is one stack of 3 layers"):
        adapt(model, recipe(layers_frozen=1), 0, True, "tiny")


def test_missing_pooler_is_trained_with_the_head():
    for has_pooler in (True, False):
        model = model_of("bert")
        adapt(model, recipe(**FROZEN), 0, has_pooler, "tiny")
        trained = {name for name, each in model.named_parameters() if each.requires_grad}
        pooler = {"bert.pooler.dense.weight", "bert.pooler.dense.bias"}
        assert trained == {"classifier.weight", "classifier.bias"} | (set() if has_pooler else pooler)


def test_presence_of_a_pooler_is_read_from_the_weights(checkpoint_of, tmp_path):
    assert brings_pooler(find_checkpoint(str(checkpoint_of("bert"))))
    assert not brings_pooler(find_checkpoint(str(checkpoint_of("xlm-roberta", ("a", "b")))))


# ── a head alone ──


@pytest.mark.parametrize("model_type", sorted(TYPES))
def test_head_on_remembered_states_equals_the_whole_model(tmp_path, model_type):
    own = find_checkpoint(str(tiny_checkpoint(tmp_path, model_type)))
    try:
        model = load_pretrained(own, KIND, 0)
    except ModelError:
        pytest.skip("it has no head for this kind of task")
    pairs = encode(KIND, load_tokenizer(own, 96), labelled_pairs("de", make_pairs("de", 20)), 96)
    try:
        remembered = remember(model, pairs, KIND.reads, CPU)
    except ModelError as refused:
        assert model_type in REFUSED and "reads something else; use lora or full" in str(refused)
        return
    assert model_type not in REFUSED
    expected, rows = predict_logits(model, pairs, CPU), np.array([3, 1, 7])
    np.testing.assert_allclose(predict_logits(model, remembered, CPU), expected, atol=2e-5)
    np.testing.assert_allclose(predict_logits(model, remembered.take(rows), CPU), expected[rows], atol=2e-5)


# Their heads read an activated pooler, the mean of every token's output, or the end of a decoder.
REFUSED = {"albert", "eurobert", "mt5", "t5", "umt5"}
OTHERS = [Tagging(TagKeys(labels=("O", "B-X", "I-X"))), Answers(AnswerKeys(stride=16)), MultipleChoice(ChoiceKeys())]


@pytest.mark.parametrize("kind", OTHERS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("model_type", ["bert", "distilbert", "xlm-roberta", "modernbert", "deberta-v2"])
def test_heads_of_other_kinds_equal_the_whole_model(tmp_path, model_type, kind):
    own = find_checkpoint(str(tiny_checkpoint(tmp_path, model_type)))
    model = load_pretrained(own, kind, 0)
    pairs = encode(KIND, load_tokenizer(own, 96), labelled_pairs("de", make_pairs("de", 20)), 96)
    remembered, rows = remember(model, pairs, kind.reads, CPU), np.array([3, 1, 7])
    for some in (np.arange(len(pairs)), rows):
        expected = predict_logits(model, pairs.take(some), CPU, reads=kind.reads)
        logits = predict_logits(model, remembered.take(some), CPU, reads=kind.reads)
        np.testing.assert_allclose(logits, expected, atol=2e-5)


# ── LoRA ──


@pytest.mark.skipif(not HAVE_PEFT, reason="peft is not installed")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_merged_lora_is_an_ordinary_model_with_equal_logits(architecture):
    chosen = recipe(epochs=3.0, learning_rate=5e-2, **LORA)
    model, merge = adapted(architecture, chosen)
    names, before = set(model_of(architecture).state_dict()), weights(model_of(architecture))
    train_as_told(model, chosen)
    pairs = rows_of(architecture)
    expected = predict_logits(model, pairs, CPU)
    merge()
    assert set(model.state_dict()) == names
    np.testing.assert_allclose(predict_logits(model, pairs, CPU), expected, atol=1e-4)
    changed = {name for name, tensor in weights(model).items() if not torch.equal(tensor, before[name])}
    ends = ("query.weight", "value.weight", "q_lin.weight", "v_lin.weight")
    assert {name for name in changed if name.endswith(ends)} == {name for name in names if name.endswith(ends)}
    assert not any(name.startswith(model.base_model_prefix) for name in changed if not name.endswith(ends))


@pytest.mark.skipif(not HAVE_PEFT, reason="peft is not installed")
def test_lora_has_the_recipes_rank_and_follows_the_seed():
    chosen = recipe(adaptation="lora", lora_rank=3)
    some, others = model_of("bert"), model_of("bert")
    adapt(some, chosen, 1, True, "tiny"), adapt(others, chosen, 1, True, "tiny")
    assert same(weights(some), weights(others))
    of_a_layer = 2 * (16 * 3 + 3 * 16)  # two weights of 16 × 16
    assert count_trained(some)[0] == 2 * of_a_layer + 3 * 16 + 3
    adapt(another := model_of("bert"), chosen, 2, True, "tiny")
    assert not same(weights(some), weights(another))


@pytest.mark.skipif(not HAVE_PEFT, reason="peft is not installed")
def test_encoder_with_fused_attention_needs_all_linear(tmp_path):
    own = find_checkpoint(str(tiny_checkpoint(tmp_path, "modernbert")))
    with pytest.raises(ModelError, match="--lora-targets all-linear"):
        adapt(load_pretrained(own, KIND, 0), recipe(**LORA), 0, True, "tiny")
    model = load_pretrained(own, KIND, 0)
    adapt(model, recipe(**LORA, lora_targets="all-linear"), 0, True, "tiny")
    assert 0 < count_trained(model)[0] < count_trained(model)[1]


def test_without_peft_the_command_says_what_to_install(command, mini, checkpoint_of, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = ["--model", checkpoint_of("bert"), "--data", mini.data, "--adaptation", "lora"]
    code, _, err = command("run", mini.task_file, *words)
    assert code == 2
    assert "adaptation lora needs the package peft; install it: pip install peft" in err


# ── resuming after a kill ──


def test_interrupted_training_ends_with_the_same_weights(settings, tmp_path):
    also = settings | ({"lora_dropout": 0.2} if "lora_dropout" in settings else {})
    chosen = recipe(epochs=3.0, weight_decay=0.1, selection="english-dev", evaluate_every_steps=2, **also)

    def trained(**more):
        model, _ = adapted("bert", chosen)
        score = iter(np.linspace(0.9, 0.1, 9))
        pairs = rows_of("bert")
        if chosen.adaptation == "frozen":
            pairs = remember(model, pairs, KIND.reads, CPU)
        fine_tune(KIND, model, pairs, chosen, 1e-2, 3, CPU, lambda: float(next(score)), **more)
        return weights(model)

    expected = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(snapshots=Often(tmp_path), on_step=interrupt_after(6, KeyboardInterrupt()))
    resumed: list[int] = []
    assert same(trained(snapshots=Often(tmp_path), on_resume=resumed.append), expected)
    assert resumed == [5]


# ── recipes ──


def test_defaults_of_adaptation_are_not_in_the_identity():
    assert lasting_values(recipe().model_dump()).keys().isdisjoint({"adaptation", "layers_frozen", "lora_rank"})
    assert lasting_values(recipe(layers_frozen=0).model_dump())["layers_frozen"] == 0
    lora = lasting_values(recipe(adaptation="lora", lora_rank=4).model_dump())
    assert {key: value for key, value in lora.items() if key.startswith(("lora", "ada"))} == {
        "adaptation": "lora",
        "lora_rank": 4,
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--adaptation", "qlora"], "adaptation: Input should be 'full', 'lora' or 'frozen', got 'qlora'"),
        (["--adaptation", "frozen", "--layers-frozen", "1"], "layers_frozen: with adaptation frozen all layers are"),
        (["--lora-rank", "4"], "lora_rank: only with adaptation lora, here it is full"),
        (["--layers-frozen", "3"], "has 2 layers, so layers_frozen 3 is too many"),
        (["--layers-frozen", "-1"], "greater than or equal to 0, got -1"),
    ],
)
def test_invalid_adaptation_options_are_refused(command, mini, checkpoint_of, capsys, words, expected):
    base = ["--model", checkpoint_of("bert"), "--data", mini.data, "--language", "en", "--quiet"]
    capsys.readouterr()  # discards what making the checkpoint wrote
    code, _, err = command("run", mini.task_file, *base, *words)
    assert code == 2 and expected in err and err.startswith("xeval: ") and err.count("\n") == 1


# ── a whole run ──


def test_run_and_report_name_the_adaptation(settings, command, mini, checkpoint_of, tmp_path):
    options = [f"--{key.replace('_', '-')}={value}" for key, value in settings.items()]
    base = ["run", mini.task_file, "--model", checkpoint_of("bert"), "--data", mini.data, "--device", "cpu", *options]
    base += ["--results", tmp_path / "r", "--max-steps", "2", "--selection", "english-dev"]
    code, out, err = command(*base, "--language", "en")
    assert code == 0, err
    assert "parameters are trained" in err
    told = f"adaptation {settings['adaptation']}" if "adaptation" in settings else "layers_frozen"
    assert told in out
    code, out, err = command(*base, "--language", "en,es")  # needs no more training
    assert code == 0 and "1 of 2 languages to evaluate" in err and "steps on" not in err
    code, out, _ = command("report", "--task", "mini-pairs", "--results", tmp_path / "r", "--format", "markdown")
    expected = {"frozen": "a frozen encoder", "lora": "LoRA (rank 8"}.get(
        settings.get("adaptation"), "frozen embeddings"
    )
    assert code == 0 and expected in out


@pytest.mark.parametrize("chosen", [FROZEN, LORA], ids=["frozen", "lora"])
@pytest.mark.parametrize("model_type", T5_LIKE)
def test_head_that_is_not_apart_from_its_encoder_is_refused(tmp_path, model_type, chosen):
    kind = Answers(AnswerKeys())
    model = load_pretrained(find_checkpoint(str(tiny_checkpoint(tmp_path, model_type))), kind, 0)
    with pytest.raises(
        ModelError, match=r"does not tell its encoder from its head, .*; use adaptation full"
    ) as refused:
        adapt(model, recipe(**chosen), 0, False, "tiny")
    assert "\n" not in str(refused.value)


@pytest.mark.skipif(not HAVE_PEFT, reason="peft is not installed")
def test_lora_scales_its_product_by_alpha_over_rank():
    chosen = recipe(adaptation="lora", lora_rank=4, lora_alpha=6, lora_dropout=0.25)
    model, merge = adapted("bert", chosen)
    before, matrices = weights(model_of("bert")), {}
    for name, parameter in model.named_parameters():
        if ".lora_" in name:
            layer, _, which = name.partition(".lora_")
            torch.nn.init.normal_(parameter)
            matrices.setdefault(f"{layer}.weight", {})[which[0]] = parameter.detach().clone()
    dropouts = [module for name, module in model.named_modules() if name.endswith(".lora_dropout.default")]
    assert {dropout.p for dropout in dropouts} == {0.25} and len(dropouts) == len(matrices) == 4
    merge()
    merged = weights(model)
    for name, of_layer in matrices.items():
        expected = before[name] + 6 / 4 * of_layer["B"] @ of_layer["A"]
        torch.testing.assert_close(merged[name], expected, atol=1e-5, rtol=0)


def test_frozen_encoder_under_a_head_that_reads_the_mean(tmp_path):
    own = find_checkpoint(str(tiny_checkpoint(tmp_path, "modernbert", classifier_pooling="mean")))
    model = load_pretrained(own, KIND, 0)
    pairs = encode(KIND, load_tokenizer(own, 96), labelled_pairs("de", make_pairs("de", 20)), 96)
    assert len(set(pairs.lengths)) > 1 and model.config.classifier_pooling == "mean"
    logits = predict_logits(model, remember(model, pairs, KIND.reads, CPU), CPU)
    np.testing.assert_allclose(logits, predict_logits(model, pairs, CPU), atol=2e-5)
