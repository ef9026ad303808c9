"""A prediction file whose hash is right, but whose content xeval never writes, is refused in one line."""

import hashlib
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.predictions import save_old_predictions, save_predictions
from xeval.results.predictions import column, groups_of, load_predictions, tally_of
from xeval.support.errors import StoreError

LABELS = np.array([0, 1, 2, 1])
LOGITS = np.eye(3, dtype=np.float32)[[0, 1, 1, 1]]
GROUPS = np.array([0, 0, 0, 1])


def whole() -> pa.Table:
    flat = pa.array(LOGITS.ravel(), pa.float32())
    return pa.table(
        {
            "row": pa.array(range(4), pa.int32()),
            "premise": pa.array(GROUPS, pa.int32()),
            "label": pa.array(LABELS, pa.int32()),
            "prediction": pa.array(LOGITS.argmax(axis=1), pa.int32()),
            "logits": pa.FixedSizeListArray.from_arrays(flat, 3),
        }
    )


def put(folder, content: bytes) -> str:
    (folder / "predictions").mkdir()
    (folder / "predictions" / "de.parquet").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def with_column(name: str, values: pa.Array) -> pa.Table:
    return whole().set_column(whole().column_names.index(name), name, values)


def logits(*rows) -> pa.Table:
    return with_column("logits", pa.array(list(rows), pa.list_(pa.float32(), len(rows[0]))))


def as_written(**changes: pa.Array) -> pa.Table:
    """What xeval now writes for another kind of task, with some columns replaced, or left out if None."""
    tally = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(12.0), pa.float64()), 3)
    columns = {"row": pa.array(range(4), pa.int32()), "group": pa.array(GROUPS, pa.int32()), "tally": tally}
    columns |= {"prediction": pa.array([["B", "I"], ["O"], [], ["O"]])} | changes
    return pa.table({name: values for name, values in columns.items() if values is not None})


FOREIGN = {
    "no groups": as_written(group=None),
    "no predictions": as_written(prediction=None),
    "a prediction that is absent": as_written(prediction=pa.array(["B", None, "O", "O"])),
    "a tally that is one number": as_written(tally=pa.array([1.0, 0.0, 1.0, 1.0])),
    "a tally that is no number": as_written(tally=pa.array([[np.nan]] * 4, pa.list_(pa.float64(), 1))),
    "groups that are text": as_written(group=pa.array(["a"] * 4)),
    "another table": pa.table({"text": ["a", "b"]}),
    "no labels": whole().drop_columns(["label"]),
    "no logits": whole().drop_columns(["logits"]),
    "two columns of one name": whole().append_column("row", pa.array(range(4), pa.int32())),
    "text for labels": with_column("label", pa.array(["a"] * 4)),
    "numbers of 64 bits": with_column("prediction", pa.array([0, 1, 1, 1], pa.int64())),
    "premises that are text": with_column("premise", pa.array(["a"] * 4)),
    "a label that is absent": with_column("label", pa.array([0, 1, None, 1], pa.int32())),
    "a label without a logit": with_column("label", pa.array([0, 1, 3, 1], pa.int32())),
    "a negative label": with_column("label", pa.array([0, 1, -1, 1], pa.int32())),
    "a prediction without a logit": with_column("prediction", pa.array([0, 1, 9, 1], pa.int32())),
    "logits of several lengths": with_column(
        "logits", pa.array([[0.5], [1.0, 2.0], [], [1.0]], pa.list_(pa.float32()))
    ),
    "logits in float64": with_column("logits", pa.array([[0.5, 1.0]] * 4, pa.list_(pa.float64(), 2))),
    "logits that are no numbers": logits([0.5, float("nan"), 0.0], *[[0.5, 1.0, 0.0]] * 3),
    "a logit that is absent": logits([0.5, None, 0.0], *[[0.5, 1.0, 0.0]] * 3),
    "a row without logits": with_column("logits", pa.array([None, *[[0.5] * 3] * 3], pa.list_(pa.float32(), 3))),
    "no rows": whole().slice(0, 0),
}


@pytest.mark.parametrize("table", FOREIGN.values(), ids=FOREIGN)
def test_foreign_columns_are_refused_in_one_line(tmp_path, table):
    sha256 = put(tmp_path, parquet(table))
    with pytest.raises(StoreError, match=r"^[^\n]*de\.parquet: not what xeval writes: wanted [^\n]+$"):
        load_predictions(tmp_path, "de", sha256)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 500, parquet(whole())[:-3]], ids=["empty", "4", "x", "cut"])
def test_non_parquet_files_are_refused_in_one_line(tmp_path, content):
    with pytest.raises(StoreError, match=r"^[^\n]*de\.parquet: not a readable Parquet file[^\n]+$"):
        load_predictions(tmp_path, "de", put(tmp_path, content))


def test_saved_predictions_are_read_back(tmp_path):
    table = load_predictions(tmp_path, "de", save_predictions(tmp_path, "de", LOGITS, LABELS, GROUPS))
    np.testing.assert_array_equal(column(table, "logits"), LOGITS)
    np.testing.assert_array_equal(column(table, "label"), LABELS)
    np.testing.assert_array_equal(groups_of(table), GROUPS)
    np.testing.assert_array_equal(tally_of(table), [[1, 1], [1, 1], [0, 1], [1, 1]])


def test_predictions_of_0_1_0_are_read_and_counted(tmp_path):
    table = load_predictions(tmp_path, "de", put(tmp_path, parquet(whole())))
    np.testing.assert_array_equal(groups_of(table), GROUPS)
    np.testing.assert_array_equal(tally_of(table), [[1, 1], [1, 1], [0, 1], [1, 1]])


def test_older_files_without_premises_have_no_groups(tmp_path):
    table = load_predictions(tmp_path, "de", save_old_predictions(tmp_path, "de", LOGITS, LABELS))
    assert groups_of(table) is None
    np.testing.assert_array_equal(tally_of(table), [[1, 1], [1, 1], [0, 1], [1, 1]])


def test_other_kinds_of_task_have_their_own_columns(tmp_path):
    table = load_predictions(tmp_path, "de", put(tmp_path, parquet(as_written())))
    assert table["prediction"].to_pylist() == [["B", "I"], ["O"], [], ["O"]]
    np.testing.assert_array_equal(tally_of(table), np.arange(12.0).reshape(4, 3))
