"""Every form in which people keep an encoder is read as transformers reads it or refused in one line."""

import hashlib
import json
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from tests.helpers.checkpoints import ARCHITECTURES, KIND, LABELS
from tests.helpers.encoder_types import TYPES, tiny_checkpoint
from tests.helpers.tiny import make_checkpoint
from xeval.data.model_files import find_checkpoint
from xeval.engine.loading import load_fine_tuned, load_pretrained, load_tokenizer
from xeval.support.errors import ModelError

MAX_LENGTH = 96


@pytest.fixture
def folder(checkpoint_of, tmp_path) -> Path:
    """A BERT with a head for the task, which a test may change."""
    return Path(shutil.copytree(checkpoint_of("bert", LABELS), tmp_path / "bert"))


def loaded(folder: Path, name: str | None = None) -> dict[str, torch.Tensor]:
    """The weights that a run would start from."""
    return load_pretrained(find_checkpoint(name or str(folder)), KIND, seed=1).state_dict()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def refusal(folder: Path) -> str:
    """The line with which a run refuses the model."""
    with pytest.raises(ModelError) as refused:
        own = find_checkpoint(str(folder))
        load_tokenizer(own, MAX_LENGTH)
        load_pretrained(own, KIND, seed=1)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def configure(folder: Path, file: str = "config.json", **settings: object) -> None:
    path = folder / file
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(content | settings))


# ── shards ──


def shard(folder: Path, into: str = "") -> list[str]:
    """Replace the one file with two and an index; return the names of the two."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / into).mkdir(exist_ok=True)
    names = [f"{into}model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = {name: names[number % 2] for number, name in enumerate(sorted(tensors))}
    for shard_name in names:
        own = {name: tensors[name] for name, of_shard in index.items() if of_shard == shard_name}
        save_file(own, folder / shard_name, metadata={"format": "pt"})
    write_index(folder, index)
    return names


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize("into", ["", "weights/"])
def test_shards_are_read_and_part_of_the_identity(folder, into):
    whole = loaded(folder)
    names = shard(folder, into)
    assert_same(loaded(folder), whole)
    before = find_checkpoint(str(folder)).sha256
    for name in names:
        tensors = load_file(folder / name)
        save_file({key: tensor + 1 for key, tensor in tensors.items()}, folder / name, metadata={"format": "pt"})
        after = find_checkpoint(str(folder)).sha256
        assert after != before
        before = after


def test_identity_hashes_file_names_and_contents(folder):
    digest = hashlib.sha256()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        digest.update(f"{name}:{hashlib.sha256((folder / name).read_bytes()).hexdigest()};".encode())
    assert find_checkpoint(str(folder)).sha256 == digest.hexdigest()


def test_missing_shard_is_named(folder):
    name = shard(folder)[1]
    (folder / name).unlink()
    assert f"it lacks 1 of 2 files of weights (first {name}); fetch it again" in refusal(folder)


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/tmp/model.safetensors", "a/../../b.safetensors", 3, "C:\\x"]
)
def test_a_shard_outside_of_the_folder_is_refused(folder, name):
    shard(folder)
    write_index(folder, {"bert.pooler.dense.bias": name})
    assert "wanted one in the model's own folder" in refusal(folder)


def test_pickled_shard_is_refused(folder):
    shard(folder)
    write_index(folder, {"bert.pooler.dense.bias": "pytorch_model.bin"})
    assert "index.json names pytorch_model.bin; wanted *.safetensors" in refusal(folder)


@pytest.mark.parametrize(
    ("file", "setting"),
    [
        ("config.json", {"transformers_weights": "../model.safetensors"}),
        ("config.json", {"configuration_files": ["../config.4.0.json"]}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["/tmp/tokenizer.4.0.json"]}),
    ],
)
def test_other_files_outside_of_the_folder_are_refused(folder, file, setting):
    configure(folder, file, **setting)
    assert f"{file} names the file" in refusal(folder)


@pytest.mark.parametrize(
    "setting", [{"vocab": "/elsewhere/vocab.txt"}, {"merges": "merges.txt"}, {"init_inputs": ["/elsewhere/vocab.txt"]}]
)
def test_tokenizer_opening_other_files_is_refused(folder, setting):
    configure(folder, "tokenizer_config.json", **setting)
    assert f"tokenizer_config.json has {next(iter(setting))}, which would be opened as a file" in refusal(folder)


def test_other_files_read_are_part_of_the_identity(folder):
    shutil.copy(folder / "tokenizer.json", folder / "tokenizer.4.0.json")
    configure(folder, "tokenizer_config.json", fast_tokenizer_files=["tokenizer.4.0.json"])
    before = find_checkpoint(str(folder)).sha256
    (folder / "tokenizer.4.0.json").write_text((folder / "tokenizer.json").read_text() + " ")
    assert find_checkpoint(str(folder)).sha256 != before


# ── numbers ──


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_half_precision_is_loaded_as_float32(tmp_path, architecture, dtype):
    folder = make_checkpoint(tmp_path / "half", architecture, LABELS)
    whole = load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict()
    rewrite(folder, lambda tensors: {name: tensor.to(dtype) for name, tensor in tensors.items()})
    configure(folder, dtype=str(dtype).removeprefix("torch."))
    half = load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict()
    assert {tensor.dtype for tensor in half.values() if tensor.is_floating_point()} == {torch.float32}
    assert_same(half, {name: tensor.to(dtype).float() for name, tensor in whole.items()})


def test_quantized_weights_are_refused(folder):
    rewrite(folder, lambda tensors: {n: (100 * t).to(torch.int8) if t.ndim == 2 else t for n, t in tensors.items()})
    assert "are stored as I8" in refusal(folder) and "wanted F32, F16 or BF16" in refusal(folder)


# ── names of tensors ──


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize("with_head", [False, True])
def test_wrapper_prefixes_are_removed(folder, wrapper, with_head):
    def load() -> dict[str, torch.Tensor]:
        return load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict() if with_head else loaded(folder)

    expected = load()
    rewrite(folder, lambda tensors: {wrapper + name: tensor for name, tensor in tensors.items()})
    assert_same(load(), expected)


def test_separately_compiled_module_is_read(folder):
    expected = loaded(folder)
    rewrite(
        folder, lambda t: {n.replace("bert.encoder.", "bert.encoder._orig_mod."): tensor for n, tensor in t.items()}
    )
    assert_same(loaded(folder), expected)


def test_unknown_prefix_is_named(folder):
    n_tensors = len(load_file(folder / "model.safetensors"))
    rewrite(folder, lambda tensors: {"student.net." + name: tensor for name, tensor in tensors.items()})
    assert f"{n_tensors} names in the file begin with student., so save what is inside" in refusal(folder)
    with pytest.raises(ModelError, match=r"begin with student\."):
        load_fine_tuned(find_checkpoint(str(folder)), KIND)


def test_old_names_of_layer_norms_are_read(folder):
    expected = loaded(folder)

    def old(name: str) -> str:
        return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    rewrite(folder, lambda tensors: {old(name): tensor for name, tensor in tensors.items()})
    assert "bert.embeddings.LayerNorm.gamma" in load_file(folder / "model.safetensors")
    assert_same(loaded(folder), expected)


# ── tensors that are left over, missing or of the wrong shape ──


def test_unmerged_low_rank_matrices_are_refused(folder):
    def unmerged(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        beside = {}
        for name, tensor in tensors.items():
            if name.endswith("query.weight"):
                beside[name.replace(".weight", ".lora_A.default.weight")] = tensor[:2].clone()
                beside[name.replace(".weight", ".lora_B.default.weight")] = tensor[:, :2].clone()
        return tensors | beside

    rewrite(folder, unmerged)
    message = refusal(folder)
    assert "4 tensors for which the model has no place (bert.encoder.layer.0.attention.self.query.lora_A" in message
    assert "merge them with peft's merge_and_unload" in message
    with pytest.raises(ModelError, match="4 tensors for which the model has no place"):
        load_fine_tuned(find_checkpoint(str(folder)), KIND)


@pytest.mark.parametrize("bare", [False, True])
def test_more_layers_than_configured_are_refused(folder, bare):
    if bare:
        AutoModelForSequenceClassification.from_pretrained(folder).base_model.save_pretrained(folder)
    configure(folder, num_hidden_layers=1)
    assert re.search(r"16 tensors for which the model has no place \((bert\.)?encoder\.layer\.1\.", refusal(folder))


@pytest.mark.parametrize("other", ["encoder.layer.0.output.dense.bias", "bert.encoder.layer.1.output.LayerNorm.beta"])
def test_two_names_of_one_tensor_must_agree(folder, other):
    name = ("bert." + other.removeprefix("bert.")).replace("beta", "bias")
    rewrite(folder, lambda tensors: tensors | {other: tensors[name].clone()})
    loaded(folder)
    rewrite(folder, lambda tensors: tensors | {other: tensors[name] + 1})
    message = refusal(folder)
    assert name in message and other in message and "are one tensor of the model, with different values" in message


def test_shards_with_conflicting_tensors_are_refused(folder):
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    save_file(tensors, folder / "a.safetensors", {"format": "pt"})
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / "b.safetensors", {"format": "pt"})
    write_index(folder, {name: f"{'ab'[place % 2]}.safetensors" for place, name in enumerate(tensors)})
    message = refusal(folder)
    assert "two of its files have " in message and ", with different values in b.safetensors; remove those" in message


def test_missing_and_unexpected_tensors_are_counted(folder):
    rewrite(folder, lambda t: {n.replace("attention.self.query", "attention.q"): tensor for n, tensor in t.items()})
    message = refusal(folder)
    assert "lack 4 of the encoder's tensors (first bert.encoder.layer.0.attention.self.query.bias)" in message
    assert "they have 4 others instead (bert.encoder.layer.0.attention.q.bias, " in message


def test_unequal_shapes_are_both_named(folder):
    rewrite(folder, lambda t: {n: tensor[:, :8].clone() if "word_emb" in n else tensor for n, tensor in t.items()})
    n_pieces = json.loads((folder / "config.json").read_text())["vocab_size"]
    expected = f"word_embeddings.weight: {n_pieces} × 8 in the weights, {n_pieces} × 32 by config.json"
    assert expected in refusal(folder)
    with pytest.raises(ModelError, match="× 8 in the weights"):
        load_fine_tuned(find_checkpoint(str(folder)), KIND)


@pytest.mark.parametrize("model_type", sorted(TYPES))
def test_the_head_of_pretraining_is_left_out(tmp_path, model_type):
    folder = tiny_checkpoint(tmp_path, model_type)
    config = transformers.AutoConfig.from_pretrained(folder)
    if type(config) not in AutoModelForMaskedLM._model_mapping:
        pytest.skip("transformers has no masked-LM head for it")
    torch.manual_seed(0)
    AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    load_pretrained(find_checkpoint(str(folder)), KIND, seed=1)


@pytest.mark.parametrize(
    "name",
    [
        "cls.seq_relationship.weight",
        "bert.embeddings.position_ids",
        "embeddings.position_ids",
        "bert.embeddings.token_type_ids",
        "bert.encoder.layer.0.attention.rotary_emb.inv_freq",
        "lm_predictions.lm_head.dense.weight",
        "mask_predictions.classifier.bias",
        "qa_outputs.weight",
        "vocab_transform.weight",
    ],
)
def test_known_surplus_tensors_are_ignored(folder, name):
    expected = loaded(folder)
    rewrite(folder, lambda tensors: tensors | {name: torch.ones(3)})
    assert_same(loaded(folder), expected)


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "modernbert", "electra", "distilbert"])
@pytest.mark.parametrize("head", ["TokenClassification", "QuestionAnswering"])
def test_the_head_of_another_task_is_left_out(tmp_path, model_type, head):
    folder = tiny_checkpoint(tmp_path, model_type)
    torch.manual_seed(0)
    config = transformers.AutoConfig.from_pretrained(folder)
    getattr(transformers, f"AutoModelFor{head}").from_config(config).save_pretrained(folder)
    load_pretrained(find_checkpoint(str(folder)), KIND, seed=1)


# ── folders that are something else ──


def test_sentence_transformers_subfolder_is_named(folder, tmp_path):
    outer = tmp_path / "sentences"
    outer.mkdir()
    folder.rename(outer / "0_Transformer")
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}, {"path": "1_Pooling"}]
    (outer / "modules.json").write_text(json.dumps(modules))
    expected = f"a sentence-transformers folder; the encoder is in 0_Transformer: give {outer}/0_Transformer"
    assert expected in refusal(outer)
    find_checkpoint(str(outer / "0_Transformer"))


def test_a_model_one_folder_down_is_named(folder, tmp_path):
    for name in ("checkpoint-100", "checkpoint-200"):
        shutil.copytree(folder, tmp_path / "out" / name)
    message = refusal(tmp_path / "out")
    assert "the encoder is in checkpoint-100 (also checkpoint-200): give" in message


def test_hub_cache_repository_names_its_snapshot(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "models--a--b" / "snapshots" / "abc")
    assert "the encoder is in snapshots/abc: give" in refusal(tmp_path / "models--a--b")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_git_lfs_pointer_is_named(folder, name):
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
    (folder / name).write_text(pointer)
    assert f"{name} is a Git LFS pointer, not the file itself; run git lfs pull" in refusal(folder)


def test_refusal_of_pickles_names_xeval_convert(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    expected = f"pickled ones are not loaded because they can run code. Convert them safely: xeval convert {folder} DIR"
    assert expected in refusal(folder)


def test_misnamed_weights_are_reported(folder):
    (folder / "model.safetensors").rename(folder / "model.fp16.safetensors")
    assert "its weights are called model.fp16.safetensors; transformers reads model.safetensors" in refusal(folder)


def test_weights_of_another_library_are_named(folder):
    (folder / "model.safetensors").rename(folder / "tf_model.h5")
    assert "no *.safetensors weights, found tf_model.h5; save the model again" in refusal(folder)


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "modernbert"])
def test_custom_code_of_known_types_is_not_run(tmp_path, model_type):
    folder = tiny_checkpoint(tmp_path, model_type)
    expected = loaded(folder)
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")
    own = {"AutoConfig": "modeling.C", "AutoModel": "modeling.M", "AutoModelForSequenceClassification": "modeling.M"}
    configure(folder, auto_map=own)
    configure(folder, "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling.T", "modeling.T"]})
    load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    assert_same(loaded(folder), expected)
    assert not (tmp_path / "it-ran").exists()


# ── tokenizers ──


def without_tokenizer(folder: Path) -> Path:
    for path in folder.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.unlink()
    return folder


@pytest.mark.parametrize("model_type", sorted(TYPES))
def test_model_without_tokenizer_files_is_refused(tmp_path, model_type):
    assert "no tokenizer files" in refusal(without_tokenizer(tiny_checkpoint(tmp_path, model_type)))


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "modernbert"])
def test_a_tokenizer_json_alone_is_enough(tmp_path, model_type):
    folder = tiny_checkpoint(tmp_path, model_type)
    expected = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)("small cat", "old house")["input_ids"]
    (folder / "tokenizer_config.json").unlink()
    tokenizer = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    assert tokenizer("small cat", "old house")["input_ids"] == expected


def vocabulary_alone(folder: Path, pieces: list[str], **settings: object) -> Path:
    (without_tokenizer(folder) / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    if settings:
        configure(folder, "tokenizer_config.json", **settings)
    return folder


SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.mark.parametrize(
    ("pieces", "settings", "expected"),
    [
        (["cat", "##s"], {}, [2, 5, 6, 3]),
        (["cat", "##s"], {"do_lower_case": True}, [2, 5, 6, 3]),
        (["Cat", "cat", "##s"], {"do_lower_case": False}, [2, 5, 7, 3]),
    ],
)
def test_vocabulary_alone_is_read_if_unambiguous(folder, pieces, settings, expected):
    own = find_checkpoint(str(vocabulary_alone(folder, [*SPECIAL, *pieces], **settings)))
    assert load_tokenizer(own, MAX_LENGTH)("Cats")["input_ids"] == expected


def test_cased_vocabulary_alone_is_refused(folder):
    message = refusal(vocabulary_alone(folder, [*SPECIAL, "Cat", "cat", "##s"]))
    assert 'write {"do_lower_case": false} into one' in message


def test_a_vocabulary_without_its_merges_is_refused(tmp_path):
    folder = without_tokenizer(tiny_checkpoint(tmp_path, "roberta"))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "ab"]
    (folder / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}))
    assert "no tokenizer files (vocab.json alone is not enough); add those published with it" in refusal(folder)


def sentencepiece_model(pieces: list[tuple[str, int]]) -> bytes:
    """The protocol buffer of a unigram model of (piece, type); type 1 is ordinary, 2 unknown, 3 control."""

    def number(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + number(n >> 7)

    def field(tag: int, content: bytes) -> bytes:
        return number(tag << 3 | 2) + number(len(content)) + content

    def entry(rank: int, piece: str, kind: int) -> bytes:
        return field(1, piece.encode()) + number(2 << 3 | 5) + struct.pack("<f", -rank) + number(3 << 3) + number(kind)

    entries = b"".join(field(1, entry(rank, *piece)) for rank, piece in enumerate(pieces))
    return entries + field(2, number(3 << 3) + number(1)) + field(3, field(1, b"identity"))


def test_sentencepiece_model_is_read_or_names_a_package(tmp_path):
    folder = without_tokenizer(tiny_checkpoint(tmp_path, "xlm-roberta"))
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("▁", 1), ("▁a", 1), ("b", 1), ("▁ab", 1), ("c", 1)]
    (folder / "sentencepiece.bpe.model").write_bytes(sentencepiece_model(pieces))
    own = find_checkpoint(str(folder))
    try:
        import sentencepiece  # noqa: F401
    except ImportError:
        message = "sentencepiece.bpe.model is read only with the packages sentencepiece and protobuf"
        with pytest.raises(ModelError, match=message):
            load_tokenizer(own, MAX_LENGTH)
    else:  # XLM-R's ids begin with <s> <pad> </s> <unk>; those that follow are one above SentencePiece's
        assert load_tokenizer(own, MAX_LENGTH)("ab ac")["input_ids"] == [0, 7, 5, 8, 2]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_added_tokens_with_resized_embeddings_are_read(tmp_path, architecture):
    folder = make_checkpoint(tmp_path / "added", architecture)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    n_before = len(tokenizer)
    tokenizer.add_tokens(["@USER", "HTTPURL"])
    tokenizer.save_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3)
    model.resize_token_embeddings(len(tokenizer))
    model.save_pretrained(folder)
    own = find_checkpoint(str(folder))
    assert {n_before, n_before + 1} <= set(load_tokenizer(own, MAX_LENGTH)("HTTPURL @USER")["input_ids"])
    assert load_pretrained(own, KIND, seed=1).get_input_embeddings().weight.shape[0] == n_before + 2


def test_tokenizer_larger_than_embedding_stops_the_run(command, mini, tmp_path):
    folder = make_checkpoint(tmp_path / "added", "bert")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    n_rows = len(tokenizer)
    tokenizer.add_tokens(["@USER", "HTTPURL"])
    tokenizer.save_pretrained(folder)
    words = [
        "--data",
        mini.data,
        "--language",
        "en",
        "--max-steps",
        "1",
        "--device",
        "cpu",
        "--results",
        tmp_path / "r",
    ]
    code, _, err = command("run", mini.task_file, "--model", folder, *words)
    assert code != 0
    assert f"the tokenizer's ids go up to {n_rows + 1:,}, but the embedding has {n_rows:,} rows" in err


# ── the doctor reports it too ──


def test_doctor_reports_what_a_run_would_refuse(command, mini, folder):
    rewrite(folder, lambda tensors: tensors | {"bert.encoder.layer.9.output.dense.bias": torch.ones(3)})
    words = ["--data", mini.data, "--language", "en", "--device", "cpu", "--no-train"]
    code, out, err = command("doctor", mini.task_file, "--model", folder, *words)
    assert code == 1
    assert "✗ weights: its weights have 1 tensor for which the model has no place" in out + err
