"""Plans: grids of requests with a forecast for each, made, written, read and executed by any engine."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from xeval.data.bundle import using
from xeval.data.layouts import local_copy
from xeval.definitions import registry
from xeval.definitions.model_name import ModelName
from xeval.definitions.toml import Frozen, first_complaint
from xeval.results.records import Sha256
from xeval.results.store import StoredRun, load_run
from xeval.runs.forecast import Forecast, Speeds, forecast
from xeval.runs.grid import TaskGrid, prepare_grid, seeds_for, table_to_reproduce
from xeval.runs.requests import Engine, Outcome, RunRequest, Words
from xeval.runs.suite import FileGrid, left_out, suite_grids
from xeval.support.errors import DefinitionError, StoreError
from xeval.support.files import in_home, read_ordinary, write_output
from xeval.support.progress import Silent

MAX_PLAN_BYTES, MOST_RUNS = 50_000_000, 100_000
_HOW = "xeval plan --output writes one"
_IN_PARTS = "plan some of its seeds or models at a time"


class PlannedRun(Frozen):
    """A run, and what is known about it before it is executed."""

    request: RunRequest
    is_finished: bool
    """Whether nothing of it is left to do, in the arithmetic of the machine that made the plan."""
    folder: Words | None = None
    """Its folder, if it is finished in the arithmetic of every machine; it is then sent to none."""
    request_sha256: Sha256 | None = None
    """Checksum of the request that `folder` belongs to, so that an edited request is another run."""
    forecast: Forecast


class Plan(Frozen):
    """A grid of runs, written by xeval plan and executed by xeval run --plan."""

    schema_version: Literal[1] = 1
    subject: Words
    """The task, the suite of tasks, the published table or the file of a grid."""
    noun: Literal["task", "suite", "table", "grid"]
    """Which of these the subject is."""
    runs: Annotated[tuple[PlannedRun, ...], Field(min_length=1, max_length=MOST_RUNS)]
    suites: tuple[Words, ...] = ()
    """The suites of a grid."""
    skipped: dict[Words, str] = {}
    """Tasks of suites that are left out, and why."""

    @property
    def results(self) -> Path:
        """The results folder of the first run; all runs share it unless the plan was written by hand."""
        return Path(self.runs[0].request.results)

    @property
    def bundle(self) -> str | None:
        """The bundle that the names in the plan are looked up in: that of the first run, as with `results`."""
        return self.runs[0].request.bundle

    @property
    def tasks_dirs(self) -> list[Path]:
        """The folders with further task files."""
        return list(dict.fromkeys(Path(folder) for run in self.runs for folder in run.request.tasks_dirs))

    def longest_first(self) -> list[RunRequest]:
        """Return the requests, longest first, so that devices do not wait for the last run."""
        seconds = [run.forecast.seconds for run in self.runs]
        lengths = [run.forecast.work if None in seconds else run.forecast.seconds or 0 for run in self.runs]
        order = sorted(range(len(self.runs)), key=lambda number: -lengths[number])
        return [self.runs[number].request for number in order]


def run_plan(plan: Plan, engine: Engine) -> tuple[list[StoredRun], list[str]]:
    """Execute the runs of `plan` with `engine`, longest first.

    Returns the runs in the plan's order, as the results folder has them afterwards, each once, and a line on each that
    it lacks.
    """
    outcomes = {run.request.model_dump_json(): Outcome(folder=run.folder) for run in _finished_still(plan)}
    requests = [request for request in plan.longest_first() if request.model_dump_json() not in outcomes]
    if requests:
        outcomes |= zip((request.model_dump_json() for request in requests), engine(requests), strict=True)
    stored, problems = dict[Path, StoredRun](), list[str]()
    for request in (run.request for run in plan.runs):
        outcome = outcomes[request.model_dump_json()]
        run = load_run(Path(outcome.folder)) if outcome.folder is not None else None
        if run is not None:
            stored[run.folder] = run  # a plan may ask for one run twice, if plans were joined
        else:
            problem = (
                outcome.problem or f"finished, but {outcome.folder} is on another machine; xeval merge joins results"
            )
            problems.append(f"{request.in_words}: {problem}")
    return list(stored.values()), problems


def _finished_still(plan: Plan) -> Iterator[PlannedRun]:
    """Yield the finished runs that are still where the plan, which may be old or edited, has them."""
    finished = [run for run in plan.runs if run.folder is not None and run.request_sha256 == run.request.sha256()]
    for bundle in dict.fromkeys(run.request.bundle for run in finished):  # once each, since it takes a checksum
        with using(bundle):
            yield from [run for run in finished if run.request.bundle == bundle and _is_finished_still(run)]


def _is_finished_still(run: PlannedRun) -> bool:
    request = run.request
    assert run.folder is not None
    try:
        stored = load_run(Path(run.folder))
    except StoreError:  # executing it again reports what is wrong
        return False
    task = registry.get_task(request.task, [Path(folder) for folder in request.tasks_dirs])
    wanted = registry.check_languages(task, request.languages)
    return stored is not None and stored.record.scores.keys() >= set(wanted)


def plan_grid(
    subject: str,
    models: Sequence[str],
    *,
    recipe: str | None = None,
    bundle: str | os.PathLike[str] | None = None,
    elsewhere: bool = False,
    measures: bool = False,
    **options: Any,
) -> Plan:
    """Check everything, and return a plan of the runs that `xeval.run`, or `run_suite` for a suite, would execute.

    If the runs are executed `elsewhere`, this machine need not have the requested device. If it `measures`, forecasts
    have a speed. Raises XevalError for runs that cannot be executed, and for a sweep and seeds trained elsewhere, which
    no plan may have.
    """
    refuse_what_no_plan_has(options)
    planner = _Planner(bundle, elsewhere, measures, options)
    with using(bundle):
        if not registry.is_suite(subject, options.get("tasks_dirs") or ()):
            planner.add(subject, TaskGrid([(model, recipe) for model in models], options))
            return Plan(subject=_path_or_name(subject), noun="task", runs=tuple(planner.runs))
        skipped = planner.add_suite(subject, models=models, recipes=[recipe] if recipe else [], **options)
        if not planner.runs:
            raise DefinitionError(f"{subject}: none of its tasks can be run: {next(iter(skipped.values()))}")
    return Plan(subject=_path_or_name(subject), noun="suite", runs=tuple(planner.runs), skipped=skipped)


def plan_file(
    path: str,
    grid: FileGrid,
    *,
    bundle: str | os.PathLike[str] | None = None,
    elsewhere: bool = False,
    measures: bool = False,
) -> Plan:
    """Return a plan of the runs that `run_file` makes of the grid in the file at `path`; see `plan_grid`."""
    options = [*(each.options for each in grid.tasks.values()), *grid.suites.values()]
    for each in options:
        refuse_what_no_plan_has(each)
    planner, skipped = _Planner(bundle, elsewhere, measures, options[0]), dict[str, str]()
    with using(bundle):
        for task, of_task in grid.tasks.items():
            planner.add(task, of_task)
        for suite, of_suite in grid.suites.items():
            skipped |= planner.add_suite(suite, **of_suite)
    if not planner.runs:
        raise DefinitionError(f"{path}: none of its tasks can be run: {next(iter(skipped.values()))}")
    suites = tuple(map(_path_or_name, grid.suites))
    return Plan(subject=_absolute(path), noun="grid", runs=tuple(planner.runs), suites=suites, skipped=skipped)


def plan_table(
    reference: str,
    *,
    bundle: str | os.PathLike[str] | None = None,
    elsewhere: bool = False,
    measures: bool = False,
    **options: Any,
) -> Plan:
    """Return a plan of the runs that `xeval.reproduce` makes; see `plan_grid`."""
    planner = _Planner(bundle, elsewhere, measures, options)
    with using(bundle):
        table, pairs = table_to_reproduce(reference)
        seeds = options.get("seeds") or seeds_for(table, options).seeds
        planner.add(table.task, TaskGrid(pairs, options | {"languages": table.languages, "seeds": seeds}))
    return Plan(subject=_path_or_name(reference), noun="table", runs=tuple(planner.runs))


class _Planner:
    """Collects planned runs, each with its forecast."""

    def __init__(
        self, bundle: str | os.PathLike[str] | None, elsewhere: bool, measures: bool, options: dict[str, Any]
    ) -> None:
        self.runs: list[PlannedRun] = []
        self._elsewhere, self._bundle, self._device = elsewhere, bundle, options.get("device", "auto")
        results = Path(options.get("results", "results"))
        self._speeds = Speeds(results, options.get("reporter") or Silent()) if measures else None

    def as_here(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return `options` with a device that this machine has."""
        return options | ({"device": "auto"} if self._elsewhere else {})

    def add_suite(self, name: str, **options: Any) -> dict[str, str]:
        """Add the tasks of a suite, and return why some of them are left out."""
        grids, skipped = suite_grids(name, **self.as_here(options))
        for task in list(grids):
            with left_out(task, skipped, Silent()):  # the plan itself says why
                self.add(task, grids.pop(task))
        return skipped

    def add(self, task: str, grid: TaskGrid) -> None:
        n_runs = len(self.runs) + len(grid.pairs) * max(1, len(grid.options.get("seeds") or ()))
        if n_runs > MOST_RUNS:
            raise DefinitionError(f"a plan of {n_runs:,} runs; wanted at most {MOST_RUNS:,}: {_IN_PARTS}")
        prepared = prepare_grid(task, grid.pairs, **self.as_here(grid.options))
        common = self._common(task, grid.options)
        for run, (model, recipe) in zip(prepared.runs, prepared.pairs, strict=True):
            request = RunRequest(
                model=_absolute_model(model),
                recipe=_path_or_name(recipe) if recipe is not None else None,
                seed=run.spec.seed if run.spec.train else None,
                test_split=run.spec.task.test_split,
                **common,
            )
            known = forecast(run, prepared.languages)
            if self._speeds is not None:
                known = self._speeds.add_to(known, run.spec)
            is_finished = not known.is_open
            # On another machine, `auto` may mean another arithmetic, and that is another run.
            stays = is_finished and request.dtype != "auto" and run.is_settled()
            folder = _absolute(run.disk.folder) if stays else None
            sha256 = request.sha256() if stays else None
            self.runs.append(
                PlannedRun(
                    request=request, is_finished=is_finished, folder=folder, request_sha256=sha256, forecast=known
                )
            )

    def _common(self, task: str, options: dict[str, Any]) -> dict[str, Any]:
        """Return the values that all runs of a task have in common."""
        data = local_copy(options.get("data"))
        folders = registry.user_folders([Path(folder) for folder in options.get("tasks_dirs") or ()])
        as_they_are = (
            *("train", "train_language", "every_checkpoint", "keep_weights"),
            *("max_train", "max_eval", "dtype"),
        )
        return {key: options[key] for key in as_they_are if key in options} | {
            "task": _path_or_name(task),
            "languages": tuple(options.get("languages") or ()),
            "overrides": dict(options.get("overrides") or {}),
            "data": _absolute(data) if data is not None else None,
            "bundle": _absolute(self._bundle) if self._bundle is not None else None,
            "results": _absolute(options.get("results", "results")),
            "device": self._device,
            "tasks_dirs": tuple(map(_absolute, folders)),
        }


def refuse_what_no_plan_has(options: dict[str, Any]) -> None:
    """Raise DefinitionError for a sweep and for seeds that were trained elsewhere."""
    if options.get("sweep"):
        raise DefinitionError(
            "sweep: its trials choose the values of the runs, which are not known yet; leave out --sweep, or run it"
            " on one device of this machine, without plan and --on"
        )
    if options.get("seeds_of") is not None:
        raise DefinitionError(
            "seeds of: nothing is trained, so there is little to plan; leave it out, or run it without plan and --on"
        )


def _absolute(path: str | os.PathLike[str]) -> str:
    return str(in_home(path).absolute())


def _path_or_name(definition: str) -> str:
    """Return a definition's name as it is, or its file's full path."""
    return _absolute(definition) if registry.is_path(definition) else definition


def _absolute_model(model: str) -> str:
    """Return `model`, with the full path of the folder that it names, if it names one."""
    name = ModelName.parse(model)
    if name.folder is None:
        return model
    return str(name.folder) if name.published_as is None else f"{name.published_as}={name.folder}"


def write_plan(plan: Plan, path: Path) -> None:
    """Write `plan` to `path`. Raises StoreError if it would be too large to be read."""
    content = (plan.model_dump_json(indent=1) + "\n").encode()
    if len(content) > MAX_PLAN_BYTES:
        raise StoreError(f"{path}: wanted at most {MAX_PLAN_BYTES:,} bytes, got {len(content):,}; {_IN_PARTS}")
    write_output(path, content)


def read_plan(path: Path) -> Plan:
    """Read the plan at `path`. Raises StoreError for a file that is not a plan."""
    try:
        return Plan.model_validate_json(read_ordinary(path, MAX_PLAN_BYTES))
    except OSError as error:
        raise StoreError(f"{path}: cannot be read as a plan: {error.strerror}; {_HOW}") from error
    except ValidationError as error:
        raise StoreError(f"{path}: not a plan: {first_complaint(error)}; {_HOW}") from error
