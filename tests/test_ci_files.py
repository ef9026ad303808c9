"""What other repositories, containers and Read the Docs run: these files are parsed, since nothing here runs them."""

import json
import re
import runpy
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer
import yaml

from xeval.cli import app
from xeval.support.version import VERSION

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = typer.main.get_command(app).commands
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
SITE = yaml.safe_load((ROOT / ".readthedocs.yaml").read_text(encoding="utf-8"))
INSTRUCTIONS = {"FROM", "ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "CMD"}


def dockerfile() -> list[tuple[str, str]]:
    """Return the instructions with their arguments; a line continued by a backslash counts as one."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def values(instruction: str) -> list[str]:
    return [rest for word, rest in dockerfile() if word == instruction]


# ── the action ──


def test_action_is_composite_and_each_step_names_its_shell():
    assert ACTION["runs"]["using"] == "composite"
    assert all(step.get("shell") == "bash" for step in STEPS if "run" in step)


def test_exactly_the_declared_inputs_are_used():
    used = set(re.findall(r"inputs\.(\w+)", json.dumps(STEPS)))
    assert used == set(ACTION["inputs"])


def test_inputs_are_never_pasted_into_scripts():
    """An input inside a script could end its command and begin another."""
    assert not [step for step in STEPS if "${{" in step.get("run", "")]


@pytest.mark.parametrize("step", [step for step in STEPS if "run" in step], ids=lambda step: step["name"])
def test_script_is_valid_and_calls_existing_commands(step):
    subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
    for line in re.findall(r"^ *(xeval .+)$", step["run"], re.MULTILINE):
        _, name, *rest = shlex.split(line)
        known = {word for parameter in COMMANDS[name].params for word in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known


def test_words_of_inputs_reach_xeval_one_by_one(tmp_path):
    """The step is run with a stand-in for xeval that prints its arguments."""
    stand_in = tmp_path / "bin" / "xeval"
    stand_in.parent.mkdir()
    stand_in.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    stand_in.chmod(0o755)
    [run] = [step["run"] for step in STEPS if step.get("name") == "Run"]
    environment = {
        "PATH": f"{stand_in.parent}:/usr/bin:/bin",
        "WORDS": "xnli --model $HOME;ls --seed 1,2",
        "RESULTS": "r",
    }
    done = subprocess.run(["bash", "-eu", "-c", run], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout == "[run][xnli][--model][$HOME;ls][--seed][1,2][--results][r]"
    (tmp_path / "r").mkdir()
    assert subprocess.run(["bash", "-c", run], cwd=tmp_path, env=environment, capture_output=True).returncode == 2


def test_ci_page_uses_existing_inputs():
    page = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```yaml\n(- uses: OWNER/xeval.*?)```", page, re.DOTALL)
    [step] = yaml.safe_load(block)
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert len(block.splitlines()) == 5


# ── the Dockerfile ──


def test_dockerfile_starts_from_a_pinned_image():
    assert {word for word, _ in dockerfile()} <= INSTRUCTIONS
    assert dockerfile()[0][0] == "FROM"
    assert re.fullmatch(r"python:3\.\d+-[a-z-]+", values("FROM")[0])


def test_what_the_dockerfile_copies_and_makes_exists():
    for rest in values("COPY"):
        assert all((ROOT / source).exists() for source in rest.split()[:-1])
    [command] = map(json.loads, values("CMD"))
    assert command[0] == "make" and re.search(rf"^{command[-1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    variable, _, folder = command[1].partition("=")
    assert re.search(rf"^{variable} :=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert f"touch {folder}/.installed" in " ".join(values("RUN"))  # so that make installs nothing


@pytest.mark.parametrize("script", values("RUN"), ids=lambda script: script.split()[0])
def test_dockerfile_scripts_stop_at_the_first_failure(script):
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert ";" not in script.replace("; then", "").replace("; fi", "")
    assert "apt-get install" not in script or "--no-install-recommends" in script
    assert "pip install" not in script or "--constraint" in script


def test_container_is_not_root_and_takes_the_device():
    assert values("USER") == ["user"]
    [argument] = values("ARG")
    assert argument == "DEVICE=cpu" and any("$DEVICE" in script for script in values("RUN"))
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", ".venv"} <= set(ignored)


# ── the documentation of each version ──


def test_site_is_built_as_by_make_docs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [install] = SITE["build"]["jobs"]["install"]
    constraints, words = re.match(r"pip install --constraint (\S+) (.+)", install).groups()
    assert sorted(words.split()) == sorted(
        re.match(r"[\w-]+", name)[0] for name in project["optional-dependencies"]["docs"]
    )
    assert project["requires-python"] == f">={SITE['build']['tools']['python']}" and (ROOT / constraints).is_file()
    assert SITE["sphinx"] == {"configuration": "docs/conf.py", "fail_on_warning": True}
    assert "sphinx -q -W" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_site_shows_its_version():
    made = runpy.run_path(str(ROOT / SITE["sphinx"]["configuration"]))
    assert made["html_title"] == f"xeval {VERSION}" and made["release"] == VERSION


# ── inputs of the action on several lines ──


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Run", "[run][--threshold][0.5][--mean-threshold][0.3][--results][r]"),
        ("Check", "[check][--results][r][--baseline][b][--github][--threshold][0.5][--mean-threshold][0.3]"),
    ],
)
def test_every_line_of_an_input_reaches_xeval(name, said, tmp_path):
    """YAML's `|` keeps line breaks; the shell is called as GitHub's runner calls it."""
    stand_in = tmp_path / "xeval"
    stand_in.write_text('#!/bin/sh\nprintf "[%s]" "$@"\n')
    stand_in.chmod(0o755)
    [script] = [step["run"] for step in STEPS if step.get("name") == name]
    words = {"WORDS": "--threshold 0.5\n--mean-threshold 0.3\n", "RESULTS": "r", "BASELINE": "b"}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **words},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == said


def test_action_finds_its_own_folder_in_a_container():
    """There, `github.action_path` is a path of the host (https://github.com/actions/runner/issues/2185)."""
    [install] = [step["run"] for step in STEPS if step.get("name", "").startswith("Install")]
    assert '"$GITHUB_ACTION_PATH"' in install and "github.action_path" not in json.dumps(STEPS)


# ── what the action leaves to the job's later steps ──


def test_action_leaves_the_jobs_own_python():
    [setup] = [step for step in STEPS if str(step.get("uses", "")).startswith("actions/setup-python@")]
    [install] = [step for step in STEPS if str(step.get("name", "")).startswith("Install")]
    assert setup["with"]["update-environment"] is False
    assert install["env"]["PYTHON"] == f"${{{{ steps.{setup['id']}.outputs.python-path }}}}"


def test_only_xeval_joins_the_jobs_path(tmp_path):
    """A stub of Python makes an environment of stubs; the one for xeval prints what reaches it."""
    [install] = [step["run"] for step in STEPS if str(step.get("name", "")).startswith("Install")]
    python, runner, path = tmp_path / "3.11" / "bin" / "python", tmp_path / "a b", tmp_path / "path"
    python.parent.mkdir(parents=True)
    says = '#!/bin/sh\\nprintf "[%s]" "$LD_LIBRARY_PATH" "$@"\\n'
    python.write_text(
        f'#!/bin/sh\n[ "$1 $2" = \'-m venv\' ] && mkdir -p "$3/bin" && cd "$3/bin" || exit 1\n'
        f"for name in python pip uv xeval; do printf '{says.replace('%', '%%')}' > $name; chmod +x $name; done\n"
    )
    python.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "RUNNER_TEMP": str(runner)}
    environment |= {"GITHUB_ACTION_PATH": "/action", "GITHUB_PATH": str(path)}
    shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
    for _ in range(2):  # a job may use the action twice
        subprocess.run([*shell, install], env=environment, capture_output=True, check=True)
    folders = set(path.read_text().splitlines())
    assert [name.name for folder in folders for name in Path(folder).iterdir()] == ["xeval"]
    command = [f"{folders.pop()}/xeval", "check", "two words", "$HOME"]
    done = subprocess.run(command, env={"LD_LIBRARY_PATH": "/own"}, capture_output=True, text=True, check=True)
    assert done.stdout == f"[{tmp_path}/3.11/lib:/own][check][two words][$HOME]"
