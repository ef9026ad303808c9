"""What a source claims besides accuracies: judged by the records if they can tell, and no verdict otherwise."""

import json
import math
from importlib import import_module

import pytest
from scipy import stats
from test_report import CARD, DISTILMBERT, SIX, a_run
from test_verdict import a_seed, a_table

from tests.helpers.sample_record import environment, stored
from xeval.definitions.reference import Reference
from xeval.judging import claims
from xeval.judging.verdict import judge
from xeval.report import matrix
from xeval.report.formats import json as as_json
from xeval.report.formats import markdown
from xeval.results.records import Invocation, ModelRecord, RunRecord, Timing

MBERT = "google-bert/bert-base-multilingual-cased"
SIZES = {
    DISTILMBERT: {"n_parameters": 134_734_080, "n_layers": 6, "hidden_size": 768, "n_attention_heads": 12},
    MBERT: {"n_parameters": 177_853_440, "n_layers": 12, "hidden_size": 768, "n_attention_heads": 12},
}


def record_of(model: str, pairs_per_s: dict[str, float] | None = None, seed: int = 1, **changes) -> RunRecord:
    """Return a run of `model` with these pairs per second in each language, timed by the invocation "one"."""
    invocation, sizes = changes.pop("invocation", "one"), SIZES[model] | changes.pop("sizes", {})
    record = a_run(model, seed=seed, **SIX).record
    timing = {
        f"evaluate/{language}": Timing(wall_s=100 / speed, rows=100, invocation=invocation)
        for language, speed in (pairs_per_s or {}).items()
    }
    shape = record.model.model_copy(update=sizes)
    invocations = {invocation or "?": Invocation(environment=environment(**changes.pop("environment", {})))}
    return record.model_copy(update={"model": shape, "timing": timing, "invocations": invocations} | changes)


def checked(*records: RunRecord) -> dict[str, claims.ClaimVerdict]:
    return {verdict.claim.printed: verdict for verdict in claims.check(records, CARD)}


def test_sizes_are_compared_with_those_of_the_run():
    verdicts = checked(record_of(DISTILMBERT), record_of(MBERT))
    assert {printed: verdicts[printed].outcome for printed in list(verdicts)[:5]} == dict.fromkeys(
        ["6 layers", "768 dimension", "12 heads", "134M parameters", "177M parameters for mBERT-base"], "reproduced"
    )
    assert verdicts["134M parameters"].sentence == (
        f"{DISTILMBERT}, “134M parameters”: reproduced; it has 134,734,080 parameters in its encoder."
    )


def test_another_size_is_not_reproduced():
    verdicts = checked(record_of(DISTILMBERT, sizes={"n_parameters": 135_000_000, "n_layers": 12}))
    assert [verdicts[printed].outcome for printed in ("6 layers", "134M parameters")] == ["not reproduced"] * 2
    assert (
        checked(record_of(DISTILMBERT, sizes={"n_parameters": 133_900_000}))["134M parameters"].outcome == "reproduced"
    )


def test_missing_or_differing_sizes_give_no_verdict():
    older = record_of(DISTILMBERT, sizes={"n_layers": None})
    assert checked(older)["6 layers"].outcome == "no verdict"
    differing = checked(older, record_of(DISTILMBERT, seed=2, sizes={"n_parameters": 66}))
    assert differing["134M parameters"].sentence.endswith("no verdict; its runs differ: 66, 134,734,080.")


def test_record_without_shapes_is_still_read():
    content = record_of(DISTILMBERT).model_dump(mode="json")
    for name in ("n_layers", "hidden_size", "n_attention_heads"):
        del content["model"][name]
    assert RunRecord.model_validate(content, strict=False).model.n_layers is None


def test_only_claims_about_hub_models_with_runs_are_judged():
    assert list(checked(record_of(MBERT))) == ["177M parameters for mBERT-base"]
    local = record_of(DISTILMBERT)
    assert checked(local.model_copy(update={"model": local.model.model_copy(update={"origin": "local"})})) == {}
    assert checked(record_of(DISTILMBERT, task="another")) == {}


# ── speed ──

MBERT_SPEED = {"en": 100.0, "es": 90.0, "zh": 80.0, "de": 95.0}
TWICE = "On average twice as fast as mBERT-base"


def speed(ratios: dict[str, float], **changes) -> claims.ClaimVerdict:
    ours = record_of(DISTILMBERT, {code: ratio * MBERT_SPEED[code] for code, ratio in ratios.items()}, **changes)
    return checked(ours, record_of(MBERT, MBERT_SPEED))[TWICE]


def test_speed_ratio_is_a_geometric_mean_with_t_interval():
    ratios = {"en": 1.9, "es": 2.0, "zh": 2.1, "de": 1.95}
    verdict = speed(ratios)
    logs = [math.log(ratio) for ratio in ratios.values()]
    low, high = stats.ttest_1samp(logs, 0).confidence_interval(0.90)
    assert verdict.measured == pytest.approx(stats.gmean(list(ratios.values())))
    assert (verdict.low, verdict.high) == pytest.approx((math.exp(low), math.exp(high)))
    assert (
        verdict.outcome == "reproduced"
        and "from 1.90 to 2.10" in verdict.sentence
        and "float32 on x" in verdict.sentence
    )


@pytest.mark.parametrize(
    ("ratios", "outcome"),
    [
        ({"en": 1.10, "es": 1.12, "zh": 1.08}, "not reproduced"),
        ({"en": 3.00, "es": 3.05, "zh": 2.95}, "not reproduced"),
        ({"en": 1.20, "es": 2.00, "zh": 2.80}, "agrees"),
        ({"en": 1.80, "es": 2.00, "zh": 2.20}, "reproduced"),  # 1.68 to 2.36 with 90 %
    ],
)
def test_speed_verdict_depends_on_ratio_and_spread(ratios, outcome):
    assert speed(ratios).outcome == outcome


@pytest.mark.parametrize(
    "changes",
    [
        {"invocation": "another"},
        {"invocation": None},
        {"seed": 2},
        {"dtype": "bfloat16"},
        {"environment": {"hardware": {"cpu": "y", "threads": 2}}},
        {"environment": {"device": "cuda"}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_speeds_not_timed_together_are_not_compared(changes):
    verdict = speed({"en": 2.0, "es": 2.0, "zh": 2.0}, **changes)
    assert (verdict.outcome, verdict.measured) == (
        "no verdict",
        None,
    ) and "never timed together (in one invocation" in verdict.sentence


def test_too_few_or_unequal_timings_give_no_verdict():
    assert "only 2 times" in speed({"en": 2.0, "es": 2.0}).sentence
    ours = record_of(DISTILMBERT, {"en": 200.0, "es": 200.0, "zh": 200.0})
    fewer = {name: Timing(wall_s=1, rows=50, invocation="one") for name in ours.timing}
    assert (
        checked(ours.model_copy(update={"timing": fewer}), record_of(MBERT, MBERT_SPEED))[TWICE].outcome == "no verdict"
    )


def test_only_hardware_that_was_timed_is_named():
    """Training ran elsewhere, and so did another language."""
    twice = {code: 2 * value for code, value in MBERT_SPEED.items()}
    first = {"one": Invocation(environment=environment(hardware={"cpu": "x", "threads": 2}))}
    elsewhere = {"two": Invocation(environment=environment(hardware={"gpu": "y", "threads": 2}))}
    ours, theirs = (
        record_of(model, speeds).model_copy(update={"invocations": elsewhere | first})
        for model, speeds in ((DISTILMBERT, twice), (MBERT, MBERT_SPEED))
    )
    said = checked(ours, theirs)[TWICE].sentence
    assert "(float32 on x)" in said


def test_without_the_other_model_there_is_no_ratio():
    assert checked(record_of(DISTILMBERT))[TWICE].sentence.endswith(f"there is no run of {MBERT} to compare it with.")


# ── reports and files ──


def test_the_report_has_the_claims_below_the_verdicts():
    runs = stored(record_of(model) for model in (DISTILMBERT, MBERT))
    text = markdown.render(matrix.build(runs, "xnli", CARD))
    assert text.index("## Reproduced?") < text.index("## Other claims of the source")
    assert "“177M parameters for mBERT-base”: reproduced; it has 177,853,440 parameters" in text
    assert "Other claims" not in markdown.render(matrix.build(runs, "xnli", None))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"model": "org/other"}, "a claim is about 'org/other', for which there is no row"),
        ({"than": "org/m"}, "than names the slower model of times_as_fast, and goes with nothing else"),
        ({"what": "times_as_fast"}, "than names the slower model of times_as_fast, and goes with nothing else"),
        ({"value": 0.0}, "greater than 0"),
        ({"what": "beauty"}, "Input should be 'parameters'"),
        ({"extra": 1}, "Extra inputs are not permitted"),
    ],
)
def test_invalid_claim_is_refused(change, complaint):
    claim = {"model": "org/m", "what": "layers", "value": 6.0, "printed": "6 layers", "source_url": "x"}
    table = a_table().model_dump(mode="json")
    assert Reference.model_validate(table | {"claims": [claim]}, strict=False).claims
    with pytest.raises(ValueError, match=complaint):
        Reference.model_validate(table | {"claims": [claim | change]}, strict=False)


def test_both_rows_about_one_model_are_judged():
    """Conneau et al. print XLM-100 twice, selected in two ways: ours is close to one row and far from the other."""
    table = a_table({"en": 90.0, "es": 60.0}, name="selected per language").model_dump(mode="json")
    table["rows"] += a_table({"en": 80.0, "es": 70.0}, name="one checkpoint").model_dump(mode="json")["rows"]
    both = Reference.model_validate(table, strict=False)
    runs = stored(a_seed(seed, en=80 + move, es=70 + move) for seed, move in enumerate((-0.1, 0.0, 0.1)))
    first, second = judge(runs, both)
    assert (first.row, first.cells["en"].outcome) == ("selected per language", "not reproduced")
    assert (second.row, second.cells["en"].outcome) == ("one checkpoint", "reproduced")
    built = matrix.build(runs, "cats", both)
    [ours] = [row for row in built.rows if not row.published]
    assert ours.verdict == second and built.verdicts == [first, second]
    written = next(row for row in json.loads(as_json.render(built))["rows"] if not row["published"])
    assert written["verdict"]["published_row"] == "one checkpoint"
    assert [verdict["published_row"] for verdict in written["more_verdicts"]] == ["selected per language"]
    assert written["more_verdicts"][0]["cells"]["en"]["outcome"] == "not reproduced"


@pytest.mark.parametrize("model", [DISTILMBERT, MBERT])
def test_real_configurations_have_the_sizes_on_the_card(model, shared):
    """Counted on the meta device, where weights take no memory."""
    torch, transformers, models = (import_module(name) for name in ("torch", "transformers", "xeval.engine.loading"))
    config = transformers.AutoConfig.from_pretrained(shared / "models" / model.partition("/")[2])
    with torch.device("meta"):
        encoder = transformers.AutoModelForSequenceClassification.from_config(config)
    counted = ModelRecord(
        id=model,
        origin="hub",
        revision=None,
        sha256="a" * 64,
        n_parameters=models.count_encoder_parameters(encoder),
        architecture=config.model_type,
        **models.encoder_shape(encoder),
    )
    print(f"{model}: {counted.n_parameters:,} parameters, {counted.n_layers} layers")
    verdicts = checked(record_of(model).model_copy(update={"model": counted}))
    sizes = [verdict for printed, verdict in verdicts.items() if printed != TWICE]
    assert sizes and all(verdict.outcome == "reproduced" for verdict in sizes)


def test_speeds_at_different_maximum_lengths_are_not_compared():
    """One invocation may time two recipes."""
    ours = record_of(DISTILMBERT, dict.fromkeys(("en", "es", "zh"), 200.0))
    shorter = ours.recipe.model_copy(update={"values": ours.recipe.values | {"max_length": 64}})
    verdict = checked(ours.model_copy(update={"recipe": shorter}), record_of(MBERT, MBERT_SPEED))[TWICE]
    assert verdict.outcome == "no verdict" and "never timed together" in verdict.sentence
