"""Requests for runs: to JSON and back, planned, and executed one by one or by several processes."""

import json
import os
import shutil
from itertools import product
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.helpers.sample_record import environment, run_record
from xeval.definitions.registry import get_reference, get_task
from xeval.engine import devices
from xeval.engine.environment import describe
from xeval.judging.equivalence import Published, Spread, compare
from xeval.judging.power import power_of, share_reproduced
from xeval.results.records import Invocation, Timing
from xeval.results.store import load_run, load_runs
from xeval.runs import forecast
from xeval.runs.grid import run
from xeval.runs.on_local import MOST_LOSSES, in_this_process, on_local
from xeval.runs.outlook import outlook_of_grid
from xeval.runs.plan import plan_grid, plan_table, read_plan, run_plan, write_plan
from xeval.runs.requests import Outcome, RunRequest, attempt, execute
from xeval.support.cache import clear
from xeval.support.errors import DefinitionError, StoreError
from xeval.support.progress import Silent

RECIPE = """\
name = "brief"
description = "Two epochs of three batches"
learning_rate = 2e-3
batch_size = 8
epochs = 2
max_length = 48
seed = 3
"""


@pytest.fixture
def words(tmp_path, mini, checkpoint_of):
    """Arguments of `plan_grid` for runs that take a second."""
    (tmp_path / "brief.toml").write_text(RECIPE)
    return {
        "subject": str(mini.task_file),
        "models": [str(checkpoint_of("bert"))],
        "recipe": str(tmp_path / "brief.toml"),
        "seeds": [1, 2],
        "data": mini.data,
        "results": tmp_path / "results",
        "device": "cpu",
        "dtype": "float32",
    }


def weights(folder) -> dict[int, str]:
    return {run.record.seed: run.record.training.weights_sha256 for run in load_runs(folder)}


def test_request_survives_json():
    request = RunRequest(
        task="xnli",
        model="mbert@main",
        recipe="hf-2019",
        seed=7,
        languages=("en", "es"),
        overrides={"epochs": 2.0, "batch_size": 16, "learning_rate": 3e-05, "selection": "last"},
        results="/somewhere/results",
        max_eval=9,
        tasks_dirs=("/tasks",),
    )
    again = RunRequest.model_validate_json(request.model_dump_json())
    assert again == request
    assert [type(value) for value in again.overrides.values()] == [float, int, float, str]
    assert request.in_words == "xnli, mbert@main hf-2019, seed 7"


@pytest.mark.parametrize("change", [{"seed": -1}, {"task": ""}, {"max_train": 0}, {"colour": "red"}, {"seed": "1"}])
def test_invalid_requests_are_refused(change):
    request = {"task": "xnli", "model": "mbert", "results": "/results"} | change
    with pytest.raises(ValidationError):
        RunRequest.model_validate_json(json.dumps(request))


def test_plan_has_a_request_per_model_and_seed(words, checkpoint_of, tmp_path, monkeypatch):
    """Its paths are absolute."""
    monkeypatch.chdir(tmp_path)
    models = [*words["models"], str(checkpoint_of("distilbert"))]
    plan = plan_grid(**words | {"models": models, "results": "here", "recipe": "./brief.toml"})
    assert [(run.request.model, run.request.seed) for run in plan.runs] == list(product(models, [1, 2]))
    first, *_ = [run.request for run in plan.runs]
    assert (first.results, first.recipe) == (str(tmp_path / "here"), str(tmp_path / "brief.toml"))
    assert (first.task, first.data) == (words["subject"], str(words["data"]))
    assert not any(run.is_finished for run in plan.runs)
    known = plan.runs[0].forecast
    assert (known.rows_trained, known.rows_evaluated) == (2 * 24, 2 * 12 + 3 * 12)  # two epochs; selection twice, tests
    assert not (tmp_path / "here").exists()


class Listening(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)


@pytest.mark.parametrize("kept_in", ["the cache", "its folder", "neither"])
@pytest.mark.parametrize("more", [{"languages": ["es", "zh"]}, {"languages": ["es"], "max_eval": 4}])
def test_plan_has_no_training_that_is_not_repeated(words, kept_in, more, tmp_path, monkeypatch):
    """Weights that a run has kept serve other languages and other rows."""
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    options = words | {"seeds": [1], "languages": ["es"]}
    execute(plan_grid(**options | {"keep_weights": kept_in == "its folder"}).runs[0].request)
    if kept_in != "the cache":
        clear("weights")
    [planned], [named] = plan_grid(**options | more).runs, outlook_of_grid(**options | more).runs
    assert planned.forecast.is_training is (named.trained_weights > 0) is (kept_in == "neither")
    listening = Listening()
    made = execute(planned.request, listening)
    assert set(more["languages"]) <= made.record.scores.keys()
    assert any("effective batch size" in line for line in listening.said) is (kept_in == "neither")


def test_plan_survives_its_file(words, tmp_path):
    plan = plan_grid(**words)
    write_plan(plan, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == plan


def test_executed_request_gives_the_run_of_a_grid(words, tmp_path):
    plan = plan_grid(**words)
    made = execute(plan.runs[1].request)
    options = {key: value for key, value in words.items() if key not in ("subject", "seeds", "results")}
    [record] = run(words["subject"], seeds=[2], results=tmp_path / "others", **options)
    assert made.record.identity == record.identity
    assert made.record.training.weights_sha256 == record.training.weights_sha256
    assert [run.is_finished for run in plan_grid(**words).runs] == [False, True]


@pytest.mark.parametrize(
    ("what", "sent"), [("nothing", [1]), ("its dtype is auto", [1, 2]), ("it is gone", [1, 2]), ("damaged", [1, 2])]
)
def test_finished_run_is_sent_again_only_for_a_reason(words, what, sent):
    made = execute(plan_grid(**words).runs[1].request)
    plan = plan_grid(**words | ({"dtype": "auto"} if what == "its dtype is auto" else {}))
    assert [run.is_finished for run in plan.runs] == [False, True]
    if what == "it is gone":
        shutil.rmtree(made.folder)
    if what == "damaged":
        (made.folder / "record.json").write_bytes(b"{")
    seeds = []

    def engine(requests):
        seeds.extend(request.seed for request in requests)
        return [Outcome(problem="not made") for _ in requests]

    stored, problems = run_plan(plan, engine)
    assert seeds == sent
    assert ([run.record.seed for run in stored], len(problems)) == ([2] if sent == [1] else [], len(sent))


def test_finished_plan_sends_no_requests(words):
    for planned in plan_grid(**words).runs:
        execute(planned.request)
    stored, problems = run_plan(plan_grid(**words), lambda requests: pytest.fail(f"{len(requests)} sent"))
    assert ([run.record.seed for run in stored], problems) == ([1, 2], [])


@pytest.mark.slow
def test_two_processes_give_the_results_of_one(words, tmp_path, capfd):
    stored, problems = run_plan(plan_grid(**words), on_local(["cpu", "cpu"]))
    assert (problems, [run.record.seed for run in stored]) == ([], [1, 2])
    assert len({next(iter(run.record.invocations)) for run in stored}) == 2  # processes
    lines = capfd.readouterr().err.splitlines()
    assert sum(" starts on cpu" in line for line in lines) == 2
    assert sum(" ended after " in line for line in lines) == 2
    alone, _ = run_plan(plan_grid(**words | {"results": tmp_path / "alone"}), in_this_process(Silent()))
    assert weights(tmp_path / "alone") == weights(words["results"])
    assert [run.record.scores for run in alone] == [
        run.record.scores
        | {
            name: score.model_copy(update={"invocation": other.record.scores[name].invocation})
            for name, score in run.record.scores.items()
        }
        for run, other in zip(stored, alone, strict=True)
    ]


def test_impossible_run_does_not_stop_the_others(words, tmp_path):
    plan = plan_grid(**words)
    wrong = plan.runs[0].request.model_copy(update={"model": str(tmp_path / "nowhere")})
    broken = plan.model_copy(update={"runs": (plan.runs[0].model_copy(update={"request": wrong}), plan.runs[1])})
    stored, problems = run_plan(broken, in_this_process(Silent()))
    assert [run.record.seed for run in stored] == [2]
    [problem] = problems
    assert problem.startswith(f"{wrong.in_words}: model {tmp_path / 'nowhere'}: wanted a folder")


def test_unexpected_error_is_reported_with_its_traceback(words, monkeypatch, capsys):
    monkeypatch.setattr("xeval.runs.requests.run_grid", lambda *words, **options: 1 / 0)
    outcome = attempt(plan_grid(**words).runs[0].request)
    assert outcome.problem == "ended by ZeroDivisionError: division by zero"
    assert "1 / 0" in capsys.readouterr().err


def test_the_longest_run_comes_first(words, checkpoint_of):
    plan = plan_grid(**words)
    small, large = (
        run.model_copy(update={"forecast": run.forecast.model_copy(update={"n_weights": n})})
        for run, n in zip(plan.runs, (10, 20), strict=True)
    )
    assert plan.model_copy(update={"runs": (small, large)}).longest_first() == [large.request, small.request]


@pytest.mark.parametrize(
    ("option", "said"),
    [({"sweep": {"epochs": [1, 2]}}, "sweep: its trials"), ({"seeds_of": "mine"}, "seeds of: nothing")],
)
def test_options_that_plans_cannot_have_are_refused(words, option, said):
    with pytest.raises(DefinitionError, match=said):
        plan_grid(**words | option)


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"schema_version": 2}', "\x00", '{"runs": []}'])
def test_non_plan_files_are_refused_in_one_line(tmp_path, content, command):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(StoreError, match="not a plan"):
        read_plan(path)
    code, out, err = command("run", "--plan", path)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_a_plan_that_is_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "plan.json")
    with pytest.raises(StoreError, match="not an ordinary file"):
        read_plan(tmp_path / "plan.json")


# ── on the command line ──


def as_words(words, *names):
    options = {"--model": words["models"][0], "--recipe": words["recipe"], "--data": words["data"]}
    options |= {"--results": words["results"], "--device": "cpu", "--dtype": "float32", "--seed": "1,2"}
    return [words["subject"], *[word for pair in options.items() for word in pair], *names]


def test_plan_is_printed_in_plain_words_and_executed(words, tmp_path, command):
    path = tmp_path / "plan.json"
    code, out, _ = command("plan", *as_words(words, "--output", path))
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "2 runs, none of them finished:"
    assert lines[1].endswith("brief: seeds 1, 2")
    text = " ".join(out.split())
    for part in (
        "Time: ",
        " on one device like this one",
        "a calibration",
        "Memory: at least ",
        "Disk: ",
        "Verdicts: ",
    ):
        assert part in text
    assert max(len(line) for line in lines if "/" not in line) <= 80
    assert lines[-1] == f"To run it: xeval run --plan {path}"
    assert load_runs(words["results"]) == []
    code, out, _ = command("run", "--plan", path, "--quiet")
    assert (code, len(load_runs(words["results"]))) == (0, 2)
    code, out, _ = command("plan", *as_words(words, "--quiet"))
    assert out.startswith("2 runs, 2 finished, 0 to do:")
    assert "Time" not in out


def test_a_speed_is_measured_once(words, command, monkeypatch):
    command("plan", *as_words(words, "--quiet"))
    monkeypatch.setattr(forecast, "calibrate", lambda spec: pytest.fail("it was measured again"))
    assert command("plan", *as_words(words, "--quiet"))[0] == 0


def test_speed_is_taken_from_finished_runs(words, monkeypatch):
    """If they have enough rows; here one is enough."""
    monkeypatch.setattr(forecast, "LEAST_ROWS", 1)
    run_plan(plan_grid(**words), in_this_process(Silent()))
    plan = plan_grid(**words | {"seeds": [1, 2, 3]}, measures=True)
    assert [run.is_finished for run in plan.runs] == [True, True, False]
    records = [run.record for run in load_runs(words["results"])]
    trainings = [record.timing["train"] for record in records]
    known = plan.runs[2].forecast
    assert known.speed.measured_by == "finished runs"
    assert known.speed.trained_s == pytest.approx(sum(t.wall_s for t in trainings) / sum(t.rows for t in trainings))
    assert known.seconds == known.rows_trained * known.speed.trained_s + known.rows_evaluated * known.speed.evaluated_s


@pytest.mark.parametrize("more", [["--seed", "1"], ["xnli"], ["--epochs", "2"], ["--model", "mbert"]])
def test_other_run_options_with_a_plan_are_refused(tmp_path, command, more):
    code, out, err = command("run", "--plan", tmp_path / "plan.json", *more)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "leave out one of the two" in err


@pytest.mark.parametrize("more", [[], ["xnli"]])
def test_run_without_task_or_model_is_refused(command, more):
    code, _, err = command("run", *more)
    assert (code, err.count("\n")) == (2, 1)
    assert "wanted a task and a model" in err


@pytest.mark.slow
def test_suite_is_planned_task_by_task_and_executed(tmp_path, command):
    tasks = "".join(f'[[tasks]]\ntask = "{name}"\ngroup = "g"\n' for name in ("tags-mini", "retrieval-mini"))
    path = tmp_path / "two.toml"
    path.write_text(f'name = "two"\ntitle = "Two"\nsource_url = "https://example.org/two"\n{tasks}', encoding="utf-8")
    plan = plan_grid(
        str(path), ["mini-mbert"], results=tmp_path / "results", max_train=64, max_eval=8, languages=["de"]
    )
    assert (plan.noun, plan.subject) == ("suite", str(path))
    assert [(run.request.task, run.request.seed is None) for run in plan.runs] == [
        ("tags-mini", False),
        ("retrieval-mini", True),
    ]
    write_plan(plan, tmp_path / "plan.json")
    code, out, err = command("run", "--plan", tmp_path / "plan.json", "--quiet", "--format", "json")
    assert (code, err) == (0, "")
    assert [record["task"] for record in json.loads(out)] == ["tags-mini", "retrieval-mini"]


def test_a_published_table_is_planned_by_its_rows(tmp_path):
    plan = plan_table("xnli-mini", seeds=[1, 2], results=tmp_path / "results", max_eval=8)
    assert [(run.request.model, run.request.recipe, run.request.seed) for run in plan.runs] == [
        (model, "mini", seed) for model in ("mini-mbert", "mini-distilmbert") for seed in (1, 2)
    ]


# ── how often seeds reach a verdict ──


def test_more_seeds_show_reproduction_more_often():
    """One seed never does."""
    table = get_reference("distilmbert-card")
    powers = power_of(table.rows[0], get_task("xnli"), [1, 3, 10])
    assert [power.n_seeds for power in powers] == [1, 3, 10]
    assert powers[0].mean == powers[0].cell == 0
    assert 0 < powers[1].cell < powers[2].cell < 1


@pytest.mark.parametrize("n_seeds", [2, 4])
def test_share_reproduced_matches_verdicts_on_drawn_scores(n_seeds):
    import numpy as np

    published, spread, rng = Published(70.0, 5, 0.0), Spread(0.6, 4.0), np.random.default_rng(5)
    n_reproduced, n_drawn = 0, 2000
    for _ in range(n_drawn):
        theirs = Published(70 + rng.normal(0, 0.6 / 5**0.5), 5, 0.0)
        scores = (70 + rng.normal(0, 0.6, n_seeds)).tolist()
        n_reproduced += compare(scores, theirs, 1.5, spread).outcome == "reproduced"
    assert share_reproduced(n_seeds, published, spread, 1.5) == pytest.approx(n_reproduced / n_drawn, abs=0.04)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_processes_share_the_cores_they_are_given(words, monkeypatch):
    """As a scheduler gives some of a machine's cores."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    all_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(all_cores)})
    try:
        stored, problems = run_plan(plan_grid(**words | {"seeds": [1]}), on_local(["cpu"]))
    finally:
        os.sched_setaffinity(0, all_cores)
    assert problems == []
    [invocation] = stored[0].record.invocations.values()
    assert invocation.environment.hardware["threads"] == 1


BROKEN_PEFT = """\
class PeftModel:
    pass


class LoraConfig:
    def __init__(self, **_):
        raise RuntimeError("CUDA error: device-side assert triggered")


PeftMixedModel = LoraModel = PeftModel
"""


@pytest.mark.slow
def test_unexpected_error_does_not_reach_the_next_run(words, tmp_path, monkeypatch):
    """A CUDA error, here raised by a package that one of the runs needs, leaves its process useless."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "peft.py").write_text(BROKEN_PEFT)
    requests = [planned.request for planned in plan_grid(**words).runs]
    with_lora = requests[0].model_copy(update={"overrides": {"adaptation": "lora"}})
    monkeypatch.syspath_prepend(tmp_path / "packages")
    before, broken, after = on_local(["cpu"])([requests[0], with_lora, requests[1]])
    assert broken.problem.startswith("ended by RuntimeError: CUDA error: ")
    made = [load_run(Path(outcome.folder)).record.invocations for outcome in (before, after)]
    assert made[0].keys().isdisjoint(made[1])


@pytest.mark.parametrize("more", [("--train-language", "de"), ("--adaptation", "frozen")])
def test_plan_promises_no_verdict_on_another_training(command, tmp_path, more):
    words = ("plan", "xnli-mini", "--model", "mini-mbert", "--language", "en,de", "--results", tmp_path, "--quiet")
    assert "mini-mbert in the table xnli-mini; planned: 1 seed" in command(*words)[1]
    out = " ".join(command(*words, *more)[1].split())
    assert "Verdicts: none, since no published row is about these models, trained and evaluated like this." in out


def test_plan_says_that_one_run_decides_where_nothing_is_trained(command, checkpoint_of, tmp_path):
    (tmp_path / "data").mkdir()
    for language in ("de", "en"):
        sentences = "".join(f"{language} {number}\n" for number in range(1000))
        (tmp_path / "data" / f"de-en.{language}").write_text(sentences)
    model = f"FacebookAI/xlm-roberta-large={checkpoint_of('bert')}"
    words = ("tatoeba", "--model", model, "--language", "de", "--data", tmp_path / "data")
    of_model = ("--layer", 1, "--max-length", 64)
    code, out, _ = command("plan", *words, *of_model, "--results", tmp_path / "results", "--quiet")
    text = " ".join(out.split())
    assert code == 0 and "nothing is trained, so one run shows whether a row is reproduced" in text
    assert text.count("Verdicts") == 1 and "Verdicts on jiant-tatoeba: " in text


def test_plan_of_some_languages_has_no_verdict_on_the_mean(command, tmp_path):
    words = ("plan", "xnli-mini", "--model", "mini-mbert", "--results", tmp_path, "--quiet")
    out = command(*words, "--language", "es")[1]
    assert "planned: 1 seed, 2 of its 15 languages" in out and "    a language " in out and "    mean " not in out
    assert "    mean " in command(*words)[1]


def test_plan_keeps_the_folders_of_xeval_tasks(words, tmp_path, monkeypatch):
    (tmp_path / "tasks").mkdir()
    file = Path(shutil.copy(words["subject"], tmp_path / "tasks"))
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        patch.setenv("XEVAL_TASKS", "tasks")
        plan = plan_grid(**words | {"subject": get_task(str(file)).name, "seeds": [1]})
    assert execute(plan.runs[0].request).record.status == "complete"


def test_edited_request_of_a_finished_run_is_sent(words, tmp_path):
    plan = plan_grid(**words | {"seeds": [1]})
    execute(plan.runs[0].request)
    path = tmp_path / "plan.json"
    write_plan(plan_grid(**words | {"seeds": [1]}), path)
    edited = json.loads(path.read_text())
    edited["runs"][0]["request"]["seed"] = 7
    path.write_text(json.dumps(edited))
    [run], problems = run_plan(read_plan(path), in_this_process(Silent()))
    assert (run.record.seed, problems) == (7, [])


def test_joined_plans_show_a_shared_run_once(words, tmp_path, command):
    path = tmp_path / "plan.json"
    write_plan(plan_grid(**words | {"seeds": [1]}), path)
    joined = json.loads(path.read_text())
    joined["runs"] *= 2
    path.write_text(json.dumps(joined))
    code, out, err = command("run", "--plan", path, "--quiet", "--format", "json")
    assert (code, err, [record["seed"] for record in json.loads(out)]) == (0, "", [1])


@pytest.mark.parametrize("more", [("--adaptation", "frozen"), ("--layers-frozen", "0")])
def test_plan_counts_gradients_of_trained_weights_only(command, tmp_path, more):
    """A frozen weight has no gradient and no moments in the optimizer."""

    def memory(*options):
        words = ("plan", "xnli-mini", "--model", "mini-mbert", "--results", tmp_path, "--quiet")
        [line] = [line for line in " ".join(command(*words, *options)[1].split()).split(". ") if "at least" in line]
        assert " a run, for weights, gradients and" in line or options
        return float(line.split("Memory: at least ")[1].split(" MB a run, for weights")[0])

    assert memory() / memory(*more) == pytest.approx(4, rel=0.05)


BROKEN_OR_KILLED_PEFT = """\
import os, signal, time
from pathlib import Path


class PeftModel:
    pass


class LoraConfig:
    def __init__(self, r, **_):
        seen = Path(__file__).with_name(f"processes of rank {r}")
        with seen.open("a") as file:
            file.write(f"{os.getpid()}\\n")
        if r == 8 and len(seen.read_text().splitlines()) == 1:
            while not Path(__file__).with_name("processes of rank 4").exists():
                time.sleep(0.05)
            time.sleep(2)
            os.kill(os.getpid(), signal.SIGKILL)
        raise RuntimeError("CUDA error: device-side assert triggered")


PeftMixedModel = LoraModel = PeftModel
"""


@pytest.mark.slow
def test_killed_run_is_not_restarted_where_another_broke(words, tmp_path, monkeypatch):
    """The process of the other one may be unable to use its GPU again."""
    packages = tmp_path / "packages"
    packages.mkdir()
    (packages / "peft.py").write_text(BROKEN_OR_KILLED_PEFT)
    request = plan_grid(**words).runs[0].request
    requests = [request.model_copy(update={"overrides": {"adaptation": "lora", "lora_rank": rank}}) for rank in (4, 8)]
    monkeypatch.syspath_prepend(packages)
    on_local(["cpu", "cpu"])(requests)
    [broken], [killed, again] = ((packages / f"processes of rank {rank}").read_text().split() for rank in (4, 8))
    assert len({broken, killed, again}) == 3


@pytest.mark.parametrize(
    ("how", "is_known"),
    [
        ({}, True),
        ({"n_rows": 500}, False),
        ({"dtype": "bfloat16"}, False),
        ({"max_length": 512}, False),
        ({"hardware": {"cpu": "another", "threads": 2}}, False),
    ],
    ids=["alike", "few rows", "arithmetic", "maximum length", "hardware"],
)
def test_only_runs_alike_on_this_machine_tell_its_speed(how, is_known):
    compute = devices.choose("cpu", "float32")
    hardware = how.get("hardware", describe(compute).hardware)
    timed = Timing(wall_s=10, rows=how.get("n_rows", 2000), invocation="one")
    record = run_record(
        dtype=how.get("dtype", "float32"),
        timing={"train": timed, "evaluate/de": timed},
        invocations={"one": Invocation(environment=environment(hardware=hardware))},
    )
    wanted = record.recipe.values | {"max_length": how.get("max_length", record.recipe.values.get("max_length"))}
    speed = forecast.speed_of_runs([record], wanted, True, compute)
    assert speed == (
        forecast.Speed(trained_s=0.005, evaluated_s=0.005, measured_by="finished runs") if is_known else None
    )


KILLED_PEFT = """\
import os, signal
from pathlib import Path


class LoraConfig:
    def __init__(self, **_):
        with Path(__file__).with_name("processes").open("a") as file:
            file.write(f"{os.getpid()}\\n")
        os.kill(os.getpid(), signal.SIGKILL)


PeftModel = PeftMixedModel = LoraModel = LoraConfig
"""


@pytest.mark.slow
def test_run_that_is_always_killed_ends_and_the_next_goes_on(words, tmp_path, monkeypatch):
    """As where it needs more memory than the machine has: the system kills it whenever it starts."""
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "peft.py").write_text(KILLED_PEFT)
    requests = [planned.request for planned in plan_grid(**words).runs]
    with_lora = requests[0].model_copy(update={"overrides": {"adaptation": "lora"}})
    monkeypatch.syspath_prepend(tmp_path / "packages")
    killed, next_one = on_local(["cpu"])([with_lora, requests[1]])
    times = len(set((tmp_path / "packages" / "processes").read_text().split()))
    assert killed.problem == (
        f"its process on cpu was ended by SIGKILL, {times} times; the machine may be short of memory"
    )
    assert times == 1 + MOST_LOSSES and load_run(Path(next_one.folder)).record.status == "complete"


def test_frozen_encoder_reads_each_row_once(words):
    """24 training, 12 selection and 36 test rows; epochs after the first compute the head alone."""
    frozen, full = (
        plan_grid(**words | {"overrides": {"adaptation": adaptation, "epochs": 4.0}}).runs[0].forecast
        for adaptation in ("frozen", "full")
    )
    assert (frozen.rows_trained, frozen.rows_evaluated) == (0, 24 + 12 + 36)
    assert (full.rows_trained, full.rows_evaluated) == (4 * 24, 4 * 12 + 36)
