"""A published table → a bundle of everything that its reproduction reads, fetched from the hub if needed."""

from collections.abc import Sequence
from pathlib import Path

from xeval.data import bundle
from xeval.data.hub import files_by_pattern, show_bars
from xeval.data.model_files import Checkpoint, checkpoint_files, find_checkpoint
from xeval.data.source import hub_patterns, open_source
from xeval.definitions import registry
from xeval.definitions.model_name import ModelName
from xeval.definitions.task import Task
from xeval.runs.grid import table_to_reproduce
from xeval.support.errors import DataError, ModelError


def make_bundle(reference: str, output: Path, draws_bars: bool = False) -> bundle.Contents:
    """Write a bundle for the published table `reference` to `output`, and return its contents.

    It holds the table, its task, the recipes and models of the rows that `reproduce` runs, the models at their newest
    commit, and the data, at the pinned revision, that a zero-shot run over the table's languages reads. Raises
    XevalError.
    """
    show_bars(draws_bars)
    table_file, _ = registry.find_reference(reference)
    table, pairs = table_to_reproduce(reference)
    task_file, task = registry.find_task(table.task)
    file_of = {f"references/{table.name}.toml": table_file, f"tasks/{task.name}.toml": task_file}
    for name in {recipe for _, recipe in pairs if recipe is not None}:
        recipe_file, recipe = registry.find_recipe(name)
        file_of[f"recipes/{recipe.name}.toml"] = recipe_file
    held = [] if task.embedded else [_data(task, table.languages)]
    models = {model: ModelName.parse(model) for model, _ in pairs}
    held += [part for name, parsed in models.items() if parsed.origin != "embedded" for part in _model(name)]
    held = list({part[0].id: part for part in held}.values())  # adapters may share a base
    for repository, folder, paths in held:
        inside = bundle.folder_of(repository.kind, repository.id)
        file_of |= {f"{inside}/{path.relative_to(folder).as_posix()}": path for path in paths}
    contents = bundle.Contents(reference=table.name, repositories=[repository for repository, _, _ in held])
    bundle.write(output, contents, file_of)
    return contents


def _data(task: Task, languages: Sequence[str]) -> tuple[bundle.Repository, Path, list[Path]]:
    source = open_source(task, None, languages)
    assert task.hub is not None and source.revision is not None  # it has been fetched
    paths = []
    for pattern, matches in files_by_pattern(source.folder, hub_patterns(task, languages)).items():
        if not matches:
            raise DataError(f"data set {source.name}: no {pattern}, which the table's runs read; correct the task file")
        paths += matches
    repository = bundle.Repository(kind="dataset", id=source.name, revision=task.hub.revision, commit=source.revision)
    return repository, source.folder, paths


def _model(name: str) -> list[tuple[bundle.Repository, Path, list[Path]]]:
    """Return the model's repository and, if the model is an adapter, its base's."""
    checkpoint = find_checkpoint(name)
    if checkpoint.adapter is None or checkpoint.base is None:
        return [_repository(checkpoint, checkpoint.folder, None)]
    own = _repository(checkpoint, checkpoint.adapter.folder, None)
    if checkpoint.base.origin == "embedded":
        return [own]
    return [own, _repository(checkpoint.base, checkpoint.base.folder, checkpoint.adapter.base_revision)]


def _repository(
    checkpoint: Checkpoint, folder: Path, revision: str | None
) -> tuple[bundle.Repository, Path, list[Path]]:
    if checkpoint.origin != "hub" or checkpoint.revision is None:
        raise ModelError(f"model {checkpoint.id}: a bundle holds models from the hub, but this is the folder {folder}")
    repository = bundle.Repository(kind="model", id=checkpoint.id, revision=revision, commit=checkpoint.revision)
    return repository, folder, checkpoint_files(folder, checkpoint.id)
