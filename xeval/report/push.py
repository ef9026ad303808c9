"""Runs → what is pushed to the model's repository on the hub: records, `.eval_results` and a section of the card."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from xeval.definitions.registry import all_tasks
from xeval.definitions.task import Task
from xeval.judging.verdict import same_task
from xeval.report import from_folder
from xeval.report.formats import card_on_hub, model_card
from xeval.report.matrix import Matrix
from xeval.results.records import MAX_RECORD_BYTES
from xeval.results.store import RECORD, StoredRun, read_content, run_folder
from xeval.support.errors import StoreError, XevalError
from xeval.support.files import read_ordinary, safe_name
from xeval.support.text import counted

FOLDER = "xeval"  # in the repository: a results folder without predictions


@dataclass(frozen=True)
class Change:
    """A change to a file of the repository. `before` is None if the file does not exist yet."""

    path: str
    before: bytes | None
    after: bytes


@dataclass(frozen=True)
class Push:
    """A planned commit to the model `repo_id`, on top of the commit `parent`."""

    repo_id: str
    parent: str
    changes: list[Change]  # only files whose content changes
    message: str
    notes: list[str]  # why a file is missing

    def send(self, on_main: bool = False) -> str:
        """Push the changes, as a pull request or on main, and return the URL. Raises ModelError."""
        from xeval.data import hub

        files = {change.path: change.after for change in self.changes}
        return hub.push(self.repo_id, files, self.parent, self.message, pull_request=not on_main)


def plan(
    runs: Sequence[StoredRun],
    repo_id: str | None = None,
    reference: str | None = None,
    tasks_dirs: Sequence[Path] = (),
) -> Push:
    """Work out what pushing `runs` of one model would write, without writing anything.

    `repo_id` defaults to the model's own on the hub. Raises XevalError if the model is not from the hub, if the hub
    cannot be reached, or if the card cannot be edited.
    """
    from xeval.data import hub

    repo_id = repo_id or _repository_of(runs)
    registered, notes = all_tasks(tasks_dirs), list[str]()
    tasks = sorted({run.record.task for run in runs})
    files = {_path_of(run): _content_of(run) for run in runs}
    matrices: dict[str, Matrix] = {}
    known: dict[str, Task | None] = {}
    for task in tasks:
        of_task = [run for run in runs if run.record.task == task]
        known[task] = same_task(registered.get(task), of_task)
        matrices[task] = from_folder.matrix_of(of_task, task, reference, None, tasks_dirs)
        _refuse_damaged(matrices[task])
    for task, matrix in matrices.items():
        text, note = _eval_results(matrix, known[task], _source(repo_id, task))
        files |= {f".eval_results/xeval-{safe_name(task)}.yaml": text.encode()} if text else {}
        notes += [note] if note else []
    parent = hub.newest_commit(repo_id)
    before = _there(repo_id, parent, [card_on_hub.CARD, *files])
    card = _text_of(before.get(card_on_hub.CARD, b""))
    for task, matrix in matrices.items():
        card = _with_task(card, matrix, known[task], _source(repo_id, task))
    files = {card_on_hub.CARD: card.encode()} | files
    changes = [Change(path, before.get(path), after) for path, after in files.items() if before.get(path) != after]
    titles = " and ".join(matrix.title for matrix in matrices.values())
    return Push(repo_id, parent, changes, f"Evaluation on {titles}: {counted(len(runs), 'runs')}", notes)


def _refuse_damaged(matrix: Matrix) -> None:
    """Raise StoreError if a finding is about files on this machine, which would mean nothing to anybody else."""
    for finding in matrix.findings:
        if any(str(run.folder) in finding.line for run in matrix.runs):
            raise StoreError(f"nothing was pushed: {finding.line}")


def _repository_of(runs: Sequence[StoredRun]) -> str:
    model = runs[0].record.model
    if model.origin != "hub" or any(run.record.declared for run in runs):
        raise XevalError(f"model {model.id}: it is not from the hub; say where to push it with --to organisation/name")
    return model.id


def _path_of(run: StoredRun) -> str:
    record = run.record
    folder = run_folder(Path(FOLDER), record.task, record.model.id, record.recipe.name, record.seed, record.identity)
    return (folder / RECORD).as_posix()


def _content_of(run: StoredRun) -> bytes:
    content = read_content(run.folder)
    if content is None:
        raise StoreError(f"{run.folder}: its record has disappeared in the meantime; run the command again")
    return content


def _source(repo_id: str, task: str) -> str:
    """Return the URL of the records."""
    return f"https://huggingface.co/{repo_id}/tree/main/{FOLDER}/{safe_name(task)}"


def _eval_results(matrix: Matrix, task: Task | None, source: str) -> tuple[str, str]:
    """Return the file's content, and why there is none; one of the two is empty."""
    try:
        return model_card.render_eval_results(matrix, task, source), ""
    except XevalError as error:
        return "", f"no .eval_results: {error}"


def _there(repo_id: str, commit: str, paths: list[str]) -> dict[str, bytes]:
    """Return the content of those `paths` that the repository has."""
    from xeval.data import hub

    folder, _ = hub.fetch("model", repo_id, commit, paths)  # at least one path has a slash
    contents = dict[str, bytes]()
    for path in paths:
        try:
            limit = card_on_hub.MAX_CARD_BYTES if path == card_on_hub.CARD else MAX_RECORD_BYTES
            contents[path] = read_ordinary(folder / PurePosixPath(path), limit)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise XevalError(f"model {repo_id}: {path} of the repository cannot be read: {error.strerror}") from error
    return contents


def _text_of(card: bytes) -> str:
    try:
        return card.decode()
    except UnicodeDecodeError as error:
        raise XevalError(f"{card_on_hub.CARD}: it is not UTF-8; fix that on the hub first") from error


def _with_task(card: str, matrix: Matrix, task: Task | None, source: str) -> str:
    entries = model_card.metadata(matrix, task, source)
    text = model_card.evaluation(matrix, f"Evaluation on {matrix.title}")
    section = f"{text}\n[Records of the runs]({source}), by xeval.\n"
    return card_on_hub.with_section(card_on_hub.with_results(card, entries, source), safe_name(matrix.task), section)
