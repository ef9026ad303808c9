"""`xeval convert`: pickled weights become the same numbers in safetensors, and other pickles are refused."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMaskedLM

from tests.helpers.encoder_types import TYPES, tiny_checkpoint, tiny_config
from xeval.data.model_files import find_checkpoint, find_pickled
from xeval.engine.convert import SAMPLES, convert
from xeval.engine.loading import load_masked_lm, load_tokenizer, tied_tensors
from xeval.engine.unpickle import RefusedError, rewrite
from xeval.results.store import load_runs
from xeval.support.errors import ModelError

WEIGHTS = "pytorch_model.bin"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A BERT with a masked-LM head whose decoder is tied to the embedding. Tests must not change it."""
    folder, tokenizer = tmp_path_factory.mktemp("bert"), TYPES["bert"][0]()
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(tiny_config("bert", tokenizer))
    model.config.architectures = ["BertForMaskedLM"]
    model.config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    torch.save(model.state_dict(), folder / WEIGHTS)
    return folder, model.state_dict()


@pytest.fixture
def pickled(made, tmp_path) -> Path:
    """A copy of it that a test may change."""
    return Path(shutil.copytree(made[0], tmp_path / "pickled"))


class Fires:
    """Makes a folder when it is unpickled in the usual way."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


# ── the numbers ──


@pytest.mark.parametrize(
    "archive",
    [pytest.param(True, id="archive"), pytest.param(False, id="before torch 1.6", marks=pytest.mark.slow)],
)
def test_converted_weights_are_identical_and_load(command, made, pickled, tmp_path, archive):
    tensors = made[1]
    torch.save(tensors, pickled / WEIGHTS, _use_new_zipfile_serialization=archive)
    out = tmp_path / "out"
    code, said, err = command("convert", pickled, out)
    assert (code, err) == (0, "")
    assert said.endswith(f"Use it with: --model {out}\n")
    written = load_file(out / "model.safetensors")
    tied = tied_tensors(find_checkpoint(str(out)))
    assert set(tensors) - set(written) == {name for name in tied if name in tensors} != set()
    assert all(torch.equal(written[name], tensors[name]) for name in written)
    checkpoint = find_checkpoint(str(out))
    model, tokenizer = load_masked_lm(checkpoint), load_tokenizer(checkpoint, 96)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in tensors.items())
    assert tokenizer.tokenize("the cat") == TYPES["bert"][0]().tokenize("the cat")
    assert {path.name for path in tmp_path.iterdir()} == {"pickled", "out"}


def test_run_accepts_the_converted_folder(command, mini, pickled, tmp_path):
    assert command("convert", pickled, tmp_path / "out")[0] == 0
    words = ("--data", mini.data, "--language", "en", "--max-steps", 1, "--device", "cpu", "--quiet")
    results = ("--results", tmp_path / "results")
    code, _, err = command("run", mini.task_file, "--model", tmp_path / "out", *words, *results)
    assert (code, err) == (0, "")
    [run] = load_runs(tmp_path / "results")
    assert run.record.status == "complete" and run.record.scores.keys() == {"en"}


def in_two(pickled: Path, tensors: dict[str, torch.Tensor]) -> None:
    (pickled / WEIGHTS).unlink()
    names, files = sorted(tensors), [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    for number, file in enumerate(files):
        torch.save({name: tensors[name] for name in names[number::2]}, pickled / file)
    index = {"weight_map": {name: files[number % 2] for number, name in enumerate(names)}}
    (pickled / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def test_shards_are_read_by_their_index(made, pickled, tmp_path):
    in_two(pickled, made[1])
    torch.save({"stray": torch.ones(1)}, pickled / "pytorch_model-stray.bin")
    files = find_pickled(str(pickled)).pickles
    assert [file.name for file in files] == [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    assert rewrite(files, tmp_path, {}) == len(made[1])
    written = load_file(tmp_path / "model.safetensors")
    assert written.keys() == made[1].keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in made[1].items())


def test_missing_shard_is_named(made, pickled):
    in_two(pickled, made[1])
    (pickled / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(ModelError, match=r"names pytorch_model-00002-of-00002\.bin, which is not there"):
        find_pickled(str(pickled))


def test_index_cannot_lead_out_of_the_folder(made, pickled):
    in_two(pickled, made[1])
    (pickled / f"{WEIGHTS}.index.json").write_text('{"weight_map": {"a": "../secret.bin"}}')
    with pytest.raises(ModelError, match="wanted one in the model's own folder"):
        find_pickled(str(pickled))


def test_tensors_sharing_memory_are_kept_unless_tied(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    tensors = {"part": whole[1:], "whole": whole, "transposed": whole.T, "twin": whole, "half": torch.ones(2).half()}
    torch.save(tensors, tmp_path / WEIGHTS)
    (tmp_path / "all").mkdir()
    (tmp_path / "tied").mkdir()
    rewrite([tmp_path / WEIGHTS], tmp_path / "all", {})
    written = load_file(tmp_path / "all" / "model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in tensors.items())
    assert written["half"].dtype == torch.float16
    rewrite([tmp_path / WEIGHTS], tmp_path / "tied", {"twin": "whole", "part": "whole"})
    assert load_file(tmp_path / "tied" / "model.safetensors").keys() == tensors.keys() - {"twin"}


def test_many_views_of_one_tensor_are_refused(tmp_path):
    whole = torch.zeros(1000)
    torch.save({str(number): whole[:999] for number in range(100)}, tmp_path / WEIGHTS)
    with pytest.raises(RefusedError, match="its tensors have 399,600 bytes, but the files only"):
        rewrite([tmp_path / WEIGHTS], tmp_path / "out", {})


# ── what is refused ──


def test_pickle_that_runs_code_is_refused_and_never_run(command, pickled, tmp_path):
    mark = tmp_path / "fired"
    torch.save({"weight": torch.ones(2), "other": Fires(mark)}, pickled / WEIGHTS)
    torch.load(pickled / WEIGHTS, weights_only=False)
    assert mark.exists(), "the test's own pickle should work"
    mark.rmdir()
    code, out, err = command("convert", pickled, tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"{WEIGHTS} holds more than numbers (posix.mkdir), which could run code; it is not converted" in err
    assert {path.name for path in tmp_path.iterdir()} == {"pickled"}


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_truncated_weights_are_refused(made, tmp_path, archive, share):
    torch.save(made[1], tmp_path / WEIGHTS, _use_new_zipfile_serialization=archive)
    content = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(content[: int(share * len(content))])
    with pytest.raises(RefusedError, match=f"{WEIGHTS} cannot be read as weights"):
        rewrite([tmp_path / WEIGHTS], tmp_path / "out", {})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {"a": torch.ones(2)}}, "holds dict under 'state_dict'; wanted tensors by name"),
        ({"epoch": 3}, "holds int under 'epoch'"),
        ([torch.ones(2)], "holds no tensors by name"),
        ({}, "holds no tensors by name"),
        ({"a": torch.ones(1).expand(10**12)}, "'a' is larger than what is stored of it"),
        ({"a": torch.eye(2).to_sparse()}, "'a', which is not a plain tensor"),
    ],
    ids=["nested", "other values", "list", "empty", "inflated", "sparse"],
)
def test_other_content_than_plain_tensors_is_refused(tmp_path, content, said):
    torch.save(content, tmp_path / WEIGHTS)
    with pytest.raises(RefusedError) as refused:
        rewrite([tmp_path / WEIGHTS], tmp_path / "out", {})
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "attempt",
    [
        "import socket; socket.create_connection(('127.0.0.1', 9))",
        *(
            pytest.param(attempt, marks=pytest.mark.slow)
            for attempt in ("import os; os.system('true')", "import subprocess; subprocess.run(['true'])")
        ),
        "import os; os.fork()",
        "import pickle; pickle.loads(b'cposix\\nsystem\\n.')",
    ],
)
def test_audit_hook_blocks_network_and_programs(attempt):
    program = f"import sys, xeval.engine.unpickle as u\nsys.addaudithook(u.forbid)\n{attempt}\nprint('done')"
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert process.returncode == 1 and "done" not in process.stdout
    assert "RefusedError: its weights asked for" in process.stderr


def test_non_empty_output_folder_is_left_alone(command, pickled, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    code, _, err = command("convert", pickled, tmp_path / "out")
    assert code == 2 and "wanted a new or empty folder to write to, found something there; name another" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["mini-mbert", "./nowhere", "mbrt"])
def test_names_without_pickles_are_refused_in_one_line(command, tmp_path, name):
    code, out, err = command("convert", name, tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "out").exists()


def test_what_needs_no_conversion_is_refused(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m", "bert")
    with pytest.raises(ModelError, match=r"has safetensors and a tokenizer\.json, and needs no conversion"):
        convert(find_pickled(str(folder)), tmp_path / "out")


# ── tokenizers ──


def vocabulary_alone(folder: Path, **settings: object) -> Path:
    """Make a checkpoint whose tokenizer is only vocab.txt, with these settings."""
    tiny_checkpoint(folder, "bert")
    tokenizer = TYPES["bert"][0]()
    pieces = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **settings}))
    return folder


def test_tokenizer_is_made_from_vocab_txt(tmp_path):
    folder = vocabulary_alone(tmp_path / "m", do_lower_case=False)
    made = convert(find_pickled(str(folder)), tmp_path / "out")
    assert (made.n_tensors, made.made_tokenizer) == (None, True)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    text = "die Katze, sieht 小猫"
    again = load_tokenizer(find_checkpoint(str(tmp_path / "out")), 96)
    assert (tmp_path / "out" / "tokenizer.json").is_file()
    assert again(text)["input_ids"] == TYPES["bert"][0]()(text)["input_ids"]


def test_tokenizer_that_might_lower_case_is_not_made(tmp_path):
    folder = vocabulary_alone(tmp_path / "m")
    with pytest.raises(ModelError, match="nothing says that the tokenizer keeps them"):
        convert(find_pickled(str(folder)), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"m"}


def test_a_tokenizer_without_files_is_not_made(tmp_path):
    folder = tiny_checkpoint(tmp_path / "m", "bert")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="tokenizer"):
        convert(find_pickled(str(folder)), tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"m"}


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory) -> Path:
    """A SentencePiece model of SAMPLES' own text, made as for XLM-R."""
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    folder = tmp_path_factory.mktemp("sentencepiece")
    (folder / "text").write_text("\n".join(SAMPLES[:6]), encoding="utf-8")
    trainer.train(
        input=str(folder / "text"),
        model_prefix=str(folder / "sentencepiece.bpe"),
        vocab_size=200,
        hard_vocab_limit=False,
        character_coverage=1.0,
        bos_id=1,
        eos_id=2,
        unk_id=0,
        minloglevel=2,
    )
    return folder / "sentencepiece.bpe.model"


def test_tokenizer_is_made_from_a_sentencepiece_model(sentencepiece_model, tmp_path):
    folder = tiny_checkpoint(tmp_path / "m", "xlm-roberta")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    shutil.copyfile(sentencepiece_model, folder / "sentencepiece.bpe.model")
    made = convert(find_pickled(str(folder)), tmp_path / "out")
    assert made.made_tokenizer
    processor = pytest.importorskip("sentencepiece").SentencePieceProcessor(model_file=str(sentencepiece_model))
    ids = load_tokenizer(find_checkpoint(str(tmp_path / "out")), 96)(SAMPLES[0])["input_ids"]
    assert ids == [0, *(piece + 1 for piece in processor.encode(SAMPLES[0])), 2]  # fairseq's numbering
