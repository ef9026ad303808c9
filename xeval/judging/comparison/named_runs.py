"""A word on the command line → the runs of one configuration, all its seeds.

The word is the folder of a run, the folder of a model or of results that holds one configuration, or a model's name in
a results folder. If it fits several configurations, append `:key=value` to choose one, as in
`mini-mbert:learning_rate=0.0002`; the error lists the possible words. `:seed=1` chooses one seed.
"""

from pathlib import Path
from typing import Any

from xeval.results.configurations import Configuration, by_configuration
from xeval.results.named_models import runs_of_model
from xeval.results.store import RECORD, StoredRun, load_run
from xeval.support.errors import StoreError
from xeval.support.files import in_home

_DEPTHS = ("", "*/", "*/*/", "*/*/*/")  # the folder of a run, of its model, of its task, of all results


def find_runs(word: str, results: Path) -> list[StoredRun]:
    """Return the runs that `word` names, in the order of their seeds.

    Raises StoreError if it names no configuration, several, or one seed twice. Raises UnknownNameError if it is neither
    a folder with runs nor a model in `results`.
    """
    name, traits = _split(word)
    named = runs_under(in_home(name))
    if not named:
        all_runs = runs_under(results)
        if not all_runs:
            raise StoreError(
                f"{name}: no runs in a folder of that name, and none in {results}; name another with --results"
            )
        if any(run.record.model.id == word for run in all_runs):
            name, traits = word, {}  # a model whose own name has a colon
        if of_task := [run.record.model.id for run in all_runs if run.record.task == name]:
            models = ", ".join(dict.fromkeys(of_task))
            raise StoreError(f"{name} is a task; wanted models that were run on it, or their folders: {models}")
        named = runs_of_model(all_runs, name, f"folder of runs or model in {results}")
    matching = [run for run in named if _is_like(run, traits)]
    configurations = list(dict.fromkeys(Configuration.of(run.record) for run in matching or named))
    if len(configurations) > 1:
        problem = f"it holds {len(configurations)} configurations" if matching else "none of its runs matches"
        choices = _words(name, configurations, traits if matching else {})
        raise StoreError(f"{word}: {problem}; name one: {', '.join(choices)}")
    if not matching:
        raise StoreError(f"{word}: none of its runs matches; leave out what follows the colon")
    [runs] = by_configuration(matching).values()
    return runs


def find_run(word: str, results: Path) -> StoredRun:
    """Return the one run that `word` names. Raises as `find_runs` does, and StoreError if it names several seeds."""
    runs = find_runs(word, results)
    if len(runs) > 1:
        choices = [f"{word}{',' if ':' in word else ':'}seed={run.record.seed}" for run in runs]
        raise StoreError(f"{word}: it holds {len(runs)} seeds; name one: {', '.join(choices)}")
    return runs[0]


def runs_under(folder: Path) -> list[StoredRun]:
    """Return every run at or below `folder`, which may be the folder of a run, a model, a task or results."""
    for depth in _DEPTHS if _is_folder(folder) else ():
        paths = sorted(path.parent for path in folder.glob(f"{depth}{RECORD}"))
        if paths:
            return [run for path in paths if (run := load_run(path)) is not None]
    return []


def names_of(a: list[StoredRun], b: list[StoredRun]) -> tuple[str, str]:
    """Return names for A and B: the model and whatever else differs, or the folders if nothing else does.

    If the sides are different seeds of one configuration, both have the model's name.
    """
    sides = [Configuration.of(runs[0].record).traits for runs in (a, b)]
    differing = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(key) != sides[1].get(key)]
    if not differing:
        seeds = [{run.record.seed for run in runs} for runs in (a, b)]
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
    except OSError:  # the word may be too long for a path
        return False


def _is_like(run: StoredRun, traits: dict[str, str]) -> bool:
    known = Configuration.of(run.record).traits | {"seed": run.record.seed}
    return all(_matches(known.get(key), value) for key, value in traits.items())


def _matches(value: Any, text: str) -> bool:
    try:
        return float(value) == float(text)
    except (TypeError, ValueError):
        return str(value).casefold() == text.casefold()


def _words(name: str, configurations: list[Configuration], traits: dict[str, str]) -> list[str]:
    """Return `name` for each configuration, followed by what distinguishes it and by the `traits` asked for."""
    sides = [configuration.traits for configuration in configurations]
    chosen = [_distinguishing(own, [other for other in sides if other is not own]) for own in sides]
    return [f"{name}:{','.join(f'{key}={value}' for key, value in (own | traits).items())}" for own in chosen]


def _distinguishing(own: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """Return those traits, the first ones first, that rule out all `others`; one that rules out no more is left out."""
    chosen = {}
    for key in dict.fromkeys(key for side in (own, *others) for key in side):
        alike = [other for other in others if str(other.get(key)) == str(own.get(key))]
        if len(alike) < len(others):
            chosen[key], others = own.get(key), alike
    return chosen


def _folder(runs: list[StoredRun]) -> Path:
    """Return the folder that contains all of `runs`, or the run's own folder if there is only one."""
    return runs[0].folder if len(runs) == 1 else runs[0].folder.parent
