"""RunRecord ↔ disk.

`results/<task>/<model>/<recipe>-seed<N>-<hash8>/` holds `record.json` and `predictions/<language>.parquet`. A file
appears whole or not at all, and a prediction file is in its place before the record speaks of it.
"""

from pathlib import Path

from pydantic import ValidationError

from xeval.errors import StoreError
from xeval.files import safe_name, write_atomically
from xeval.records import RunRecord
from xeval.schema import first_complaint


def run_folder(results: Path, task: str, model_id: str, recipe: str, seed: int, identity: str) -> Path:
    """Where the run of this identity lies."""
    return results / safe_name(task) / safe_name(model_id) / f"{safe_name(recipe)}-seed{seed}-{identity[:8]}"


def save_record(folder: Path, record: RunRecord) -> None:
    write_atomically(folder / "record.json", (record.model_dump_json(indent=1) + "\n").encode())


def load_record(folder: Path) -> RunRecord | None:
    """The record in `folder`; None where there is none yet. Raises StoreError for a damaged one."""
    path = folder / "record.json"
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise StoreError(f"{path}: {first_complaint(error)}; remove the folder to compute this run again") from error


def load_records(results: Path) -> list[tuple[Path, RunRecord]]:
    """Every run under `results` with its folder, in the order of the folders' names."""
    folders = sorted(path.parent for path in results.glob("*/*/*/record.json"))
    return [(folder, record) for folder in folders if (record := load_record(folder)) is not None]
