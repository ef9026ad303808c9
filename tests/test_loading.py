"""An encoder under a new head: which weights are loaded, and which are drawn from the seed."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification, PreTrainedModel, logging

from tests.helpers.checkpoints import ARCHITECTURES, LABELS
from tests.helpers.encoder_types import tiny_checkpoint
from tests.helpers.tiny import Mini, make_checkpoint
from xeval.data.model_files import find_checkpoint
from xeval.engine.loading import failures_named, load_encoder, load_pretrained, load_tokenizer
from xeval.kinds.retrieval import RetrievalKeys, SentenceRetrieval
from xeval.results.store import load_runs
from xeval.support.errors import ModelError

HEADS = {
    "the task's own": LABELS,
    "the task's in another order": LABELS[::-1],
    "sentiment": ("negative", "neutral", "positive"),
    "of two labels": ("no", "yes"),
}


@pytest.fixture(params=ARCHITECTURES)
def architecture(request) -> str:
    return request.param


def weights_from(folder: Path, mini: Mini, seed: int) -> dict[str, torch.Tensor]:
    model = load_pretrained(find_checkpoint(str(folder)), mini.task.of_kind, seed)
    assert model.config.id2label == dict(enumerate(LABELS))
    return model.state_dict()


@pytest.mark.parametrize("labels", HEADS.values(), ids=HEADS)
def test_checkpoint_head_is_replaced_by_a_fresh_one(tmp_path, mini, architecture, labels):
    """All weights are what a checkpoint without a head would give."""
    with_head = make_checkpoint(tmp_path / "with", architecture, labels)
    without = tmp_path / "without"
    AutoModelForSequenceClassification.from_pretrained(with_head).base_model.save_pretrained(without)
    for seed in (1, 2):
        drawn, expected = weights_from(with_head, mini, seed), weights_from(without, mini, seed)
        assert [name for name in expected if not torch.equal(drawn[name], expected[name])] == []


def test_seeds_change_the_head_but_not_the_encoder(tmp_path, mini, architecture):
    folder = make_checkpoint(tmp_path / "with", architecture, LABELS)
    one, other = weights_from(folder, mini, 1), weights_from(folder, mini, 2)
    differ = {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}
    heads = {"bert": {"classifier"}, "distilbert": {"pre_classifier", "classifier"}, "xlm-roberta": {"classifier"}}
    assert differ == heads[architecture]


@pytest.mark.parametrize("labels", [None, LABELS, ("no", "yes")], ids=["none", "the task's own", "of two labels"])
def test_run_reports_and_records_a_discarded_head(command, mini, tmp_path, architecture, labels):
    folder = make_checkpoint(tmp_path / "model", architecture, labels or LABELS)
    if labels is None:
        AutoModelForSequenceClassification.from_pretrained(folder).base_model.save_pretrained(folder)
    words = ["run", mini.task_file, "--model", folder, "--data", mini.data, "--max-steps", "1", "--seed", "7"]
    code, _, err = command(*words, "--language", "en", "--results", tmp_path / "results")
    assert code == 0
    said = "the checkpoint's own head is left out, and a new one drawn from seed 7"
    [run] = load_runs(tmp_path / "results")
    assert (said in err, run.record.training.left_out_head) == (labels is not None,) * 2


def test_parallel_loads_draw_the_heads_of_their_seeds(tmp_path, mini, monkeypatch):
    """transformers patches its own functions while it loads; afterwards they must be the originals again."""
    folder = make_checkpoint(tmp_path / "with", "bert", LABELS)
    alone = {seed: weights_from(folder, mini, seed) for seed in (1, 2, 3)}
    usual, tie_weights = BertForSequenceClassification.__init__, PreTrainedModel.tie_weights
    monkeypatch.setattr(PreTrainedModel, "tie_weights", tie_weights)  # restored for other tests even if this one fails

    def slow(*arguments, **options) -> None:
        time.sleep(0.02)  # time for another thread to start
        usual(*arguments, **options)
        time.sleep(0.02)

    monkeypatch.setattr(BertForSequenceClassification, "__init__", slow)
    with ThreadPoolExecutor() as threads:
        together = dict(zip(alone, threads.map(lambda seed: weights_from(folder, mini, seed), alone), strict=True))
    assert PreTrainedModel.tie_weights is tie_weights
    for seed, weights in alone.items():
        assert [name for name in weights if not torch.equal(weights[name], together[seed][name])] == []


def test_transformers_is_silent_until_the_last_thread_ends(tmp_path):
    own = find_checkpoint(str(make_checkpoint(tmp_path / "own", "bert")))
    usual = logging.get_verbosity()
    both_silence, ends = threading.Barrier(3, timeout=20), (threading.Event(), threading.Event())

    def silence(end: threading.Event) -> None:
        with failures_named(own, "it fails"):
            both_silence.wait()
            end.wait(20)

    with ThreadPoolExecutor() as threads:
        first, second = (threads.submit(silence, end) for end in ends)
        both_silence.wait()
        ends[0].set()
        first.result()
        in_between = logging.get_verbosity(), logging.is_progress_bar_enabled()
        ends[1].set()
        second.result()
    assert in_between == (logging.ERROR, False) and usual != logging.ERROR
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == (usual, True)


def test_tokenizer_is_cached_until_its_files_change(tmp_path):
    folder = make_checkpoint(tmp_path / "own", "bert")
    first = load_tokenizer(find_checkpoint(str(folder)), 48)
    assert load_tokenizer(find_checkpoint(str(folder)), 32) is first
    settings = folder / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"truncation_side": "left"}))
    second = load_tokenizer(find_checkpoint(str(folder)), 48)
    assert (first.truncation_side, second.truncation_side) == ("right", "left")


def test_tokenizer_changed_during_a_command_is_refused(tmp_path):
    folder = make_checkpoint(tmp_path / "own", "bert")
    own = find_checkpoint(str(folder))
    load_tokenizer(own, 48)
    (folder / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer_config\.json has changed since this command started"):
        load_tokenizer(own, 48)


def test_threads_share_no_tokenizer(tmp_path):
    own = find_checkpoint(str(make_checkpoint(tmp_path / "own", "bert")))
    with ThreadPoolExecutor(1) as other:
        assert other.submit(load_tokenizer, own, 48).result() is not load_tokenizer(own, 48)


def test_lack_of_memory_comes_with_advice(tmp_path):
    own = find_checkpoint(str(make_checkpoint(tmp_path / "own", "bert")))
    message = r"^model .*: it fails on these rows \(OutOfMemoryError: .*; free memory, "
    with pytest.raises(ModelError, match=message), failures_named(own, "it fails on these rows"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_hidden_files_are_not_part_of_a_checkpoint(tmp_path):
    folder = make_checkpoint(tmp_path / "own", "bert")
    before = find_checkpoint(str(folder))
    for name in ("model.safetensors", "sentencepiece.bpe.model"):
        (folder / f"._{name}").write_bytes(b"\x00\x05\x16\x07\xb0")
    assert find_checkpoint(str(folder)) == before


def test_projection_of_narrow_embeddings_belongs_to_the_encoder(tmp_path):
    folder = tiny_checkpoint(tmp_path / "own", "electra")
    tensors = load_file(folder / "model.safetensors")
    save_file(
        {name: t for name, t in tensors.items() if "embeddings_project" not in name}, folder / "model.safetensors"
    )
    with pytest.raises(ModelError, match=r"lack 2 of the encoder's tensors \(first embeddings_project\.bias\)"):
        load_encoder(find_checkpoint(str(folder)), SentenceRetrieval(RetrievalKeys()))
