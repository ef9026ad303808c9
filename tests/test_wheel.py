"""The wheel, installed elsewhere, works without the repository: everything that xeval reads at run time is inside."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Installed:
    folder: Path
    elsewhere: Path  # where commands run

    def __call__(self, *command: str) -> str:
        """Standard output of a command that sees this wheel before anything else."""
        environment = os.environ | {
            "PYTHONPATH": str(self.folder),
            "XEVAL_CACHE": str(self.elsewhere / "cache"),
            "COLUMNS": "200",
        }
        process = subprocess.run(command, capture_output=True, text=True, cwd=self.elsewhere, env=environment)
        assert process.returncode == 0, process.stderr
        return process.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Built with the hatchling and used with the libraries that are installed here: no network."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    built, target = folder / "built", folder / "target"
    subprocess.run(
        [*pip, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", built, ROOT], check=True
    )
    (wheel,) = built.iterdir()
    subprocess.run([*pip, "install", "--no-index", "--no-deps", "--target", target, wheel], check=True)
    return Installed(target, tmp_path_factory.mktemp("elsewhere"))


def files_below(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)) for path in paths}


def test_wheel_contains_package_tasks_and_tables(installed):
    wanted = {
        *files_below(ROOT / "xeval"),
        *(f"bundled/tasks/{name}" for name in files_below(ROOT / "tasks")),
        *(f"bundled/published/{name}" for name in files_below(ROOT / "results" / "published")),
    }
    assert files_below(installed.folder / "xeval") == wanted
    assert {path.name for path in installed.folder.iterdir() if path.suffix != ".dist-info"} == {"bin", "xeval"}


def test_installed_xeval_runs_in_another_folder(installed):
    xeval = str(installed.folder / "bin" / "xeval")
    found = installed(sys.executable, "-c", "import xeval; print(xeval.__file__)").strip()
    assert Path(found).is_relative_to(installed.folder), "the wheel should be what is tested"
    assert "xnli-mini" in installed(xeval, "list", "tasks")
    small = ("--max-train", "320", "--max-eval", "60", "--language", "en,ur")
    installed(xeval, "run", "xnli-mini", "--model", "mini-mbert", *small)
    markdown = installed(xeval, "report")
    assert "| mini-mbert" in markdown and "says nothing about mBERT" in markdown
    for name in ("report.html", "report.tex", "report.csv", "report.json"):
        installed(xeval, "report", "--output", name)
        assert (installed.elsewhere / name).stat().st_size > 100
