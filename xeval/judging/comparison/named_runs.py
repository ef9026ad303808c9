"""A word on the command line → the runs of one configuration, all its seeds.

The word is a run's folder, a model's or a results folder that holds one configuration, or a model's name inside a
results folder. Where it fits several configurations, `:key=value` behind it chooses, as in
`mini-mbert:learning_rate=0.0002`; the error says which words there are. `:seed=1` chooses one seed.
"""

from pathlib import Path
from typing import Any

from xeval.results.named_models import runs_of_model
from xeval.results.records import RunRecord
from xeval.results.store import load_record
from xeval.support.errors import StoreError

Run = tuple[Path, RunRecord]
_DEPTHS = ("", "*/", "*/*/", "*/*/*/")  # a run's folder, its model's, its task's, results


def find_runs(word: str, results: Path) -> list[Run]:
    """The runs that `word` names, by seed.

    Raises StoreError where it names none or several configurations, UnknownNameError where it is neither a folder
    with runs nor a model in `results`.
    """
    name, wanted = _split(word)
    found = runs_under(Path(name).expanduser())
    if not found:
        there = runs_under(results)
        if not there:
            raise StoreError(
                f"{name}: no runs in a folder of that name, and none in {results}; --results names another"
            )
        found = runs_of_model(there, name, f"folder of runs, or model in {results},")
    matching = [run for run in found if _is_like(run[1], wanted)]
    configurations = {record.configuration(): record for _, record in matching or found}
    if len(configurations) > 1:
        problem = f"it holds {len(configurations)} configurations" if matching else "none of its runs is like that"
        choices = _words(name, [*configurations.values()], wanted if matching else {})
        raise StoreError(f"{word}: {problem}; name one: {', '.join(choices)}")
    if not matching:
        raise StoreError(f"{word}: none of its runs is like that; leave out what stands behind the colon")
    return _one_per_seed(word, matching)


def runs_under(folder: Path) -> list[Run]:
    """Every run at or below `folder`, whether it is the folder of a run, a model, a task or results."""
    for depth in _DEPTHS if _is_folder(folder) else ():
        paths = sorted(path.parent for path in folder.glob(f"{depth}record.json"))
        if paths:
            return [(path, record) for path in paths if (record := load_record(path)) is not None]
    return []


def traits(record: RunRecord) -> dict[str, object]:
    """What a configuration is told by, under the words that choose it."""
    model = record.model
    version = {"revision": model.revision[:12]} if model.revision else {"sha256": model.sha256[:12]}
    recipe = {"recipe": record.recipe.name} | record.recipe.values
    return {"task": record.task, "model": model.id, **version, **recipe, **record.limits.model_dump()} | {
        "dtype": record.environment.dtype
    }


def names_of(a: list[Run], b: list[Run]) -> tuple[str, str]:
    """What A and B are called: the model and whatever else tells them apart, or folders where only those do. Other
    seeds of one configuration have the same name."""
    sides = [traits(runs[0][1]) for runs in (a, b)]
    differing = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(key) != sides[1].get(key)]
    if not differing:
        seeds = [{record.seed for _, record in runs} for runs in (a, b)]
        name = str(sides[0]["model"])
        return (str(_folder(a)), str(_folder(b))) if seeds[0] & seeds[1] else (name, name)
    shown = [key for key in differing if key not in ("model", "revision", "sha256")]
    if sides[0]["model"] == sides[1]["model"]:
        shown = [key for key in differing if key != "model"]
    return _name(sides[0], shown), _name(sides[1], shown)


def _name(own: dict[str, Any], shown: list[str]) -> str:
    return ", ".join([str(own["model"]), *(f"{key} {own[key]}" for key in shown if own.get(key) is not None)])


def _split(word: str) -> tuple[str, dict[str, str]]:
    name, _, choice = word.rpartition(":")
    if _is_folder(Path(word)) or not name or "=" not in choice:
        return word, {}
    pairs = [part.partition("=") for part in choice.split(",")]
    return name, {key.strip(): value.strip() for key, _, value in pairs}


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a word may be longer than any path
        return False


def _is_like(record: RunRecord, wanted: dict[str, str]) -> bool:
    known = traits(record) | {"seed": record.seed}
    return all(_matches(known.get(key), value) for key, value in wanted.items())


def _matches(value: Any, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value).casefold() == wanted.casefold()


def _words(name: str, records: list[RunRecord], wanted: dict[str, str]) -> list[str]:
    """`name` with what differs between these configurations behind it, and with what was `wanted` already."""
    sides = [traits(record) for record in records]
    known = dict.fromkeys(key for own in sides for key in own)
    keys = [key for key in known if len({str(own.get(key)) for own in sides}) > 1]
    chosen = [{key: own.get(key) for key in keys} for own in sides]
    return [f"{name}:{','.join(f'{key}={value}' for key, value in (own | wanted).items())}" for own in chosen]


def _one_per_seed(word: str, runs: list[Run]) -> list[Run]:
    by_seed: dict[int, Run] = {}
    for run in runs:
        seed = run[1].seed
        if seed in by_seed:
            raise StoreError(
                f"{word}: two runs of seed {seed}, on different training rows: {by_seed[seed][0]} and {run[0]};"
                " name one of them"
            )
        by_seed[seed] = run
    return [by_seed[seed] for seed in sorted(by_seed)]


def _folder(runs: list[Run]) -> Path:
    """The folder that all of `runs` lie in, or the run's own where there is only one."""
    return runs[0][0] if len(runs) == 1 else runs[0][0].parent
