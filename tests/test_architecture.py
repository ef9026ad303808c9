"""The layers of xeval and what each may import, read from the source."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From top to bottom. A module imports from its own layer and from those below.
LAYERS = (
    "cli",
    "runs",
    "report",
    "checks",
    "judging",
    "engine",
    "data",
    "results",
    "definitions",
    "kinds",
    "support",
)
# They start fast, because nothing that they import loads a heavy library.
LIGHT = ("xeval.cli", "xeval.report", "xeval.checks.after", "xeval.judging", "xeval.results")
HEAVY = {"torch", "transformers", "datasets", "evaluate", "tokenizers", "huggingface_hub"}
# Libraries that only the modules named here import.
IN_CHARGE = {
    "datasets": {"xeval.data.tables", "xeval.kinds.metric"},
    "evaluate": {"xeval.kinds.metric"},
    "huggingface_hub": {"xeval.data.hub", "xeval.engine.unpickle", "xeval.report.formats.model_card"},
}
# They fetch, or run code that strangers wrote.
FORBIDDEN = ("pickle", "urllib", "requests", "httpx")


@cache
def modules() -> dict[str, Path]:
    """Return every module of xeval by its dotted name. A package's module is its __init__."""
    found = {}
    for path in sorted((ROOT / "xeval").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def imports(module: str, only_on_loading: bool = False) -> frozenset[str]:
    """Return the full names of the modules that `module` imports, or only of those that it imports on loading."""
    names: set[str] = set()
    nodes: list[ast.AST] = [ast.parse(modules()[module].read_text(encoding="utf-8"))]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: write imports in full"
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            names.update(name if name in modules() else node.module for name in inside)
        elif only_on_loading and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        elif only_on_loading and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            nodes.extend(node.orelse)
            continue
        nodes.extend(ast.iter_child_nodes(node))
    return frozenset(names)


def libraries(module: str, only_on_loading: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imports(module, only_on_loading)} - {"xeval"}


def layer(module: str) -> int:
    """Return the number of the module's layer, from the top. Only `xeval` and `xeval.__main__` are above all layers."""
    folder = module.split(".")[1:2]
    return LAYERS.index(folder[0]) if folder and folder[0] in LAYERS else -1


@cache
def upward_imports() -> frozenset[tuple[str, str]]:
    """Return every import from a higher layer, as (importing module, imported module)."""
    arrows = {(module, name) for module in modules() for name in imports(module) & modules().keys()}
    return frozenset((module, name) for module, name in arrows if layer(name) < layer(module))


def loaded_with(module: str) -> dict[str, str]:
    """Return every library that importing `module` loads, with the chain of imports that leads to it."""
    ways, waiting, seen = {}, [(module, module)], set()
    while waiting:
        name, way = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for library in libraries(name, only_on_loading=True):
            ways.setdefault(library, f"{way} → {library}")
        packages = [name.rsplit(".", n)[0] for n in range(1, name.count(".") + 1)]
        inner = imports(name, only_on_loading=True) & modules().keys()
        waiting += [(other, f"{way} → {other}") for other in [*packages, *inner]]
    return ways


def light_modules() -> list[str]:
    return [name for name in modules() if f"{name}.".startswith(tuple(f"{room}." for room in LIGHT))]


def test_every_folder_is_a_layer_and_every_module_is_in_one():
    assert {path.parent.name for path in (ROOT / "xeval").glob("*/__init__.py")} == set(LAYERS)
    assert {path.name for path in (ROOT / "xeval").glob("*.py")} == {"__init__.py", "__main__.py"}


def test_no_module_imports_from_a_layer_above_its_own():
    assert sorted(upward_imports()) == []


def test_imports_inside_functions_are_found_too():
    assert "xeval.support.text" in imports("xeval.cli", only_on_loading=True)
    assert "xeval.runs.grid" in imports("xeval.cli.run") - imports("xeval.cli.run", only_on_loading=True)


def test_only_the_command_line_uses_typer():
    assert {name for name in modules() if "typer" in libraries(name) and not name.startswith("xeval.cli")} == set()


def test_package_imports_nothing_outside_the_wheel():
    beside = {path.name for path in ROOT.iterdir() if path.is_dir()} - {"xeval"}
    assert {name: libraries(name) & beside for name in modules() if libraries(name) & beside} == {}


def test_light_packages_exist():
    assert {room for room in LIGHT if room not in light_modules()} == set()


@pytest.mark.parametrize("module", light_modules())
def test_a_light_module_loads_no_heavy_library(module):
    ways = loaded_with(module)
    assert {library: way for library, way in ways.items() if library in HEAVY} == {}


def test_importing_light_modules_loads_no_heavy_library():
    names = [*light_modules(), "xeval", "xeval.definitions.registry"]
    code = (
        f"import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        f"print(sorted({HEAVY!r} & sys.modules.keys()))"
    )
    process = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (process.returncode, process.stdout, process.stderr) == (0, "[]\n", "")


@pytest.mark.parametrize("library", sorted(IN_CHARGE))
def test_only_the_modules_in_charge_import_this_library(library):
    assert {name for name in modules() if library in libraries(name)} == IN_CHARGE[library]


@pytest.mark.parametrize("library", FORBIDDEN)
def test_forbidden_libraries_are_never_imported(library):
    assert {name for name in modules() if library in libraries(name)} == set()
