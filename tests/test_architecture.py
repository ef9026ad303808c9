"""The shape of the house, read from the imports: stages know only nouns and leaves, and reports start without torch."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

STAGES = {"data", "encode", "models", "train", "predict", "score", "store"}
# Nouns, and what knows of nothing but nouns.
LEAVES = {
    "batches",
    "bundle",
    "cache",
    "checkpoints",
    "devices",
    "embedded",
    "errors",
    "fast_path",
    "files",
    "findings",
    "hub",
    "languages",
    "layouts",
    "metrics",
    "pair_classification",
    "records",
    "registry",
    "schema",
    "sealed",
    "termination",
    "training_progress",
}
BESIDE_LEAVES = {"embedded": {"microcosm"}}
# The only ones that know of several stages.
JOINERS = {"pipeline", "make_bundle", "preflight.examine", "one_run", "run_spec", "corpus"}
FROM_SCORE_TO_REPORT = (
    "score",
    "store",
    "predictions",
    "calibration",
    "report",
    "claims",
    "comparison",
    "equivalence",
    "verdict",
    "diagnosis",
    "findings",
    "gate",
)
HEAVY = {"torch", "transformers", "datasets", "evaluate", "tokenizers", "huggingface_hub"}


@cache
def modules() -> dict[str, Path]:
    """Every module of xeval by its dotted name; a package's is its __init__."""
    found = {}
    for path in sorted((ROOT / "xeval").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str, within_functions: bool) -> frozenset[str]:
    """Names of the modules that `module` imports, other than for type checkers; of xeval's, the full dotted names."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(modules()[module].read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are written in full here"
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not within_functions:
            continue
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes.extend(node.orelse)
            continue
        nodes.extend(ast.iter_child_nodes(node))
    return frozenset(name for name in names if not name.startswith("xeval.") or name in modules())


def rooms_imported(module: str) -> set[str]:
    """xeval's rooms that `module` imports anywhere in it, by short name."""
    names = imports(module, within_functions=True)
    return {name.split(".")[1] for name in names if name.startswith("xeval.")}


def modules_of(room: str) -> list[str]:
    """The module of that name, or all those of the package."""
    return [name for name in modules() if f"{name}.".startswith(f"xeval.{room}.")]


def libraries_imported(module: str, within_functions: bool = True) -> set[str]:
    return {name.partition(".")[0] for name in imports(module, within_functions)} - {"xeval"}


def loaded_with(module: str) -> dict[str, str]:
    """Every library loaded by importing `module`, at module level, with the way to it."""
    ways, waiting, seen = {}, [(module, module)], set()
    while waiting:
        name, way = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for library in libraries_imported(name, within_functions=False):
            ways.setdefault(library, f"{way} → {library}")
        packages = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
        inner = [other for other in imports(name, within_functions=False) if other in modules()]
        waiting += [(other, f"{way} → {other}") for other in [*packages, *inner]]
    return ways


def light_modules() -> list[str]:
    return [name for name in modules() if name.split(".")[1:2] and name.split(".")[1] in FROM_SCORE_TO_REPORT]


def test_the_rooms_named_here_exist():
    assert {f"xeval.{room}" for room in STAGES | LEAVES | JOINERS} <= set(modules())
    assert {
        "xeval.judging.score",
        "xeval.results.store",
        "xeval.results.predictions",
        "xeval.report.formats.markdown",
    } <= set(light_modules())


@pytest.mark.parametrize("room", sorted(STAGES | LEAVES))
def test_stages_and_leaves_import_only_nouns_and_leaves_never_each_other(room):
    imported = set().union(*(rooms_imported(module) for module in modules_of(room)))
    assert imported - LEAVES - BESIDE_LEAVES.get(room, set()) == set()


def test_only_the_pipeline_joins_stages():
    joining = {name for name in modules() if len(rooms_imported(name) & STAGES) > 1}
    assert joining <= {f"xeval.{room}" for room in JOINERS}


def test_no_room_imports_the_command_line_and_only_the_command_line_knows_typer():
    edges = ("xeval.cli", "xeval.__main__", "tools.microcosm")  # the last is a tool of xeval's makers
    outside = [name for name in modules() if not name.startswith(edges)]
    assert [name for name in outside if "cli" in rooms_imported(name)] == []
    assert [name for name in outside if "typer" in libraries_imported(name)] == []


@pytest.mark.parametrize("module", light_modules())
def test_nothing_from_score_to_report_needs_a_heavy_library_to_be_imported(module):
    ways = loaded_with(module)
    assert {library: way for library, way in ways.items() if library in HEAVY} == {}


def test_importing_score_store_report_and_the_command_line_really_leaves_torch_alone():
    names = [*light_modules(), "xeval", "xeval.definitions.registry", "xeval.cli"]
    code = (
        f"import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize(
    ("library", "rooms"),
    [
        ("huggingface_hub", {"xeval.data.hub", "xeval.report.formats.model_card"}),
        ("datasets", {"xeval.data.xnli_copies", "xeval.kinds.metric"}),
    ],
)
def test_only_the_room_in_charge_imports_this_library(library, rooms):
    assert {name for name in modules() if library in libraries_imported(name)} == rooms


@pytest.mark.parametrize("library", ["evaluate", "pickle", "urllib", "requests", "httpx"])
def test_nothing_else_fetches_or_runs_what_strangers_wrote(library):
    allowed = {"evaluate": {"xeval.kinds.metric"}}.get(library, set())
    assert {name for name in modules() if library in libraries_imported(name)} <= allowed


MOST_LINES = {"a file": 300, "a function": 60}
# What may be longer, each with its reason.
LONGER = {
    "xeval/cli/run.py: run": "an option is a parameter, and one call hands them all on",
    "xeval/runs/grid.py: run": "the same parameters, each explained to who calls it from Python",
}


def lengths(path: Path) -> dict[str, int]:
    """How many lines the file at `path` has, and each function in it."""
    text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return {name: text.count("\n")} | {f"{name}: {n.name}": n.end_lineno - n.lineno + 1 for n in functions}


def test_files_and_functions_are_of_a_length_that_can_be_read():
    files = sorted(path for room in ("xeval", "benchmarks", "tests") for path in (ROOT / room).rglob("*.py"))
    measured = {name: n for path in files for name, n in lengths(path).items()}
    too_long = {name: n for name, n in measured.items() if n > MOST_LINES["a function" if ": " in name else "a file"]}
    assert {name: n for name, n in too_long.items() if name not in LONGER} == {}
    assert LONGER.keys() <= too_long.keys(), "what is short enough needs no exception"
