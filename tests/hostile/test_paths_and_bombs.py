"""No name makes xeval write outside the results and cache folders, and no small file fills the memory."""

import hashlib
import json
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from malformed import RECIPE

from tests.helpers import tiny
from tests.helpers.sample_record import run_record
from tests.helpers.stand_in_hub import Answer, serve
from xeval.results.store import save_record

WAYS_OUT = [
    *("../out", "../../../out", "..", ".", "/out", "//out", "a/../../out", "./../out"),
    *("..\\out", "C:\\out", "~/out", "~root", "%2e%2e/out", "..%2fout", "a\0b", "out\n", "\u2025/out", "-out"),
]


def snapshot(folder: Path) -> dict[str, str]:
    """The paths under `folder`, each file with the hash of its content; results and caches are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(("here/results", "caches")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return found


@pytest.fixture
def nothing_outside(tmp_path, command, monkeypatch) -> Iterator[Path]:
    """Call it when all files are in place: from then on, the test may change only results and caches."""
    for name in ("XEVAL_CACHE", "HF_HOME", "TMPDIR"):
        (tmp_path / "caches" / name).mkdir(parents=True)
        monkeypatch.setenv(name, str(tmp_path / "caches" / name))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "caches" / "HF_HOME" / "hub"))
    state: dict[str, dict[str, str]] = {}
    yield lambda: state.update(before=snapshot(tmp_path)) or tmp_path
    assert snapshot(tmp_path) == state["before"]
    assert not Path("/out").exists()


def is_one_line(answer) -> None:
    assert answer.code == 2
    assert answer.err.startswith("xeval: ") and answer.err.count("\n") == 1


TASK_PLACES: dict[str, Callable[[str, str], str]] = {
    "task name": lambda text, way: text.replace('"mini-pairs"', way, 1),
    "language": lambda text, way: text.replace('"es"', way, 1),
    "hub id": lambda text, way: text + f'\n[hub]\nid = {way}\nrevision = "{"0" * 40}"\n',
    "configuration": lambda text, way: (
        text + f'\n[hub]\nid = "a/b"\nrevision = "{"0" * 40}"\n[hub.configurations]\nes = {way}\n'
    ),
    "split": lambda text, way: text + f"\n[splits]\ntest = {way}\n",
    "column": lambda text, way: text + f"\n[columns]\npremise = {way}\n",
    "recipe of a task": lambda text, way: text.replace('"hf-2019"', way, 1),
}


@pytest.mark.parametrize("way", WAYS_OUT, ids=ascii)
@pytest.mark.parametrize("place", TASK_PLACES)
def test_path_traversal_in_a_task_is_refused(command, nothing_outside, mini, tmp_path, place, way):
    (tmp_path / "task.toml").write_text(TASK_PLACES[place](tiny.TASK_TOML, json.dumps(way)))
    nothing_outside()
    is_one_line(command("run", tmp_path / "task.toml", "--model", "mini-mbert", "--data", mini.data))


@pytest.mark.parametrize("way", WAYS_OUT, ids=ascii)
def test_path_traversal_in_a_recipe_name_is_refused(command, nothing_outside, mini, tmp_path, way):
    (tmp_path / "recipe.toml").write_text(RECIPE.replace('"brief"', json.dumps(way)))
    nothing_outside()
    words = ["run", mini.task_file, "--model", "mini-mbert", "--data", mini.data, "--recipe", tmp_path / "recipe.toml"]
    is_one_line(command(*words))


@pytest.mark.parametrize("way", [way for way in WAYS_OUT if "\0" not in way], ids=ascii)
@pytest.mark.parametrize("option", ["--model", "--language", "--device"])
def test_path_traversal_in_options_is_refused(command, nothing_outside, mini, option, way):
    nothing_outside()
    words = ["run", mini.task_file, "--model", "mini-mbert", "--data", mini.data, "--no-train"]
    is_one_line(command(*words, f"{option}={way}"))


FOLDER_NAMES = ["..model", "...", " ", "-rf", "a\nb", "\x1b[31m", "~root", "C:\\x", "模型", "a;b", "%2e%2e"]


@pytest.mark.parametrize("name", FOLDER_NAMES)
def test_odd_model_folder_names_stay_within_results(command, nothing_outside, mini, checkpoint_of, tmp_path, name):
    model = shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "models" / name)
    nothing_outside()
    words = ["--data", mini.data, "--no-train", "--language", "es", "--quiet"]
    assert command("run", mini.task_file, "--model", model, *words).code == 0
    assert len(list((tmp_path / "here" / "results").glob("*/*/*/predictions/es.parquet"))) == 1


@pytest.mark.parametrize("way", WAYS_OUT, ids=ascii)
def test_path_traversal_in_a_record_is_harmless(command, nothing_outside, tmp_path, way):
    model = run_record().model.model_copy(update={"id": way})
    recipe = run_record().recipe.model_copy(update={"name": way})
    scores = {way: run_record().scores["de"], "de": run_record().scores["de"]}
    record = run_record(task=way, model=model, recipe=recipe, scores=scores, training_language=way)
    save_record(tmp_path / "here" / "results" / "task" / "model" / "run", record)
    nothing_outside()
    for words in (["report"], ["list", "runs"]):
        answer = command(*words)
        assert answer.code in (0, 2) and "Traceback" not in answer.err


LISTED = [
    "../../out.safetensors",
    "/out.safetensors",
    "a/../../../../out.safetensors",
    "..\\out.safetensors",
    "~/vocab.txt",
]


@pytest.mark.parametrize("listed", LISTED)
def test_path_traversal_in_hub_listing_is_harmless(
    command, nothing_outside, mini, checkpoint_of, tmp_path, monkeypatch, listed
):
    root = tmp_path / "root"
    shutil.copytree(checkpoint_of("bert", tiny.LABELS), root / "models" / "org" / "name")
    nothing_outside()
    with serve(root) as hub:
        honest = hub.answer

        def answer(path: str) -> Answer:
            if "out.safetensors" in path or "vocab.txt" in path:
                return Answer(
                    200, b"out", {"ETag": '"' + "0" * 40 + '"', "X-Repo-Commit": hub.commit("models/org/name")}
                )
            found = honest(path)
            if "/tree/" not in path:
                return found
            entry = {"type": "file", "path": listed, "size": 3, "oid": "0" * 40}
            return Answer(200, json.dumps([*json.loads(found.body), entry]).encode(), found.headers)

        hub.answer = answer
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        words = ["--data", mini.data, "--no-train", "--language", "es", "--quiet"]
        found = command("run", mini.task_file, "--model", "org/name", *words)
    assert found.code in (0, 2)
    assert all("caches" in str(path) for path in tmp_path.rglob("out.safetensors"))
    huggingface_hub.close_session()


def test_there_are_over_40_hostile_names(figure):
    n_names = len(WAYS_OUT) * (len(TASK_PLACES) + 2) + (len(WAYS_OUT) - 1) * 3
    figure(
        "names that point outside",
        f"{n_names} in files and words, {len(FOLDER_NAMES)} folders, {len(LISTED)} listed by a hub",
    )
    figure("bombs", f"{len(WEIGHTS)} in weights, {len(CONFIGS)} in configurations, {len(FILES)} in other files")
    assert n_names > 40


# ── bombs ──


def _header(claimed: int, header: bytes = b"{}") -> bytes:
    return struct.pack("<Q", claimed) + header


def _tensor(shape: list[int], end: int) -> bytes:
    header = json.dumps({"classifier.bias": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return _header(len(header), header)


WEIGHTS = {
    "no header": b"",
    "a header of an exabyte": _header(2**60),
    "a header longer than the file": _header(10**6),
    "a header of deep lists": _header(50_000, b"[" * 50_000),
    "a header that is no JSON": _header(4, b"\xff\xfe{}"),
    "a tensor of a petabyte": _tensor([10**15], 4 * 10**15),
    "a tensor of overflowing shape": _tensor([2**40, 2**40], 12),
    "a tensor beyond the end": _tensor([3], 12),
    "zeros": bytes(10**6),
}
CONFIGS = {
    "a vocabulary of a trillion": {"vocab_size": 10**12},
    "a vocabulary of a billion": {"vocab_size": 10**9},
    "a hidden size of ten million": {"hidden_size": 10**7},
    "a billion layers": {"num_hidden_layers": 10**9},
    "a billion positions": {"max_position_embeddings": 10**9},
    "a billion types": {"type_vocab_size": 10**9},
    "a billion labels": {"num_labels": 10**9},
    "an intermediate size of a billion": {"intermediate_size": 10**9},
}
FILES = {
    "config.json of deep lists": ("config.json", b"[" * 200_000),
    "config.json of deep objects": ("config.json", b'{"a":' * 200_000),
    "config.json that is a list": ("config.json", b"[]"),
    "config.json that is empty": ("config.json", b""),
    "tokenizer.json of deep lists": ("tokenizer.json", b"[" * 200_000),
    "tokenizer.json that is binary": ("tokenizer.json", bytes(range(256))),
    "tokenizer_config.json of deep objects": ("tokenizer_config.json", b'{"a":' * 200_000),
    "special_tokens_map.json of deep objects": ("special_tokens_map.json", b'{"a":' * 200_000),
}


def memory(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The kernel grants this process at most eight gigabytes more than it has now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 8 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture
def run_on_model(command, nothing_outside, mini, checkpoint_of, tmp_path, little_memory):
    def run(break_it: Callable[[Path], None]) -> None:
        model = Path(shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "model"))
        break_it(model)
        nothing_outside()
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before = memory("VmRSS")
        words = ["--data", mini.data, "--no-train", "--language", "es", "--quiet"]
        is_one_line(command("run", mini.task_file, "--model", model, *words))
        assert memory("VmHWM") - before < 10**9, "a bomb was unpacked"

    return run


@pytest.mark.parametrize("what", WEIGHTS)
def test_weights_with_bad_headers_are_refused(run_on_model, what):
    run_on_model(lambda model: (model / "model.safetensors").write_bytes(WEIGHTS[what]))


@pytest.mark.parametrize("what", CONFIGS)
def test_inflated_configurations_are_refused(run_on_model, what):
    def inflate(model: Path) -> None:
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | CONFIGS[what]))

    run_on_model(inflate)


@pytest.mark.parametrize("what", FILES)
def test_malformed_model_files_are_refused(run_on_model, what):
    name, content = FILES[what]
    run_on_model(lambda model: (model / name).write_bytes(content))


def test_linked_weights_are_read_and_not_written(command, nothing_outside, mini, checkpoint_of, tmp_path):
    elsewhere = Path(shutil.copytree(checkpoint_of("bert", tiny.LABELS), tmp_path / "elsewhere"))
    (tmp_path / "model").mkdir()
    for path in elsewhere.iterdir():
        (tmp_path / "model" / path.name).symlink_to(path)
    nothing_outside()
    words = ["--data", mini.data, "--language", "es", "--quiet", "--epochs", "1"]
    assert command("run", mini.task_file, "--model", tmp_path / "model", *words).code == 0
