"""A Parquet file that understates its unpacked size is refused before it takes much more memory than stated."""

import multiprocessing
import resource
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_paths_and_bombs import is_one_line, memory

import xeval.data.tables

N_GROUPS, LETTERS = 5, 400_000_000


@pytest.mark.slow  # two gigabytes are written
def test_understated_size_is_refused_early(command, mini, checkpoint_of, tmp_path, monkeypatch):
    data = Path(shutil.copytree(mini.data, tmp_path / "data"))
    [path] = (data / "es").glob("test*.parquet")
    writer = multiprocessing.get_context("spawn").Process(target=write_large, args=(path,))
    writer.start()  # in another process: Arrow reuses memory it once had without asking the kernel
    writer.join()
    say_less(path)
    said = pq.read_metadata(path)
    assert sum(said.row_group(0).column(place).total_uncompressed_size for place in range(said.num_columns)) < 1000
    monkeypatch.setattr(xeval.data.tables, "SPARE_BYTES", 150_000_000)
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    answer = command("run", mini.task_file, "--model", checkpoint_of("bert"), "--data", data, "--quiet")
    is_one_line(answer)
    assert "not readable as parquet (malloc of size" in answer.err
    assert memory("VmHWM") - before < N_GROUPS * LETTERS
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits


def write_large(path: Path) -> None:
    """Write one text of `LETTERS` letters in each row group."""
    table = pq.read_table(path)
    large = pa.array(["x" * LETTERS], pa.string())
    columns = {name: large if name == "premise" else table[name].combine_chunks()[:1] for name in table.schema.names}
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(N_GROUPS):
            writer.write_table(pa.table(columns, schema=table.schema))


def say_less(path: Path) -> None:
    """Set the large sizes in the footer to 1, encoded in as many bytes (Thrift's zigzag, seven bits in each)."""
    content = path.read_bytes()
    end = len(content) - 8
    start = end - int.from_bytes(content[end : end + 4], "little")
    footer, said = content[start:end], pq.read_metadata(path)
    for place in range(said.num_columns):
        size = said.row_group(0).column(place).total_uncompressed_size
        if size >= LETTERS:
            footer = footer.replace(_number(2 * size), b"\x82" + b"\x80" * (len(_number(2 * size)) - 2) + b"\x00")
    path.write_bytes(content[:start] + footer + content[end:])


def _number(value: int) -> bytes:
    parts = [value >> shift & 127 for shift in range(0, value.bit_length(), 7)]
    return bytes([part | 128 for part in parts[:-1]] + parts[-1:])
