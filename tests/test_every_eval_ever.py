"""Scores in the schema of Every Eval Ever, version 0.3.0, whose rules are repeated here.

https://github.com/evaleval/every_eval_ever, every_eval_ever/schemas/eval.schema.json of the package every-eval-ever
0.3.0, https://pypi.org/project/every-eval-ever/0.3.0/. If it is installed, logs are also validated with its schema.
"""

import importlib.util
import json
import re
from dataclasses import replace
from importlib import resources

import pytest

from tests.helpers import tiny
from tests.helpers.hostile_report import HOSTILE, hostile_runs
from tests.helpers.sample_record import run_record, score, stored
from tests.helpers.sample_report import LANGUAGES, TASK, sample_runs
from xeval.definitions.registry import get_task
from xeval.report.formats import every_eval_ever
from xeval.results.records import ELSEWHERE, DataRecord, RecipeRecord
from xeval.results.store import save_record
from xeval.support.errors import StoreError

NUMBER, OBJECT = (int, float), dict
# What each part must have and what it may have, with types; `details` are objects whose values are strings.
RULES = {
    "log": (
        {
            "schema_version": str, "evaluation_id": str, "retrieved_timestamp": str, "source_metadata": OBJECT,
            "model_info": OBJECT, "eval_library": OBJECT, "evaluation_results": list,
        },
        {"evaluation_timestamp": str, "detailed_evaluation_results": OBJECT},
    ),
    "source_metadata": (
        {"source_type": str, "source_organization_name": str, "evaluator_relationship": str},
        {
            "source_name": str, "source_organization_url": str, "source_organization_logo_url": str,
            "additional_details": OBJECT,
        },
    ),
    "eval_library": ({"name": str, "version": str}, {"additional_details": OBJECT}),
    "model_info": (
        {"name": str, "id": str, "additional_details": OBJECT},
        {"developer": str, "inference_platform": str, "inference_engine": OBJECT},
    ),
    "result": (
        {"evaluation_name": str, "source_data": OBJECT, "metric_config": OBJECT, "score_details": OBJECT},
        {"evaluation_result_id": str, "evaluation_timestamp": str, "generation_config": OBJECT},
    ),
    "metric_config": (
        {"lower_is_better": bool, "min_score": NUMBER, "max_score": NUMBER},  # the last two, for continuous scores
        {
            "evaluation_description": str, "metric_id": str, "metric_name": str, "metric_kind": str, "metric_unit": str,
            "score_type": str, "additional_details": OBJECT,
        },
    ),
    "score_details": ({"score": NUMBER}, {"details": OBJECT, "uncertainty": OBJECT}),
    "uncertainty": ({}, {"confidence_interval": OBJECT, "num_samples": int, "standard_error": OBJECT}),
    "confidence_interval": ({"lower": NUMBER, "upper": NUMBER}, {"confidence_level": NUMBER, "method": str}),
    "hf_dataset": (
        {"dataset_name": str, "source_type": str},
        {"hf_repo": str, "hf_split": str, "samples_number": int, "additional_details": OBJECT},
    ),
    "other": ({"dataset_name": str, "source_type": str}, {"additional_details": OBJECT}),
}  # fmt: skip
ONE_OF = {
    "source_type": {"evaluation_run", "documentation", "hf_dataset", "url", "other"},
    "evaluator_relationship": {"first_party", "third_party", "collaborative", "other"},
    "deployment_type": {"self_deployed", "externally_managed", "unknown"},
    "model_availability": {"open_weights", "closed_weights", "unknown"},
    "score_type": {"binary", "continuous", "levels"},
}


def check(part: str, value: dict) -> None:
    required, optional = RULES[part]
    assert required.keys() <= value.keys() <= required.keys() | optional.keys(), part
    for name, each in value.items():
        assert isinstance(each, (required | optional)[name]), (part, name)
        if name in ONE_OF:
            assert each in ONE_OF[name], (part, name)
        if name in ("additional_details", "details"):
            assert all(isinstance(text, str) for text in each.values()), (part, name)


def check_log(log: dict) -> None:
    check("log", log)
    assert log["schema_version"] == "0.3.0" and float(log["retrieved_timestamp"]) >= 0
    for name in ("source_metadata", "eval_library", "model_info"):
        check(name, log[name])
    details = log["model_info"]["additional_details"]
    assert {"deployment_type", "model_availability"} <= details.keys()
    assert all(details[name] in ONE_OF[name] for name in ("deployment_type", "model_availability"))
    for result in log["evaluation_results"]:
        check("result", result)
        check(result["source_data"]["source_type"], result["source_data"])
        check("metric_config", result["metric_config"])
        check("score_details", result["score_details"])
        assert result["generation_config"].keys() == {"additional_details"}
        assert all(isinstance(text, str) for text in result["generation_config"]["additional_details"].values())
        if uncertainty := result["score_details"].get("uncertainty"):
            check("uncertainty", uncertainty)
            check("confidence_interval", uncertainty["confidence_interval"])
    _ask_the_package(log)


def _ask_the_package(log: dict) -> None:
    if all(map(importlib.util.find_spec, ("every_eval_ever", "jsonschema"))):
        import jsonschema

        schema = resources.files("every_eval_ever.schemas").joinpath("eval.schema.json").read_text(encoding="utf-8")
        jsonschema.validate(log, json.loads(schema))


def logs(runs, task=None, organisation="University of Somewhere") -> list[dict]:
    found = [json.loads(text) for text in every_eval_ever.files(runs, task, organisation).values()]
    for log in found:
        check_log(log)
    return found


def test_every_score_has_its_interval(tmp_path):
    runs = sample_runs(tmp_path)
    for run, log in zip(runs, logs(runs, TASK), strict=True):
        found = {result["evaluation_name"]: result["score_details"] for result in log["evaluation_results"]}
        assert found.keys() == {f"xnli/{language}" for language in LANGUAGES}
        for language, own in run.record.scores.items():
            said = found[f"xnli/{language}"]
            interval = said["uncertainty"]["confidence_interval"]
            assert (said["score"], interval["lower"], interval["upper"]) == (own.value, *own.ci95)
            assert said["uncertainty"]["num_samples"] == own.n_rows


def test_further_metrics_are_exported_too():
    scores = {"de": score(0.5, more={"exact_match": 0.25, "token_accuracy": 0.75})}
    [log] = logs(stored([run_record(metric="f1", scores=scores)]))
    found = {each["metric_config"]["metric_id"]: each["score_details"]["score"] for each in log["evaluation_results"]}
    assert found == {"f1": 0.5, "exact_match": 0.25, "token_accuracy": 0.75}
    kinds = {
        each["metric_config"]["metric_id"]: each["metric_config"]["metric_kind"] for each in log["evaluation_results"]
    }
    assert kinds == {"f1": "f1", "exact_match": "exact_match", "token_accuracy": "accuracy"}


def test_hub_data_and_local_copies_are_distinguished():
    task = get_task("xnli")
    for source, expected in ((task.hub.id, "hf_dataset"), ("local copy (hub layout)", "other")):
        data = DataRecord(source=source, revision=None, sha256={"test": {"de": "a" * 64}}, train_rows={})
        [log] = logs(stored([run_record(task="xnli", data=data)]), task)
        [result] = log["evaluation_results"]
        assert result["source_data"]["source_type"] == expected
        assert result["source_data"].get("hf_repo") == (task.hub.id if expected == "hf_dataset" else None)
        assert result["source_data"]["additional_details"]["rows_sha256"] == "a" * 64


def test_recipe_and_seed_are_exported():
    [log] = logs(stored([run_record()]))
    how = log["evaluation_results"][0]["generation_config"]["additional_details"]
    assert (how["recipe"], how["recipe_learning_rate"], how["seed"], how["arithmetic"]) == (
        "r",
        "5e-05",
        "3",
        "float32",
    )
    assert "recipe_max_steps" not in how


def test_external_predictions_have_no_model_details():
    [log] = logs(stored([run_record(recipe=RecipeRecord(name=ELSEWHERE, values={}, overrides={}), training=None)]))
    assert log["model_info"]["additional_details"]["deployment_type"] == "unknown"
    assert "inference_engine" not in log["model_info"] and "files_sha256" not in log["model_info"]["additional_details"]


@pytest.mark.parametrize(
    ("model", "organisation", "relationship"),
    [("org/m", "ORG", "first_party"), ("org/m", "Somebody", "third_party"), ("m", "Somebody", "other")],
)
def test_evaluator_relationship_follows_the_model_id(model, organisation, relationship):
    run = run_record(model=run_record().model.model_copy(update={"id": model}))
    [log] = logs(stored([run]), organisation=organisation)
    assert log["source_metadata"]["evaluator_relationship"] == relationship


def test_each_run_always_gets_the_same_file(tmp_path):
    runs = [
        replace(run, record=run.record.model_copy(update={"identity": f"{place}" * 64}))
        for place, run in enumerate(sample_runs(tmp_path))
    ]
    files = every_eval_ever.files(runs, TASK, "Somebody")
    assert files == every_eval_ever.files(runs, TASK, "Somebody") and len(files) == len(runs)
    version_4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    for path in files:
        assert re.fullmatch(rf"data/xnli/[^/]+/[^/]+/{version_4}\.json", str(path))
    assert len({json.loads(text)["evaluation_id"] for text in files.values()}) == len(runs)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_texts_are_neutralised(text):
    runs = hostile_runs(text)[:1]
    logs(runs, organisation=text)
    for path, written in every_eval_ever.files(runs, None, text).items():
        assert len(path.parts) == 5 and ".." not in path.parts
        assert all(character.isprintable() or character == "\n" for character in written)


def test_a_run_without_a_score_is_refused():
    with pytest.raises(StoreError, match="has no score to export"):
        every_eval_ever.files(stored([run_record(scores={})]), None, "Somebody")


# ── the command ──


def test_the_command_writes_a_file_for_each_seed(tmp_path, command):
    for run in sample_runs(tmp_path / "elsewhere"):
        save_record(tmp_path / "results" / "xnli" / run.folder.parent.name / run.folder.name, run.record)
    words = ["export", "distilmbert", tmp_path / "out", "--results", tmp_path / "results"]
    words += ["--format", "every-eval-ever"]
    code, out, _ = command(*words, "--organisation", "Somebody")
    files = sorted((tmp_path / "out").rglob("*.json"))
    assert code == 0 and sorted(out.splitlines()) == [str(path) for path in files]
    assert len(files) == 2 and {path.parent.name for path in files} == {"distilbert-base-multilingual-cased"}
    for path in files:
        check_log(json.loads(path.read_text()))
    code, _, err = command(*words)
    assert code == 2 and "--organisation: wanted with --format every-eval-ever" in err
    code, _, err = command(*words[:5], "--organisation", "Somebody")
    assert code == 2 and err.count("\n") == 1


def test_a_scored_run_is_exported(tmp_path):
    """With the record of a real run, not one made for tests."""
    from xeval.runs.score_given import score_given

    tiny.write_task(tmp_path / "tasks")
    tiny.write_hub_layout(tmp_path / "data", tiny.mini_rows())
    (tmp_path / "es.txt").write_text("\n".join(label for *_, label in tiny.mini_rows()["test", "es"]))
    task = str(tmp_path / "tasks" / "mini-pairs.toml")
    run = score_given(task, tmp_path / "es.txt", model="org/m", data=tmp_path / "data", results=tmp_path / "results")
    [log] = logs([run], get_task(task))
    assert log["evaluation_results"][0]["score_details"]["score"] == 1.0
