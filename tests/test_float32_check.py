"""A run in arithmetic other than float32 measures and reports what that changes."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import xeval
from tests.helpers.sample_record import run_record
from tests.helpers.tiny import Mini
from xeval.judging.score import compare_with_float32
from xeval.report import footnotes
from xeval.results.configurations import Configuration, by_configuration
from xeval.results.records import Float32Check, RunRecord
from xeval.results.store import StoredRun


def test_flips_are_predictions_that_differ_in_float32():
    in_float32 = np.array([[0.0, 1.0, 0.5], [2.0, 1.9, 0.0], [3.0, 0.0, 0.0]])
    logits = np.array([[0.0, 1.0, 0.5], [1.9, 2.0, 0.0], [2.5, 0.0, 0.0]])
    answers, answers_in_float32 = (pa.table({"prediction": outputs.argmax(axis=1)}) for outputs in (logits, in_float32))
    check = compare_with_float32(logits, in_float32, answers, answers_in_float32)
    assert (check.n_rows, check.n_flips, check.max_logit_difference) == (3, 1, 0.5)


@pytest.mark.parametrize(("dtype", "checked"), [("bfloat16", ["en", "es"]), ("float32", [])])
def test_each_language_is_compared_unless_in_float32(mini: Mini, checkpoint_of, tmp_path, dtype, checked):
    (record,) = xeval.run(
        str(mini.task_file),
        [str(checkpoint_of("bert"))],
        languages=["en", "es"],
        overrides={"epochs": 1.0, "batch_size": 8},
        data=mini.data,
        results=tmp_path,
        device="cpu",
        dtype=dtype,
    )
    assert (record.status, sorted(record.float32_checks)) == ("complete", checked)
    for check in record.float32_checks.values():
        assert check.n_rows == 12  # all there are
        assert 0 < check.max_logit_difference < 0.1


def with_checks(seed: int, **checks: tuple[int, int, float]) -> RunRecord:
    named = ("n_rows", "n_flips", "max_logit_difference")
    found = {language: Float32Check(**dict(zip(named, values, strict=True))) for language, values in checks.items()}
    return run_record(seed=seed, float32_checks=found)


def grouped(records: list[RunRecord]) -> dict[Configuration, list[StoredRun]]:
    return by_configuration(StoredRun(Path(str(record.seed)), record) for record in records)


def test_report_adds_up_the_checks_of_all_seeds():
    records = [with_checks(1, de=(32, 1, 0.02), fr=(32, 0, 0.03)), with_checks(2, de=(32, 2, 0.011))]
    line = "org/m in float32 against float32, on a sample of 96 rows: 3 predictions differ, logits by at most 0.03."
    assert line in footnotes.of(grouped(records), None)


def test_report_omits_the_check_if_nothing_was_compared():
    assert not any("against float32" in line for line in footnotes.of(grouped([run_record()]), None))


def test_older_records_without_the_check_are_read():
    old = run_record().model_dump(mode="json")
    del old["float32_checks"]
    assert RunRecord.model_validate(old, strict=False).float32_checks == {}
