"""Sentence retrieval: rows, vectors of a layer and nearest translations, compared with plain transformers loops."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from transformers import AutoConfig, AutoModel

from tests.helpers.checkpoints import ARCHITECTURES, WORDS, tiny_tokenizer
from tests.helpers.plain_vectors import N_LAYERS, nearest_of, plain_vectors, tiny_encoder
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import can_pack
from xeval.engine.prediction import predict
from xeval.engine.vectors import SentenceEncoder
from xeval.kinds.given import Given
from xeval.kinds.retrieval import RetrievalKeys, SentenceRetrieval
from xeval.kinds.rows import Rows, Table
from xeval.support.errors import DataError

CPU = Compute(torch.device("cpu"), torch.float32)
KIND = SentenceRetrieval(RetrievalKeys())


def table(queries: list[str], texts: list[str], label: list | None = None) -> Table:
    columns = {"english": queries, "text": texts} | ({"label": label} if label is not None else {})
    return Table("de", "test", "de-en.de: test rows of 'de'", columns, {})


def sentences(n: int = 40) -> Rows:
    rng = np.random.default_rng(3)
    sides = [
        [" ".join(rng.choice(WORDS[language], rng.integers(1, 12))) for _ in range(n)] for language in ("en", "de")
    ]
    return KIND.read(table(*sides))


def encoder(architecture: str) -> torch.nn.Module:
    return tiny_encoder(architecture, len(tiny_tokenizer(architecture)))


# ── vectors ──


@pytest.mark.parametrize("pooling", ["mean", "first token"])
@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors_and_answers_match_a_plain_loop(architecture, layer, pooling):
    rows = sentences()
    model = encoder(architecture)
    queries, texts = (
        plain_vectors(model, tiny_tokenizer(architecture), rows.texts[name], layer, pooling)
        for name in ("query", "text")
    )
    encoded = KIND.encode(tiny_tokenizer(architecture), rows, 128)
    outputs = predict(SentenceEncoder(model, layer, pooling), KIND, encoded, CPU)
    np.testing.assert_allclose(outputs, np.concatenate([texts, queries]), rtol=0, atol=1e-5)
    assert KIND.answers(outputs, encoded, rows)["prediction"].to_pylist() == nearest_of(queries, texts)


def test_layers_above_are_not_computed():
    model = encoder("bert")
    computed = [
        layer.register_forward_hook(lambda *_, at=at: seen.append(at))
        for at, layer in enumerate(model.encoder.layer, start=1)
    ]
    seen: list[int] = []
    rows = sentences(4)
    predict(SentenceEncoder(model, 2, "mean"), KIND, KIND.encode(tiny_tokenizer("bert"), rows, 128), CPU)
    assert set(seen) == {1, 2}
    assert len(computed) == N_LAYERS


def test_vectors_are_right_without_packing():
    config = AutoConfig.for_model(
        "mpnet", vocab_size=len(tiny_tokenizer("bert")), hidden_size=16, num_hidden_layers=3,
        num_attention_heads=2, intermediate_size=24, initializer_range=0.3, max_position_embeddings=130,
    )  # fmt: skip
    torch.manual_seed(0)
    model, rows = AutoModel.from_config(config).eval(), sentences(9)
    assert not can_pack(model)
    texts = [*rows.texts["text"], *rows.texts["query"]]
    outputs = predict(SentenceEncoder(model, 2, "mean"), KIND, KIND.encode(tiny_tokenizer("bert"), rows, 128), CPU)
    np.testing.assert_allclose(
        outputs, plain_vectors(model, tiny_tokenizer("bert"), texts, 2, "mean"), rtol=0, atol=1e-5
    )


# ── answers ──


def answered(texts: np.ndarray, queries: np.ndarray, rows: Rows) -> pa.Table:
    return KIND.answers(np.concatenate([texts, queries]).astype(np.float32), None, rows)


def test_answers_and_tally_match_a_slow_loop():
    rng = np.random.default_rng(0)
    n = 2100  # more than two blocks
    texts = rng.normal(size=(n, 8))
    queries = texts + rng.normal(size=(n, 8))
    rows = KIND.read(table([f"q{i}" for i in range(n)], [f"t{i}" for i in range(n)]))
    answers = answered(texts, queries, rows)
    tally = KIND.tally(answers, rows)
    for row in range(0, n, 97):
        cosines = [float(queries[row] @ text / np.linalg.norm(queries[row]) / np.linalg.norm(text)) for text in texts]
        best = max(range(n), key=cosines.__getitem__)
        assert answers["prediction"][row].as_py() == best
        assert answers["cosine"][row].as_py() == pytest.approx(cosines[best], abs=1e-5)
        assert answers["right_cosine"][row].as_py() == pytest.approx(cosines[row], abs=1e-5)
        assert answers["nearer"][row].as_py() == sum(cosine > cosines[row] for cosine in cosines)
        assert tally[row].tolist() == [best == row, 1]


def test_only_the_first_of_equal_translations_is_right():
    rows = KIND.read(table(["a", "b", "c"], ["x", "y", "x"]))
    vectors = np.array([[1, 0], [0, 1], [1, 0]])
    answers = answered(vectors, vectors, rows)
    assert answers["prediction"].to_pylist() == [0, 1, 0]
    assert KIND.tally(answers, rows)[:, 0].tolist() == [1, 1, 0]


def test_a_hub_is_counted():
    rows = KIND.read(table(["a", "b", "c"], ["x", "y", "z"]))
    answers = answered(np.array([[1, 0], [0, 1], [-1, 0]]), np.array([[1, 0], [1, 0.1], [0.9, 0]]), rows)
    assert KIND.most_predicted(answers) == 3


def test_subset_of_rows_keeps_row_numbers():
    rows = sentences().take(np.array([7, 30]))
    answers = answered(np.eye(2), np.eye(2), rows)
    assert answers["prediction"].to_pylist() == rows.gold.tolist() == [7, 30]


# ── rows ──


def test_labels_align_translations_with_queries():
    rows = KIND.read(table(["a", "b", "c"], ["C", "A", "B"], ["1", "2", "0"]))
    assert rows.texts["text"] == ["A", "B", "C"]
    assert rows.gold.tolist() == [1, 2, 0]
    answers = answered(np.eye(3), np.eye(3), rows)
    assert answers["prediction"].to_pylist() == [1, 2, 0]  # as the file numbers them


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (["0", "1", "3"], "row 3 has its translation in '3'; wanted a number from 0 to 2"),
        (["0", "-1", "2"], "row 2 has its translation in '-1'"),
        (["0", "x", "2"], "row 2 has its translation in 'x'"),
        (["0", "1", "1"], "two rows have the same translation"),
        ([True, 1, 2], "row 1 has its translation in True"),
    ],
)
def test_invalid_translation_numbers_are_refused(label, said):
    with pytest.raises(DataError, match=said) as refused:
        KIND.read(table(["a", "b", "c"], ["A", "B", "C"], label))
    assert "\n" not in str(refused.value)


def test_independently_sorted_side_is_refused():
    queries, texts = [f"{i:03}" for i in range(60)], [f"{97 * i % 60:03}" for i in range(60)]
    with pytest.raises(DataError, match="in alphabetical order and the other not, as XTREME prepares them"):
        KIND.read(table(queries, texts))
    numbers = [texts.index(query) for query in queries]
    assert KIND.read(table(queries, texts, numbers)).texts["text"] == queries
    assert len(KIND.read(table(queries, queries))) == 60


def test_an_empty_sentence_is_refused():
    with pytest.raises(DataError, match="row 2 has an empty sentence"):
        KIND.read(table(["a", "b"], ["A", " "]))


def test_parallel_files_are_read():
    files = {"d/de-en.de": "eins\nzwei\u2028drei\n", "d/de-en.en": "one\ntwo three\n"}
    assert KIND.columns_in(files) == {"english": ["one", "two three"], "text": ["eins", "zwei\u2028drei"]}
    numbered = KIND.columns_in(files | {"d/de-en.gold": "1\n0\n"})
    assert numbered["label"] == ["1", "0"]


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"de-en.de": "a\nb\n", "de-en.en": "a\n"}, "de-en.de: wanted as many lines as de-en.en has, 1, got 2"),
        (
            {"de-en.de": "a\nb\n", "de-en.en": "a\nb\n", "de-en.gold": "1\n"},
            "de-en.gold: wanted as many lines as de-en.en has, 2, got 1",
        ),
        ({"de-en.de": "a\n"}, "de-en.de: wanted two files of parallel lines, one of which ends in .en, got de-en.de"),
        ({"de-en.de": "a\n", "de-en.fr": "a\n", "de-en.en": "a\n"}, "got de-en.de, de-en.fr, de-en.en"),
    ],
)
def test_non_parallel_files_are_refused_in_one_line(files, said):
    with pytest.raises(DataError) as refused:
        KIND.columns_in(files)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


# ── XTREME's mock data ──


def test_mock_data_score_matches_xtreme(unpacked):
    """https://github.com/google-research/xtreme, evaluate_test.py."""
    folder = unpacked("mock_test_data")
    accuracies = []
    for path in sorted((folder / "labels/tatoeba").glob("*.tsv")):
        gold, said = (
            np.array((folder / side / "tatoeba" / path.name).read_text().split(), dtype=np.int64)
            for side in ("labels", "predictions")
        )
        texts = [str(number) for number in range(len(gold))]
        rows = Rows("de", "test", {"query": texts, "text": texts}, gold, np.arange(len(gold)))
        tally = KIND.tally(pa.table({"prediction": said}), rows)
        accuracies.append(KIND.measure("accuracy").over(tally))
    assert len(accuracies) == 36
    assert 100 * np.mean(accuracies) == pytest.approx(53.611111111111114, abs=1e-12)


def test_xtremes_prepared_files_are_refused(unpacked):
    folder = unpacked("tatoeba")
    files = {str(path): path.read_text(encoding="utf-8-sig") for path in sorted(folder.glob("de-en.*"))}
    columns = KIND.columns_in(files)
    with pytest.raises(DataError, match="as XTREME prepares them"):
        KIND.read(Table("de", "test", "de", columns, {}))


def test_row_number_of_5000_digits_is_refused():
    given = Given("a file", ["9" * 5000])
    with pytest.raises(DataError, match=r"prediction 1 is '999.*; wanted the number of a row"):
        KIND.answers_given(given, Rows("de", "test", {}, np.zeros(1, int), np.arange(1)))


@pytest.mark.parametrize(("texts", "counted"), [("th", False), ("de", True)])
def test_fertility_is_that_of_the_translations(texts, counted):
    """English has more letters than Thai or Chinese, and was taken for the whole text."""
    english = [" ".join(WORDS["en"] * 3)] * 4
    encoded = encode(KIND, tiny_tokenizer("bert"), KIND.read(table(english, ["".join(WORDS[texts][:3])] * 4)), 128)
    assert (encoded.tokenization.pieces_per_word is not None) == counted
