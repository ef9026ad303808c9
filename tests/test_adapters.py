"""PEFT adapters are merged into their base as PEFT does, or refused in one line; their code is never run."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from tests.helpers.checkpoints import ARCHITECTURES, KIND, LABELS
from tests.helpers.tiny import make_checkpoint
from xeval.data.model_files import find_checkpoint
from xeval.definitions.registry import get_task
from xeval.engine.loading import load_encoder, load_fine_tuned, load_pretrained, load_tokenizer
from xeval.support.errors import ModelError

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # PEFT's call
LAYERS = ["query", "value", "q_lin", "v_lin"]


def make_adapter(folder: Path, base: Path, seed: int = 5, labels: tuple[str, ...] = LABELS, **settings) -> dict:
    """Save a trained adapter of `base` with its head, as PEFT does; return the weights of both as PEFT merges them."""
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
    config = {"r": 4, "lora_alpha": 6, "target_modules": LAYERS, "task_type": "SEQ_CLS"} | settings
    adapted = peft.get_peft_model(model, peft.LoraConfig(**config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    adapted.save_pretrained(folder)
    if labels:
        names = {"id2label": dict(enumerate(labels)), "hidden_size": 3}
        (folder / "config.json").write_text(json.dumps(names))
    return {name: tensor.clone() for name, tensor in adapted.merge_and_unload().state_dict().items()}


def set_key(folder: Path, **values: object) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.fixture
def base(checkpoint_of) -> Path:
    return checkpoint_of("bert")


@pytest.fixture
def folder(base, tmp_path) -> Path:
    make_adapter(tmp_path / "lora", base)
    return tmp_path / "lora"


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(tensor, other[name], atol=1e-6, rtol=0)


def refusal(folder: Path) -> str:
    with pytest.raises(ModelError) as refused:
        own = find_checkpoint(str(folder))
        load_tokenizer(own, 48)
        load_fine_tuned(own, KIND)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ── read ──


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"layer.1.attention": 2}, "alpha_pattern": {"layer.0.attention": 11}},
        {"bias": "lora_only"},
        {"bias": "all"},
        {"init_lora_weights": "gaussian"},
        {"target_modules": ["query", "key", "intermediate.dense", "q_lin", "lin1"]},
    ],
    ids=lambda settings: " ".join(settings) or "plain",
)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_base_and_adapter_are_merged_as_by_peft(checkpoint_of, tmp_path, architecture, settings):
    for pattern in ("rank_pattern", "alpha_pattern"):
        if pattern in settings:  # PEFT matches the ends of whole names
            ends = ("query", "value") if architecture != "distilbert" else ("q_lin", "v_lin")
            [(start, value)] = settings[pattern].items()
            between = "self." if architecture != "distilbert" else ""
            settings = settings | {pattern: {f"{start}.{between}{end}": value for end in ends}}
    expected = make_adapter(tmp_path / "lora", checkpoint_of(architecture), **settings)
    model = load_fine_tuned(find_checkpoint(str(tmp_path / "lora")), KIND)
    assert_same(model.state_dict(), expected)
    assert tuple(model.config.id2label.values()) == LABELS


def test_training_starts_from_the_merged_encoder(folder, base):
    expected, own = load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict(), find_checkpoint(str(folder))
    model, another = load_pretrained(own, KIND, seed=1), load_pretrained(own, KIND, seed=2)  # each with a new head
    of_encoder = {name: tensor for name, tensor in model.state_dict().items() if name.startswith("bert.")}
    assert_same(of_encoder, {name: expected[name] for name in of_encoder})
    assert not torch.equal(model.classifier.weight, expected["classifier.weight"])
    assert not torch.equal(model.classifier.weight, another.classifier.weight)
    alone = load_encoder(own, get_task("tatoeba").of_kind).state_dict()
    assert_same({f"bert.{name}": tensor for name, tensor in alone.items()}, of_encoder)


def test_an_adapter_of_an_encoder_alone_is_read(base, tmp_path):
    encoder = AutoModelForSequenceClassification.from_pretrained(base).base_model
    adapted = peft.get_peft_model(encoder, peft.LoraConfig(target_modules=LAYERS, init_lora_weights=False))
    adapted.save_pretrained(tmp_path / "lora")
    expected = adapted.merge_and_unload().state_dict()
    model = load_pretrained(find_checkpoint(str(tmp_path / "lora")), KIND, 0)
    assert_same(model.bert.state_dict(), expected)
    assert "it has no trained head for this task; xeval run trains one" in refusal(tmp_path / "lora")


def test_half_precision_is_merged_in_float32(folder, base):
    path = folder / "adapter_model.safetensors"
    halves = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(halves, path)
    half = load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict()
    save_file({name: tensor.float() for name, tensor in halves.items()}, path)
    assert_same(half, load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict())


def test_adapters_tokenizer_comes_before_the_bases(folder, base):
    assert find_checkpoint(str(folder)).tokenizer_folder == base
    for path in base.glob("tokenizer*"):
        shutil.copy(path, folder)
    own = find_checkpoint(str(folder))
    assert own.tokenizer_folder == folder
    texts = "small cat", "old house"
    expected = load_tokenizer(find_checkpoint(str(base)), 48)(*texts)["input_ids"]
    assert load_tokenizer(own, 48)(*texts)["input_ids"] == expected


def test_labels_without_names_are_not_guessed(folder):
    (folder / "config.json").unlink()
    assert "its labels are LABEL_0, LABEL_1, LABEL_2; wanted entailment" in refusal(folder)


def test_head_for_other_labels_is_not_used(base, tmp_path):
    make_adapter(tmp_path / "lora", base, labels=("yes", "no"))
    assert "its labels are yes, no; wanted entailment" in refusal(tmp_path / "lora")
    load_pretrained(find_checkpoint(str(tmp_path / "lora")), KIND, 0)


# ── the base ──


def test_base_may_be_a_folder_next_to_the_adapter(folder, base, tmp_path):
    shutil.copytree(base, tmp_path / "base")
    expected = find_checkpoint(str(folder)).sha256
    set_key(folder, base_model_name_or_path="../base")
    assert find_checkpoint(str(folder)).sha256 == expected, "wherever it is, it has the same content"


def test_base_may_be_a_bundled_model(folder):
    set_key(folder, base_model_name_or_path="mini-mbert")
    assert find_checkpoint(str(folder)).base.id == "mini-mbert"


def test_base_may_be_a_revision_on_the_hub(folder, base, monkeypatch):
    asked = []

    def fetch(kind, repo_id, revision, patterns):
        asked.append((kind, repo_id, revision))
        return base, "c" * 40

    monkeypatch.setattr("xeval.data.model_files.fetch", fetch)
    local = find_checkpoint(str(folder)).sha256
    set_key(folder, base_model_name_or_path="bert-base-multilingual-cased", revision="v1")
    assert find_checkpoint(str(folder)).sha256 == local
    assert asked == [("model", "google-bert/bert-base-multilingual-cased", "v1")]


def test_missing_base_is_named_with_advice(folder):
    set_key(folder, base_model_name_or_path="google-bert/bert-base-multilingual-cased")
    message = refusal(folder)
    assert "PEFT adapter of google-bert/bert-base-multilingual-cased, its base: " in message
    assert "the hub cannot be reached" in message and "base_model_name_or_path" in message
    set_key(folder, base_model_name_or_path="/home/somebody/bert")
    assert "PEFT adapter of /home/somebody/bert, its base: " in refusal(folder)


def test_adapter_of_an_adapter_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "outer")
    for base in (str(folder), "../outer"):
        set_key(tmp_path / "outer", base_model_name_or_path=base)
        assert "a PEFT adapter itself, wanted a model with all its weights" in refusal(tmp_path / "outer")


def test_base_and_adapter_are_both_part_of_the_identity(folder, base, tmp_path):
    hashes = {find_checkpoint(str(folder)).sha256, find_checkpoint(str(base)).sha256}
    other = make_checkpoint(tmp_path / "other", "bert", LABELS)
    set_key(folder, base_model_name_or_path=str(other))
    hashes.add(find_checkpoint(str(folder)).sha256)
    set_key(folder, lora_alpha=7)
    hashes.add(find_checkpoint(str(folder)).sha256)
    path = folder / "adapter_model.safetensors"
    save_file({name: 2 * tensor for name, tensor in load_file(path).items()}, path)
    hashes.add(find_checkpoint(str(folder)).sha256)
    assert len(hashes) == 5


# ── refused ──


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"peft_type": "IA3"}, "by IA3; only plain LoRA is read, so merge it first with peft's merge_and_unload"),
        ({"peft_type": None}, "by an unnamed method"),
        ({"use_dora": True}, "by LoRA with use_dora"),
        ({"init_lora_weights": "pissa"}, "by LoRA initialised with pissa"),
        ({"lora_alpha": "8"}, "wanted numbers above 0 for lora_alpha"),
        ({"lora_alpha": float("nan")}, "wanted numbers above 0 for lora_alpha"),
        ({"alpha_pattern": {"(a+)+$": 2}}, "alpha_pattern has '(a+)+$', wanted names of modules"),
        ({"base_model_name_or_path": None}, "PEFT adapter of an unnamed model"),
        ({"base_model_name_or_path": None, "model_name": "x"}, "PEFT adapter of x; wanted base_model_name_or_path"),
    ],
)
def test_other_methods_than_plain_lora_are_refused(folder, settings, expected):
    set_key(folder, **settings)
    assert expected in refusal(folder)


def rewrite(folder: Path, change) -> None:
    path = folder / "adapter_model.safetensors"
    save_file(change(load_file(path)), path)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda t: {n: v for n, v in t.items() if "lora" not in n},
            "wants pairs of matrices lora_A and lora_B, got none",
        ),
        (lambda t: {n: v for n, v in t.items() if "lora_A" not in n}, "wants pairs of matrices"),
        (lambda t: {n.replace("layer.1", "layer.9"): v for n, v in t.items()}, "2 of its tensors have no place"),
        (lambda t: {n: v[:, :3].clone() if "lora_A" in n else v for n, v in t.items()}, "the base has 32 × 32"),
        (
            lambda t: {n: v[:3].clone() if "lora_A" in n else v for n, v in t.items()},
            "it was trained with another base",
        ),
        (lambda t: t | {"base_model.model.bert.encoder.layer.0.x.lora_magnitude_vector": torch.ones(3)}, "no place"),
        (lambda t: {n: v.to(torch.int8) for n, v in t.items()}, "are stored as I8"),
    ],
    ids=["no matrices", "half of them", "another layer", "narrower", "of two ranks", "more than LoRA", "integers"],
)
def test_tensors_that_do_not_fit_are_refused(folder, change, expected):
    rewrite(folder, change)
    assert re.search(expected.replace("(", r"\("), refusal(folder))


def test_a_damaged_file_is_refused(folder):
    (folder / "adapter_model.safetensors").write_bytes(b"\xff" * 100)
    assert "adapter_model.safetensors cannot be read" in refusal(folder)


def test_refusal_of_pickled_weights_gives_a_working_command(folder, monkeypatch):
    expected = load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict()
    tensors = load_file(folder / "adapter_model.safetensors")
    torch.save(tensors, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    message = refusal(folder)
    assert "its weights are pickled, and pickles are not loaded because they can run code. Convert them" in message
    program = message.partition('python -c "')[2].rstrip('"')
    monkeypatch.chdir(folder)
    exec(program, {})
    assert_same(load_fine_tuned(find_checkpoint("."), KIND).state_dict(), expected)


def test_an_adapter_without_weights_is_refused(folder):
    (folder / "adapter_model.safetensors").unlink()
    assert "no adapter_model.safetensors next to adapter_config.json; fetch it again" in refusal(folder)


def test_code_that_an_adapter_names_is_not_run(folder, tmp_path):
    (folder / "modeling.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")
    set_key(folder, auto_mapping={"base_model_class": "M", "parent_library": "modeling"}, auto_map={"A": "modeling.M"})
    (folder / "config.json").write_text(
        json.dumps(
            {"id2label": dict(enumerate(LABELS)), "auto_map": {"AutoConfig": "modeling.C"}, "vocab_size": 10**12}
        )
    )
    load_fine_tuned(find_checkpoint(str(folder)), KIND)
    assert not (tmp_path / "it-ran").exists()


# ── on the command line ──


def test_run_evaluates_or_trains_an_adapter(command, mini, folder, tmp_path):
    base = ["run", mini.task_file, "--model", folder, "--data", mini.data, "--language", "en", "--device", "cpu"]
    base += ["--results", tmp_path / "r"]
    code, out, err = command(*base, "--no-train")
    assert code == 0, err
    assert "lora" in out and "no-train" in out
    code, out, err = command(*base, "--max-steps", "1")
    assert code == 0, err


def test_doctor_reads_the_labels_of_an_adapter(command, mini, folder):
    words = ["--data", mini.data, "--language", "en", "--device", "cpu", "--no-train"]
    code, out, err = command("doctor", mini.task_file, "--model", folder, *words)
    assert code == 0 and "✓ labels of the head: entailment" in out + err


def test_labels_without_a_number_are_left_out(folder):
    own = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    own["id2label"] |= {"9" * 5000: "neutral", "²": "neutral"}
    (folder / "config.json").write_text(json.dumps(own), encoding="utf-8")
    assert list(find_checkpoint(str(folder)).adapter.labels) == [0, 1, 2]


def test_matrices_in_a_base_models_own_head_are_merged(checkpoint_of, tmp_path):
    base, folder = shutil.copytree(checkpoint_of("xlm-roberta"), tmp_path / "base"), tmp_path / "lora"
    torch.manual_seed(3)
    AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=len(LABELS), id2label=dict(enumerate(LABELS))
    ).save_pretrained(base)
    expected = make_adapter(folder, base, task_type=None, target_modules=["query", "classifier.dense"])
    head = "classifier.dense.weight"
    assert not torch.equal(expected[head], load_file(base / "model.safetensors")[head])
    assert_same(load_fine_tuned(find_checkpoint(str(folder)), KIND).state_dict(), expected)
