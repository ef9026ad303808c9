"""Bitext mining: margins, pairs, threshold and F1, each checked against a slow recomputation."""

import numpy as np
import pyarrow as pa
import pytest

from tests.helpers.checkpoints import tiny_tokenizer
from tests.helpers.plain_vectors import slow_pairs
from xeval.engine.encoding import encode
from xeval.kinds.given import Given
from xeval.kinds.mining import BitextMining, MiningKeys, best_pairs, best_threshold, mine, neighbours
from xeval.kinds.rows import Rows, Table
from xeval.kinds.vectors import normalised
from xeval.results.predictions import ids_of
from xeval.support.errors import DataError

KIND = BitextMining(MiningKeys())
FILES = {
    "d/de-en.dev.de": "de-1\teins\nde-2\tzwei\n",
    "d/de-en.dev.en": "en-1\ttwo\nen-2\tten\nen-3\tone\n",
    "d/de-en.dev.gold": "de-1\ten-3\nde-2\ten-1\n",
    "d/de-en.test.de": "de-1\tdrei\n",
    "d/de-en.test.en": "en-1\tthree\n",
    "d/de-en.test.gold": "de-1\ten-1\n",
}


def table(columns: dict[str, list]) -> Table:
    return Table("de", "test", "d/de-en.dev.de: test rows of 'de'", columns, {})


def read(files: dict[str, str]) -> Rows:
    return KIND.read(table(KIND.columns_in(files)))


def dev_alone() -> dict[str, str]:
    return {path: text for path, text in FILES.items() if ".dev." in path}


def corpus(rng: np.random.Generator, n_foreign: int, n_english: int, parts=("dev", "test")) -> tuple[Rows, np.ndarray]:
    """Rows in which half of the foreign sentences have a translation, and noisy vectors for them."""
    texts, gold, vectors = [], [], []
    for part in parts:
        english = rng.normal(size=(n_english, 6))
        pairs = {i: int(j) for i, j in enumerate(rng.permutation(n_english)[: n_foreign // 2])}
        for i in range(n_foreign):
            near = english[pairs[i]] if i in pairs else rng.normal(size=6)
            vectors.append(near + 0.3 * rng.normal(size=6))
            texts.append(f"{part} f{i % (n_foreign - 1)}")  # the first and the last are the same text
            gold.append((part, "foreign", f"f{i}", [f"e{pairs[i]}"] if i in pairs else []))
        for j in range(n_english):
            vectors.append(english[j])
            texts.append(f"{part} e{j}")
            gold.append((part, "english", f"e{j}", []))
    return Rows("de", "test", {"text": texts}, gold, np.arange(len(gold))), np.array(vectors, dtype=np.float32)


# ── margins and pairs ──


@pytest.mark.parametrize(("n_x", "n_y"), [(30, 40), (40, 30), (3, 2), (1, 1), (1100, 7)])
def test_pairs_and_margins_match_a_slow_loop(n_x, n_y):
    rng = np.random.default_rng(n_x)
    x, y = (normalised(rng.normal(loc=0.5, size=(n, 5))) for n in (n_x, n_y))
    foreign, english, margins = best_pairs(x, y)
    expected = slow_pairs(x, y)
    assert list(zip(foreign.tolist(), english.tolist(), strict=True)) == [pair[:2] for pair in expected]
    np.testing.assert_allclose(margins, [pair[2] for pair in expected], rtol=1e-5)


def test_neighbours_come_nearest_first():
    places, cosines = neighbours(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[[2, 0]])
    assert places[:, 0].tolist()[:1] == [1]
    assert cosines[:, 0].tolist() == [1, 0, 1]


def test_no_pairs_without_sentences():
    nothing = np.zeros((0, 4), np.float32)
    assert [len(part) for part in best_pairs(nothing, np.eye(4, dtype=np.float32))] == [0, 0, 0]


def test_repeated_sentences_are_not_paired():
    rows, vectors = corpus(np.random.default_rng(1), 12, 20)
    mined = mine(normalised(vectors), rows, "test")
    repeated = {
        row for row, gold in enumerate(rows.gold) if gold[:2] == ("test", "foreign") and gold[2] in ("f0", "f11")
    }
    assert len(repeated) == 2
    assert not repeated & set(mined.foreign.tolist())
    assert 5 < len(mined.foreign) <= 10


# ── threshold and F1 ──


def slow_f1(pairs: set, gold: set) -> float:
    right = len(pairs & gold)
    if not right:
        return 0.0
    precision, recall = right / len(pairs), right / len(gold)
    return 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("parts", [("dev", "test"), ("dev",), ("test",)])
@pytest.mark.parametrize("seed", range(6))
def test_f1_matches_sets_of_pairs_at_the_best_dev_threshold(seed, parts):
    rows, vectors = corpus(np.random.default_rng(seed), 30, 40, parts)
    answers = KIND.answers(vectors, None, rows)
    tally = KIND.tally(answers, rows)

    gold, mined = {}, {}
    for part in parts:
        gold[part] = {(own[2], other) for own in rows.gold if own[0] == part for other in own[3]}
        found = mine(normalised(vectors), rows, part)
        mined[part] = {
            (rows.gold[foreign][2], rows.gold[english][2]): margin
            for foreign, english, margin in zip(found.foreign, found.english, found.margins, strict=True)
        }
    chosen_on, tested = parts[0], parts[-1]
    threshold = answers["threshold"][0].as_py()
    on_dev = {pair for pair, margin in mined[chosen_on].items() if margin >= threshold}
    best = max(
        slow_f1({pair for pair, margin in mined[chosen_on].items() if margin >= cut}, gold[chosen_on])
        for cut in mined[chosen_on].values()
    )
    assert slow_f1(on_dev, gold[chosen_on]) == pytest.approx(best)

    pairs = {pair for pair, margin in mined[tested].items() if margin >= threshold}
    assert KIND.measure("f1").over(tally) == pytest.approx(slow_f1(pairs, gold[tested]))
    right = len(pairs & gold[tested])
    assert tally.sum(axis=0).tolist() == [right, len(pairs) - right, len(gold[tested]) - right]
    assert KIND.measure("precision").over(tally) == pytest.approx(right / max(1, len(pairs)))
    assert KIND.measure("recall").over(tally) == pytest.approx(right / len(gold[tested]))


def test_nothing_is_paired_without_gold_pairs():
    rows, vectors = corpus(np.random.default_rng(1), 12, 20, ("dev",))
    rows.gold[:] = [(part, side, id_, []) for part, side, id_, _ in rows.gold]
    assert best_threshold(mine(normalised(vectors), rows, "dev"), rows) == float("inf")
    assert set(KIND.answers(vectors, None, rows)["prediction"].to_pylist()) == {""}


def test_xtremes_mock_data_gets_xtremes_own_score(unpacked):
    """https://github.com/google-research/xtreme, evaluate_test.py."""
    folder, scores = unpacked("mock_test_data"), []
    for path in sorted((folder / "labels/bucc2018").glob("*.tsv")):
        gold, said = (
            [line.split("\t") for line in (folder / side / "bucc2018" / path.name).read_text().splitlines()]
            for side in ("labels", "predictions")
        )
        predicted = dict(said)
        ids = list(dict.fromkeys([*predicted, *(foreign for foreign, _ in gold)]))
        rows = Rows(
            "de",
            "test",
            {"text": ids},
            [("test", "foreign", id_, [english for foreign, english in gold if foreign == id_]) for id_ in ids],
            np.arange(len(ids)),
        )
        answers = pa.table({"prediction": [predicted.get(id_, "") for id_ in ids]})
        scores.append(KIND.measure("f1").over(KIND.tally(answers, rows)))
    assert 100 * np.mean(scores) == pytest.approx(55.0, abs=1e-12)


# ── rows ──


def test_files_give_interleaved_rows_of_both_languages():
    rows = read(FILES)
    assert len(rows) == 7
    assert ("dev", "foreign", "de-1", ["en-3"]) in rows.gold
    assert ("test", "english", "en-1", []) in rows.gold
    sides = [gold[1] for gold in rows.gold if gold[0] == "dev"]
    assert sides == ["foreign", "english", "english", "foreign", "english"]


def test_threshold_chosen_on_scored_rows_gives_a_warning():
    [finding] = KIND.row_checks({}, {"de": read(FILES)})
    assert finding.severity == "fine"
    [finding] = KIND.row_checks({}, {"de": read(dev_alone())})
    assert finding.severity == "warning"
    assert "chosen on the sentences that are scored" in finding.sentence
    assert " in de:" in finding.sentence


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"d/de-en.dev.de": "de-1 eins\n"}, "d/de-en.dev.de: line 1 is 'de-1 eins'; wanted an id and a sentence"),
        ({"d/de-en.dev.de": "de-1\teins\nde-2\t \n"}, "line 2 is 'de-2\\t '; wanted an id and a sentence"),
        ({"d/de-en.dev.gold": "de-1\n"}, "d/de-en.dev.gold: line 1 is 'de-1'; wanted the ids of a pair"),
        ({"d/de-en.dev.gold": "de-1\ten-9\n"}, "'de-1' is paired with 'en-9', which is not an English sentence"),
        ({"d/de-en.dev.gold": "de-7\ten-1\n"}, "'de-7' is paired, but is not a sentence of dev"),
        ({"d/de-en.dev.de": "de-1\teins\nde-1\tzwei\nde-2\tzwei\n"}, "id 'de-1' occurs 2 times in dev"),
        ({"d/de-en.dev.fr": "fr-1\tun\n"}, "wanted dev.en, dev.gold and one file of another language, got"),
    ],
)
def test_faulty_files_are_refused_in_one_line(change, said):
    with pytest.raises(DataError) as refused:
        read(dev_alone() | change)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_part_without_gold_is_refused():
    files = {path: text for path, text in dev_alone().items() if not path.endswith("gold")}
    with pytest.raises(DataError, match=r"wanted dev\.en, dev\.gold and one file of another language"):
        read(files)
    columns = KIND.columns_in(dev_alone()) | {"pairs": [""] * 5}
    with pytest.raises(DataError, match="carry no pairs"):
        KIND.read(table(columns))


# ── drawing some of the rows ──


def test_drawn_sentences_bring_their_translations():
    rows, _ = corpus(np.random.default_rng(5), 400, 600)
    drawn = KIND.draw(rows, 300, seed=1)
    assert len(drawn) == len(set(drawn.places.tolist())) == 300
    there = {(part, id_) for part, _, id_, _ in drawn.gold}
    pairs = [(part, partner) for part, _, _, partners in drawn.gold for partner in partners]
    assert set(pairs) <= there
    n_foreign = sum(side == "foreign" for _, side, _, _ in drawn.gold)
    assert abs(n_foreign - 120) < 12 and abs(len(pairs) - 60) < 8, "as many of each as among all rows"
    assert KIND.draw(rows, 300, seed=1).sha256 == drawn.sha256
    assert KIND.draw(rows, None, seed=1) is KIND.draw(rows, len(rows), seed=1) is rows


def test_too_few_sentences_for_a_pair_are_refused():
    """Their F1 would be 0 for any encoder."""
    rows, _ = corpus(np.random.default_rng(5), 400, 600)
    with pytest.raises(DataError, match="no two of 1 sentences drawn translate each other; evaluate on more"):
        KIND.draw(rows, 1, seed=1)


# ── names of parts ──


def called(dev: str, test: str) -> dict[str, str]:
    return {path.replace(".dev.", f".{dev}.").replace(".test.", f".{test}."): text for path, text in FILES.items()}


def test_buccs_own_names_are_those_of_xtreme():
    assert read(called("sample", "training")).gold == read(FILES).gold


def test_parts_without_one_to_score_are_refused():
    with pytest.raises(DataError, match="parts one and two; wanted dev and test, or one part"):
        read(called("one", "two"))


def test_bucc_from_xtreme_names_the_missing_gold():
    files = {path: text for path, text in FILES.items() if not path.endswith("test.gold")}
    with pytest.raises(DataError, match=r"got test\.de, test\.en; XTREME deletes test\.gold: add BUCC's training gold"):
        read(files)


@pytest.mark.parametrize(("foreign", "counted"), [("猫在垫子上", False), ("die katze", True)])
def test_fertility_is_left_out_without_spaces(foreign, counted):
    files = {path: text.replace("eins", foreign).replace("zwei", foreign) for path, text in dev_alone().items()}
    rows = read({path: text.replace("ten", "a long sentence in english") for path, text in files.items()})
    encoded = encode(KIND, tiny_tokenizer("bert"), rows, 128)
    assert (encoded.tokenization.pieces_per_word is not None) == counted


def test_a_wrong_pair_does_not_tell_the_right_one():
    predictions, tally = ["en-1", "en-2", ""], [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    gold, said = KIND.in_a_word(pa.table({"prediction": predictions, "tally": tally}), ())
    assert gold == ["en-1", "", ""]
    assert said == ["en-1", "en-2", "–"]


def test_nothing_mined_scores_0():
    rows = read(FILES)
    given = Given("pairs.tsv", KIND.answers_in("pairs.tsv", ""))
    tally = KIND.tally(KIND.answers_given(given, rows), rows)
    assert tally.sum(axis=0).tolist() == [0, 0, 1]
    assert KIND.measure("f1").over(tally) == 0


def test_drawing_counts_a_shared_translation_once():
    """As in BUCC, where an English sentence can have several translations."""
    gold = [("test", "foreign", f"f{number}", [f"e{number // 2}"]) for number in range(20)]
    gold += [("test", "english", f"e{number}", []) for number in range(10)]
    rows = Rows("de", "test", {"text": [id_ for _, _, id_, _ in gold]}, gold, np.arange(30))
    for n in range(3, 30):
        drawn = KIND.draw(rows, n, seed=0)
        assert len(set(drawn.places.tolist())) == len(drawn) == n
        n_pairs = sum(len(partners) for *_, partners in drawn.gold)
        assert n_pairs >= 2 * (n // 3)  # two foreign sentences and their translation are drawn together


def test_english_sentences_of_two_languages_are_not_the_same():
    """BUCC numbers those of each language from 1 on. Comparisons drew them together, as they do MLQA's questions."""
    rows = read(FILES)
    given = KIND.answers_given(Given("pairs.tsv", KIND.answers_in("pairs.tsv", "")), rows)
    assert given["id"].to_pylist() == [id_ for _, _, id_, _ in rows.gold] and ids_of(given) is None
