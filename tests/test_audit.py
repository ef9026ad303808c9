"""Claims audited on few rows: bets computed the slow way, errors when the truth is known, and a real checkpoint."""

import itertools
import json
import math

import numpy as np
import pytest

from tests.helpers.audit_simulation import answers, describe, rates
from xeval.judging.audit import LEVEL, STAKES, interval, look, wealth
from xeval.results.store import load_runs
from xeval.runs.audit import shuffled

RNG = np.random.default_rng(2)
SIZES = np.full(400, 3)


def slow_wealth(sizes, right, score, above):
    """Return the wealth after each group, computed for one stake and one group at a time."""
    made, largest, n = np.ones(len(STAKES)), max(sizes), len(sizes)
    null, past, wealths = score if above else 1 - score, 0.0, []
    for place, (size, hits) in enumerate(zip(sizes, right, strict=False)):
        share = ((hits if above else size - hits) + null * (largest - size)) / largest
        fair = (n * null - past) / (n - place)  # the mean of what is left, if the hypothesis only just holds
        for number, stake in enumerate(STAKES):
            bet = min(stake * n / (n - place), 0.95 / fair) if 0 < fair < 1 else 0
            made[number] *= 1 + bet * (share - fair)
        past += share
        wealths.append(math.inf if past > n * null + 1e-9 else made.mean())
    return wealths


@pytest.mark.parametrize("above", [True, False])
@pytest.mark.parametrize("score", [0.2, 0.5, 0.6, 0.95])
def test_wealth_equals_that_of_bets_made_one_by_one(score, above):
    sizes = RNG.integers(1, 4, 60)
    right = RNG.binomial(sizes, 0.6)
    assert wealth(sizes, right, score, above) == pytest.approx(
        slow_wealth(sizes.tolist(), right.tolist(), score, above)
    )


def test_bets_gain_nothing_if_the_hypothesis_only_just_holds():
    """In the mean over all orders. This makes the test valid: its wealth is a martingale."""
    sizes, right = np.array([1, 2, 3, 3, 2, 3]), np.array([1, 0, 3, 2, 1, 1])
    score = right.sum() / sizes.sum()
    orders = [list(order) for order in itertools.permutations(range(6))]
    for above in (True, False):
        for n in (1, 3, 5):
            made = [wealth(sizes[order], right[order][:n], score, above)[-1] for order in orders]
            assert np.mean(made) == pytest.approx(1.0)


@pytest.mark.parametrize(("share", "outcome"), [(0.60, "confirmed"), (0.62, "refuted"), (0.30, "refuted")])
def test_outcome_is_that_of_all_rows(share, outcome):
    right = answers(share, SIZES, np.random.default_rng(3))
    result = look(SIZES, right, 0.59, 0.015)
    assert result.outcome == outcome and result.n_rows <= 1200
    assert result.score == pytest.approx(right[: result.n_groups].sum() / result.n_rows)


def test_claim_far_off_is_refuted_after_few_rows():
    right = answers(0.3, SIZES, RNG)
    result = look(SIZES, right, 0.6, 0.015)
    assert result.outcome == "refuted" and result.n_rows < 150
    earlier = look(SIZES, right[: result.n_groups - 1], 0.6, 0.015)
    assert earlier.outcome == "open" and earlier.n_groups == result.n_groups - 1
    assert look(SIZES, right[: result.n_groups], 0.6, 0.015) == result


@pytest.mark.parametrize("claimed", [0.0, 0.01, 0.99, 1.0])
def test_claims_near_0_and_1_are_judged_correctly(claimed):
    for share in (0.0, 0.005, 1.0):
        result = look(SIZES, answers(share, SIZES, RNG), claimed, 0.015)
        assert result.outcome == ("confirmed" if abs(share - claimed) <= 0.015 else "refuted")


def test_the_interval_narrows_to_the_score_of_all_rows():
    right = answers(0.6, SIZES, RNG)
    widths = []
    for n in (5, 50, 200, 399, 400):
        low, high = interval(SIZES, right[:n])
        assert low <= 0.6 + 1e-9 and high >= 0.6 - 1e-9
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True) and widths[-1] == pytest.approx(0, abs=1e-9)


def test_rows_are_shuffled_group_by_group():
    groups = np.array([7, 7, 1, 7, 3, 3, 1, 9])
    order, sizes = shuffled(groups, 5)
    assert sorted(order) == list(range(8)) and sizes.sum() == 8
    parts = np.split(order, np.cumsum(sizes)[:-1])
    assert all(len(set(groups[part])) == 1 and list(part) == sorted(part) for part in parts)
    assert {tuple(shuffled(groups, seed)[0]) for seed in range(20)} != {tuple(order)}


@pytest.mark.parametrize(
    ("off", "wrong"), [(1.5, "refuted"), (-1.5, "refuted"), (1.6, "confirmed"), (-1.6, "confirmed")]
)
def test_claim_at_the_edge_keeps_the_promised_error_rate(off, wrong):
    n = 150
    shares = rates(off, 1.5, SIZES, n, seed=5)
    print(describe(off, 1.5, shares))
    assert shares[wrong] <= LEVEL + 3.09 * math.sqrt(LEVEL * (1 - LEVEL) / n)
    assert shares["missed"] <= LEVEL + 3.09 * math.sqrt(LEVEL * (1 - LEVEL) / n)


# ── as a command ──


LABELS = ("entailment", "neutral", "contradiction")


def test_rows_are_answered_as_in_a_run(mini, checkpoint_of, tmp_path, command):
    model = checkpoint_of("bert", LABELS)
    words = (mini.task_file, "--model", model, "--data", mini.data, "--device", "cpu", "--dtype", "float32", "-q")
    assert command("run", *words, "--no-train", "--results", tmp_path)[0] == 0
    [record] = [one.record for one in load_runs(tmp_path)]
    for language, score in record.scores.items():
        claim = ("--language", language, "--claimed", f"{100 * score.value:.4f}", "--tolerance", 0.01)
        code, out, _ = command("audit", *words, *claim, "--format", "json")
        found = json.loads(out)
        assert (code, found["looked"]["outcome"], found["n_rows"]) == (0, "confirmed", 12)
        assert found["looked"]["score"] == pytest.approx(score.value)
    assert len(load_runs(tmp_path)) == 1  # nothing was written


def test_refuted_claim_exits_with_1_after_few_rows(checkpoint_of, command):
    words = ("xnli-mini", "--model", checkpoint_of("bert", LABELS), "--language", "es", "-q", "--device", "cpu")
    code, out, err = command("audit", *words, "--claimed", 99)
    assert (code, err) == (1, "")
    assert out.startswith("Refuted after") and " of 1,200 pairs, " in out
    assert "accuracy in es is claimed to be 99 ±1.5" in out and "seed 20181101" in out
    assert int(out.split()[2]) < 200
    assert command("audit", *words, "--claimed", 99, "--seed", 1)[1] != out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("tags-mini", "--model", "{model}", "--language", "es", "--claimed", 50),
            "scored by span F1",
        ),
        (("retrieval-mini", "--model", "{model}", "--language", "es", "--claimed", 50), "trains nothing"),
        (("xnli-mini", "--model", "mini-mbert", "--language", "es", "--claimed", 50), "no trained head for this task"),
        (("xnli-mini", "--model", "{model}", "--language", "xx", "--claimed", 50), "unknown language"),
        (("xnli-mini", "--model", "{model}", "--language", "es", "--claimed", 150), "--claimed"),
        (("xnli-mini", "--model", "{model}", "--language", "es"), "--claimed"),
    ],
)
def test_impossible_audit_is_refused_in_one_line(words, said, checkpoint_of, command):
    model = checkpoint_of("bert", LABELS)
    code, out, err = command("audit", *(str(word).format(model=model) for word in words), "-q")
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


@pytest.mark.parametrize("share", [0.3, 0.57, 0.6, 0.9])
def test_outcome_is_reached_at_the_promised_level(share):
    """Either side may refute, so each does at half the level; both must confirm, so each does at the whole."""
    right = answers(share, SIZES, np.random.default_rng(6))

    def groups_until(score: float, above: bool, level: float) -> float:
        wealths = slow_wealth(SIZES.tolist(), right.tolist(), score, above)
        return next((n for n, own in enumerate(wealths, start=1) if own >= 1 / level), math.inf)

    refuted = min(groups_until(0.65, True, LEVEL / 2), groups_until(0.55, False, LEVEL / 2))
    confirmed = max(groups_until(0.55, True, LEVEL), groups_until(0.65, False, LEVEL))
    found = look(SIZES, right, 0.6, 0.05)
    assert (found.outcome, found.n_groups) == min(
        ("confirmed", confirmed), ("refuted", refuted), key=lambda own: own[1]
    )


def test_interval_ends_where_scores_begin_to_be_refuted():
    right = answers(0.6, SIZES, np.random.default_rng(7))[:150].tolist()
    low, high = interval(SIZES, np.array(right))
    step = 1 / 2**11  # of the bisection
    for end, above, outward in ((low, True, -1), (high, False, 1)):
        refuted, tenable = (
            max(slow_wealth(SIZES.tolist(), right, score, above)) for score in (end, end - outward * step)
        )
        assert refuted >= 2 / LEVEL > tenable
