"""Records with a valid checksum and impossible numbers."""

import hashlib
import json
from pathlib import Path

import pytest
from test_paths_and_bombs import is_one_line

from tests.helpers.sample_record import run_record
from xeval.results.store import save_record

PLACES = {
    "rows of a score": ("scores", "de", "n_rows"),
    "groups of a score": ("scores", "de", "n_groups"),
    "sums of a score": ("scores", "de", "totals", "rows"),
    "rows of training": ("data", "train_rows", "expected"),
    "steps": ("training", "n_steps"),
    "step of a curve": ("training", "loss_curve", 0, 0),
    "step of a choice": ("training", "selection_curve", 0, "step"),
    "rows of a timing": ("timing", "train", "rows"),
    "parameters": ("model", "n_parameters"),
    "seed": ("seed",),
    "a limit": ("limits", "max_train"),
    "a value of the recipe": ("recipe", "values", "learning_rate"),
    "a loss": ("training", "loss_curve", 0, 1),
    "a score": ("scores", "de", "value"),
    "seconds": ("timing", "train", "wall_s"),
}
WORDS = [["report", "--format", "html"], ["report"], ["bless", "-o", "baseline.toml"]]


def write(place: tuple[str | int, ...], number: object) -> None:
    folder = Path("results") / "cats" / "m" / "run"
    save_record(folder, run_record())
    content = json.loads((folder / "record.json").read_text())
    del content["content_sha256"]
    *way, last = place
    inner = content
    for key in way:
        inner = inner[key]
    assert last in inner or isinstance(last, int)
    inner[last] = number
    plain = (json.dumps(content, indent=1) + "\n").encode()
    line = f' "content_sha256": "{hashlib.sha256(plain).hexdigest()}",\n'.encode()
    (folder / "record.json").write_bytes(plain.replace(b"{\n", b"{\n" + line, 1))


@pytest.mark.parametrize("number", [10**400, 1e308, -1], ids=["400 digits", "1e308", "-1"])
@pytest.mark.parametrize("place", PLACES)
def test_impossible_numbers_cause_no_traceback(command, place, number):
    write(PLACES[place], number)
    for words in WORDS:
        answer = command(*words)
        assert answer.code in (0, 1, 2) and "Traceback" not in answer.err
        assert answer.err.count("\n") == (1 if answer.code == 2 else 0)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("confusion", [[1, 2], [3]], "wanted as many predicted labels as gold ones"),
        ("confusion", [], "wanted as many predicted labels as gold ones"),
        ("calibration", [], "at least 1 item"),
        ("calibration", [[15, 3, 0.9, 1.0]], "less than 15"),
        ("calibration", [[3, 0, 0.9, 1.0]], "greater than or equal to 1"),
    ],
)
def test_impossible_counts_are_refused(command, key, value, said):
    write(("scores", "de", key), value)
    answer = command("report", "--format", "html")
    is_one_line(answer)
    assert said in answer.err


@pytest.mark.parametrize("place", [name for name in PLACES if "rows" in name and "timing" not in name])
def test_implausible_row_counts_are_refused(command, place):
    write(PLACES[place], 10**9)
    answer = command("report")
    is_one_line(answer)
    assert "less than or equal to 100000000" in answer.err or place == "sums of a score"
