"""Odd checkpoints are refused in one line, or evaluated as intended."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_paths_and_bombs import is_one_line

from tests.helpers import tiny

Json = dict[str, Any]


@pytest.fixture
def model(checkpoint_of, tmp_path) -> Path:
    return Path(shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "model"))


@pytest.fixture
def run(command, mini, model):
    """`run("--no-train")` evaluates `model`."""
    return lambda *words: command("run", mini.task_file, "--model", model, "--data", mini.data, "--quiet", *words)


def change(path: Path, act: Callable[[Json], object]) -> None:
    content = json.loads(path.read_text())
    act(content)
    path.write_text(json.dumps(content))


def ids(**names: str) -> Json:
    return {"id2label": {number.strip("_").replace("minus", "-"): name for number, name in names.items()}}


CONFIGS: dict[str, tuple[Json, str]] = {
    "no layers": ({"num_hidden_layers": 0}, "num_hidden_layers is 0; wanted 1 to 200"),
    "layers below nothing": ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
    **{
        f"a million {key}": ({key: 10**6}, f"{key} is 1,000,000; wanted 0 to 200")
        for key in ("num_layers", "n_layer", "encoder_layers", "decoder_layers", "num_encoder_layers")
    },
    "layers inside": ({"text_config": {"num_hidden_layers": 10**6}}, "num_hidden_layers is 1,000,000"),
    "layers of 400 digits": ({"num_hidden_layers": 10**400}, "a number of more than 15 digits"),
    "very many labels": ({"id2label": {str(n): str(n) for n in range(10_001)}}, "10,001 entries in id2label"),
    "a long list": ({"block_sizes": [1] * 10_001}, "10,001 entries in block_sizes; at most 10,000"),
    "lists without end": ({"x": [[[]] * 9999] * 600}, "lists and objects; at most 5,000,000 are read"),
    "a number of 5,000 digits": ({"hidden_size": "DIGITS"}, "not readable as JSON"),
    "gaps in the labels": (ids(_0="entailment", _2="neutral", _5="contradiction"), "the numbers 0, 2, 5"),
    "labels from 1": (ids(_1="entailment", _2="neutral", _3="contradiction"), "the numbers 1, 2, 3"),
    "labels from -1": (ids(minus1="entailment", _0="neutral", _1="contradiction"), "the numbers -1, 0, 1"),
    "labels that are words": (ids(a="entailment", b="neutral", c="contradiction"), "cannot be loaded"),
    "dropout of 2": ({"hidden_dropout_prob": 2.0}, "between 0 and 1"),
    "heads that do not fit": ({"num_attention_heads": 5}, "not a multiple"),
    "no heads": ({"num_attention_heads": 0}, "cannot be loaded"),
    "an unknown function": ({"hidden_act": "nonsense"}, "nonsense"),
    "padding beyond the vocabulary": ({"pad_token_id": 10**6}, "cannot be loaded"),
    "no positions": ({"max_position_embeddings": 0}, "a shape other than config.json's"),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_odd_configurations_are_refused_in_one_line(run, model, what):
    settings, said = CONFIGS[what]
    change(model / "config.json", lambda config: config.update(settings))
    config = (model / "config.json").read_text()
    (model / "config.json").write_text(config.replace('"DIGITS"', "9" * 5000))
    answer = run("--no-train")
    is_one_line(answer)
    assert said in answer.err


@pytest.mark.parametrize("key", ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"])
def test_training_with_dropout_of_1_is_refused(run, model, key):
    change(model / "config.json", lambda config: config.update({key: 1.0}))
    answer = run("--epochs", "1")
    is_one_line(answer)
    assert f"{key} 1; wanted less than 1" in answer.err
    assert run("--no-train").code == 0  # evaluation drops nothing


def test_versioned_configurations_are_checked_too(run, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.4.0.0.json").write_text(json.dumps(config | {"num_hidden_layers": 10**6}))
    change(model / "config.json", lambda config: config.update(configuration_files=["config.4.0.0.json"]))
    answer = run("--no-train")
    is_one_line(answer)
    assert "config.4.0.0.json says that num_hidden_layers is 1,000,000" in answer.err


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_duplicate_settings_are_refused(run, model, name):
    content = (model / name).read_text().rstrip()
    key = next(iter(json.loads(content)))
    (model / name).write_text(content[:-1] + f', "{key}": null}}')
    answer = run("--no-train")
    is_one_line(answer)
    assert f"{name} is not readable as JSON: names that occur twice: 1, first '{key}'" in answer.err


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_settings_in_other_encodings_are_refused(run, model, name, encoding):
    (model / name).write_text((model / name).read_text(encoding="utf-8"), encoding=encoding)
    answer = run("--no-train")
    is_one_line(answer)
    assert (
        f"{name} is not readable as JSON" in answer.err and "save it as UTF-8 without a byte order mark" in answer.err
    )


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_list_instead_of_settings_is_refused(run, model, name):
    (model / name).write_text("[1]")
    answer = run("--no-train")
    is_one_line(answer)
    assert f"{name} is not a JSON object of settings; fetch it again" in answer.err


NUMBERS = {
    "int8": torch.int8,
    "uint8": torch.uint8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "bool": torch.bool,
    "complex": torch.complex64,
    "float8": torch.float8_e4m3fn,
}


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize("part", ["query.weight", "LayerNorm.bias", "classifier.weight"])
def test_unsupported_weight_types_are_refused(run, model, dtype, part):
    tensors = load_file(model / "model.safetensors")
    changed = {name: t.to(NUMBERS[dtype]) if name.endswith(part) else t for name, t in tensors.items()}
    save_file(changed, model / "model.safetensors", {"format": "pt"})
    answer = run("--no-train")
    is_one_line(answer)
    assert "are stored as" in answer.err and part in answer.err


def normalizer(*parts: Json) -> Callable[[Json], object]:
    return lambda content: content.update(normalizer={"type": "Sequence", "normalizers": list(parts)})


def of_template(key: str, value: object) -> Callable[[Json], object]:
    return lambda content: content["post_processor"]["special_tokens"]["[CLS]"].update({key: value})


def split_at(pattern: Json) -> Json:
    return {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}


GROWING = {"type": "Replace", "pattern": {"Regex": "."}, "content": "a" * 20}
ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
TOKENIZERS: dict[str, tuple[Callable[[Json], object], str]] = {
    "replacements that multiply": (normalizer(*[GROWING] * 6), "64,000,000 times as long"),
    "replacements inside of others": (
        normalizer({"type": "Sequence", "normalizers": [GROWING] * 3}),
        "8,000 times as long",
    ),
    "a long beginning": (normalizer({"type": "Prepend", "prepend": "x" * 10**5}), "100,000 times as long"),
    "a damaged table": (
        lambda content: content.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
        "PanicException",
    ),
    "many added tokens": (
        lambda content: content["added_tokens"].extend(
            {"id": 1000 + number, "content": f"<{number}>", **ADDED} for number in range(60_000)
        ),
        "adds 60,005 tokens; at most 50,000",
    ),
    "pieces around a text": (of_template("ids", [2] * 1001), "pieces around a text; at most 1,000 are read"),
    "a long piece": (
        lambda content: content["model"]["vocab"].update({"x" * 1001: 5}),
        "has a piece of 1,001 characters; at most 1,000",
    ),
    "a long added token": (
        lambda content: content["added_tokens"].append({"id": 1000, "content": "x" * 1001, **ADDED}),
        "has a piece of 1,001 characters; at most 1,000",
    ),
    "long pieces": (
        lambda content: content["model"].update(type="Unigram", vocab=[["x" * 1000, -1.0]] * 10_001),
        "has pieces of 10,001,",
    ),
    "pieces that share no beginning": (
        lambda content: content["model"].update(
            type="Unigram", vocab=[[f"{number:04}{'é' * 900}", -1.0] for number in range(3000)]
        ),
        "has pieces with 5,",
    ),
    "a long expression": (
        lambda content: content.update(pre_tokenizer=split_at({"Regex": "|".join(["abcdefg"] * 2000)})),
        "has regular expressions of 15,999 characters; at most 10,000",
    ),
    "expressions that are long together": (
        normalizer(*[{"type": "Replace", "pattern": {"Regex": "a" * 100}, "content": "b"}] * 101),
        "has regular expressions of 10,100 characters; at most 10,000",
    ),
    "steps without end": (normalizer(*[{"type": "Lowercase"}] * 1000), "splits texts in 1,00"),
    "a long word to look for": (
        lambda content: content.update(
            pre_tokenizer={"type": "Sequence", "pretokenizers": [split_at({"String": "a" * 10_001})]}
        ),
        "has regular expressions of 10,001 characters; at most 10,000",
    ),
    "many merges": (
        lambda content: content["model"].update(merges=[""] * 2_000_001),
        "has 2,000,001 pieces; at most 2,000,000",
    ),
    "an id beyond the embedding": (of_template("ids", [10**6]), "fails on these rows"),
    "an id beyond the vocabulary": (lambda content: content["model"]["vocab"].update(zzz=10**6), "1,000,000"),
    "no vocabulary": (lambda content: content.update(model={"type": "Unigram", "vocab": [], "unk_id": 5}), "tokenizer"),
    "no unknown piece": (
        lambda content: content.update(model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "?"}),
        "tokenizer",
    ),
    "an expression that is none": (
        lambda content: content.update(pre_tokenizer=split_at({"Regex": "((("})),
        "tokenizer",
    ),
}


@pytest.mark.parametrize("what", TOKENIZERS)
def test_odd_tokenizers_are_refused_in_one_line(run, model, what):
    act, said = TOKENIZERS[what]
    change(model / "tokenizer.json", act)
    change(model / "tokenizer_config.json", lambda settings: settings.update(tokenizer_class="PreTrainedTokenizerFast"))
    answer = run("--no-train")
    is_one_line(answer)
    assert said in answer.err


@pytest.mark.parametrize("name", ["tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"])
def test_added_tokens_are_limited_in_every_file(run, model, name):
    tokens = {f"<{number}>": 1000 + number for number in range(60_000)}
    of_file = {
        "tokenizer_config.json": {"added_tokens_decoder": {str(n): {"content": t} for t, n in tokens.items()}},
        "added_tokens.json": tokens,
        "special_tokens_map.json": {"additional_special_tokens": list(tokens)},
    }
    (model / name).write_text(json.dumps(of_file[name]))
    answer = run("--no-train")
    is_one_line(answer)
    assert f"{name} adds 60,000 tokens" in answer.err


def test_oversized_vocabulary_is_refused(run, model):
    (model / "vocab.txt").write_text("\n" * 2_000_001)
    answer = run("--no-train")
    is_one_line(answer)
    assert "vocab.txt has 2,000,001 lines; at most 2,000,000" in answer.err


def test_too_many_tensors_are_refused(run, model):
    content = (model / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    none = {f"x{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(100_001)}
    header = json.dumps(json.loads(content[8 : 8 + size]) | none).encode()
    (model / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + content[8 + size :])
    answer = run("--no-train")
    is_one_line(answer)
    assert "tensors; at most 100,000 are read" in answer.err


def test_broken_link_to_weights_is_reported(run, model):
    (model / "model.safetensors").rename(model / "weights")
    (model / "model.safetensors").symlink_to("nowhere")
    answer = run("--no-train")
    is_one_line(answer)
    assert "model.safetensors is not a file, but a folder or a broken link" in answer.err


def test_model_path_that_is_not_utf8_is_refused(command, mini, model, tmp_path):
    folder = model.rename(tmp_path / "model\udcff")
    answer = command("run", mini.task_file, "--model", folder, "--data", mini.data, "--no-train", "--quiet")
    is_one_line(answer)
    assert "its path is not UTF-8; rename it" in answer.err
