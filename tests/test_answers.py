"""Question answering: windows, targets, losses, predictions and metrics, each compared with a slow computation."""

import json
import re
import string
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import AutoConfig, AutoModelForQuestionAnswering, AutoTokenizer

from tests.conftest import SHARED
from tests.helpers.archives import unpack
from tests.helpers.checkpoints import ARCHITECTURES, SIZES, WORDS, tiny_model, tiny_tokenizer, without_dropout
from tests.helpers.plain_answers import plain_answers
from xeval.data import tables
from xeval.data.model_files import find_checkpoint
from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.encoded_cache import encoded_once
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import logits_of, packed
from xeval.engine.fast_path.resident import ResidentPairs
from xeval.engine.loading import load_fine_tuned, load_pretrained, save_fine_tuned
from xeval.engine.prediction import predict
from xeval.engine.steps import step_on_device
from xeval.kinds.answer_text import exact_and_f1, mlqa_rule, squad_normalised
from xeval.kinds.answers import AnswerKeys, Answers
from xeval.kinds.encoded import Encoded
from xeval.kinds.given import Given
from xeval.kinds.metric import compute
from xeval.kinds.rows import Rows, Table
from xeval.kinds.windows import NOWHERE
from xeval.support.errors import DataError

CPU = Compute(torch.device("cpu"), torch.float32)
STRIDE, MAX_LENGTH = 24, 96
KIND = Answers(AnswerKeys(stride=STRIDE))
ARCHIVE = SHARED / "data/xtreme/mock_test_data.tar.xz"


def questions(n: int = 14, language: str = "en", seed: int = 3) -> Rows:
    """Return rows with two questions on each context; a context fills one window or several."""
    rng = np.random.default_rng(seed)
    space = "" if language in ("th", "zh") else " "
    table = {"question": [], "context": [], "answers": []}
    for number in range(n):
        words = rng.choice(WORDS[language], rng.integers(4, 70)).tolist()
        if number % 2:
            words = table["context"][-1].split(space) if space else list(table["context"][-1])
        first = int(rng.integers(len(words)))
        last = min(len(words), first + int(rng.integers(1, 4)))
        start = len(space.join(words[:first])) + (len(space) if first else 0)
        asked = rng.choice(WORDS[language], rng.integers(1, 40 if number == 5 else 6))
        table["question"].append(space.join(asked))
        table["context"].append(space.join(words))
        table["answers"].append({"text": [space.join(words[first:last])], "answer_start": [start]})
    return KIND.read(Table(language, "test", "here", table, {}))


def answering(architecture: str) -> torch.nn.Module:
    settings = {
        "vocab_size": len(tiny_tokenizer(architecture)),
        "max_position_embeddings": MAX_LENGTH + 2,
        "initializer_range": 0.3,
        "pad_token_id": 1 if architecture == "xlm-roberta" else 0,
        **SIZES[architecture],
        **without_dropout(architecture),
        **({"type_vocab_size": 1} if architecture == "xlm-roberta" else {}),
    }
    torch.manual_seed(1)
    config = AutoConfig.for_model(architecture, **settings)
    if architecture == "distilbert":
        config.qa_dropout = 0.0
    return AutoModelForQuestionAnswering.from_config(config).eval()


def encoded_rows(architecture: str, rows: Rows | None = None) -> Encoded:
    return encode(KIND, tiny_tokenizer(architecture), rows or questions(), MAX_LENGTH)


# ── windows ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("language", ["en", "th", "zh"])
def test_windows_are_those_of_the_tokenizer(architecture, language):
    tokenizer, rows = tiny_tokenizer(architecture), questions(language=language)
    encoded, at = encode(KIND, tokenizer, rows, MAX_LENGTH), 0
    n_special = 4 if architecture == "xlm-roberta" else 3
    for row, (question, context) in enumerate(zip(*rows.texts.values(), strict=True)):
        asked = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        n_asked = min(len(asked["input_ids"]), (MAX_LENGTH - n_special) // 2)
        expected = tokenizer(
            question[: asked["offset_mapping"][n_asked - 1][1]],
            context,
            truncation="only_second",
            max_length=MAX_LENGTH,
            stride=MAX_LENGTH - n_special - n_asked - STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        for number, ids in enumerate(expected["input_ids"]):
            here = slice(*encoded.offsets[at : at + 2])
            assert encoded.row_of[at] == row
            assert encoded.input_ids[here].tolist() == ids
            if number == 0 or architecture != "xlm-roberta":  # XLM-R's later windows have types that the first lacks
                assert encoded.token_type_ids[here].tolist() == expected["token_type_ids"][number]
            places = zip(expected["offset_mapping"][number], expected.sequence_ids(number), strict=True)
            wanted = [place if of == 1 else (NOWHERE, NOWHERE) for place, of in places]
            assert list(map(tuple, encoded.characters[here].tolist())) == wanted
            at += 1
    assert at == len(encoded) and (at > len(rows) or language == "th")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_targets_are_the_answer_or_the_first_piece(architecture):
    rows, encoded = questions(), encoded_rows(architecture)
    n_found = 0
    for window in range(len(encoded)):
        here = slice(*encoded.offsets[window : window + 2])
        targets, characters = encoded.targets[here], encoded.characters[here]
        assert targets[:, 2].tolist() == [1] + [0] * (len(targets) - 1)
        (start,), (end,) = np.flatnonzero(targets[:, 0]), np.flatnonzero(targets[:, 1])
        row = encoded.row_of[window]
        (begins, answer), context = rows.gold[row][0], rows.texts["context"][row]
        if (start, end) == (0, 0):
            shown = characters[characters[:, 0] != NOWHERE]
            assert begins < shown[0, 0] or begins + len(answer) > shown[-1, 1]
        else:
            n_found += 1
            assert context[characters[start, 0] : characters[end, 1]] == answer
    assert n_found >= len(rows)


def test_pieces_in_several_windows_are_counted_once():
    rows, tokenizer = questions(), tiny_tokenizer("bert")
    pieces = [
        ids for column in rows.texts.values() for ids in tokenizer(list(column), add_special_tokens=False)["input_ids"]
    ]
    n_words = sum(len(text.split()) for column in rows.texts.values() for text in column)
    encoded = encoded_rows("bert")
    assert encoded.tokenization.pieces_per_word == sum(map(len, pieces)) / n_words
    assert encoded.tokenization.pieces_per_row == len(encoded.input_ids) / len(rows)
    assert encoded.tokenization.truncated_share == 1 / len(rows)  # the question that is too long
    assert encoded.tokenization.unknown_piece_share == 0


def test_stride_longer_than_a_window_skips_no_piece():
    kind, rows = Answers(AnswerKeys(stride=500)), questions()
    encoded = encode(kind, tiny_tokenizer("bert"), rows, 48)
    for row, context in enumerate(rows.texts["context"]):
        places = encoded.characters[np.isin(np.repeat(encoded.row_of, encoded.lengths), row)]
        shown = {at for start, end in places[places[:, 0] != NOWHERE].tolist() for at in range(start, end)}
        assert shown == {at for at, character in enumerate(context) if character != " "}


def test_selected_and_cached_windows_keep_characters(tmp_path, monkeypatch):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path))
    encoded = encoded_rows("bert")
    some = encoded.take(np.flatnonzero(np.isin(encoded.row_of, [2, 5])))
    inside = np.isin(np.repeat(encoded.row_of, encoded.lengths), [2, 5])
    np.testing.assert_array_equal(some.characters, encoded.characters[inside])
    encoded_once("some", lambda: some, print)
    again = encoded_once("some", lambda: pytest.fail("it is in the cache"), print)
    np.testing.assert_array_equal(again.characters, some.characters)
    plain = Encoded(
        *(getattr(some, name) for name in ("input_ids", "token_type_ids", "offsets", "row_of")),
        some.targets,
        some.tokenization,
    )
    encoded_once("plain", lambda: plain, print)
    assert encoded_once("plain", lambda: pytest.fail("it is in the cache"), print).characters is None


def test_stride_and_question_length_change_the_encoding():
    assert KIND.encoding != Answers(AnswerKeys()).encoding != Answers(AnswerKeys(question_pieces=32)).encoding
    assert Answers(AnswerKeys(n_best=5)).encoding == Answers(AnswerKeys()).encoding


# ── the head ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packed_and_padded_logits_equal_single_windows(architecture):
    model, encoded = answering(architecture).double(), encoded_rows(architecture)
    windows = np.array([3, 0, 7, 7])
    expected = []
    with torch.no_grad():
        for window in windows:
            output = model(**collate(encoded, np.array([window]), model.config, CPU.device))
            expected.append(torch.stack([output.start_logits[0], output.end_logits[0]], dim=1))
        padded = logits_of(model, encoded, windows, CPU)
        with packed(model, "every token"):
            got = logits_of(model, encoded, windows, CPU)
    torch.testing.assert_close(padded, torch.cat(expected), rtol=0, atol=1e-12)
    torch.testing.assert_close(got, torch.cat(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_loss_and_gradients_are_those_of_transformers(architecture, dtype):
    """Their own loss counts padding among the positions, so each window is passed to it alone."""
    model, encoded = answering(architecture).to(dtype).train(), encoded_rows(architecture)
    windows, expected = np.array([1, 8, 0, 4]), torch.zeros((), dtype=dtype)
    for window in windows:
        inputs = collate(encoded, np.array([window]), model.config, CPU.device)
        targets = torch.from_numpy(encoded.targets[slice(*encoded.offsets[window : window + 2])])
        start, end = targets[:, 0].argmax()[None], targets[:, 1].argmax()[None]
        expected = expected + model(**inputs, start_positions=start, end_positions=end).loss / len(windows)
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(expected, parameters, allow_unused=True)
    with packed(model, "every token"):
        resident = ResidentPairs(encoded, model.config, len(windows), CPU.device)
        loss = step_on_device(KIND, model, resident, torch.from_numpy(windows), resident.n_tokens(windows), CPU)
    torch.testing.assert_close(loss.to(dtype), expected.detach(), rtol=1e-6, atol=0)
    for name, parameter, gradient in zip(names, parameters, gradients, strict=True):
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_losses_of_parts_add_up_to_the_whole():
    encoded, rng = encoded_rows("bert"), np.random.default_rng(0)
    outputs = torch.from_numpy(rng.normal(scale=20, size=(len(encoded.input_ids), 2)))
    whole, n = KIND.loss(outputs, torch.from_numpy(encoded.targets))
    cut = int(encoded.offsets[5])
    parts = [
        KIND.loss(outputs[part], torch.from_numpy(encoded.targets[part])) for part in (slice(cut), slice(cut, None))
    ]
    torch.testing.assert_close(parts[0][0] + parts[1][0], whole)
    assert int(n) == int(parts[0][1]) + int(parts[1][1]) == len(encoded)


# ── predictions ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("language", ["en", "ar", "th", "zh"])
def test_answers_are_those_of_a_plain_loop(architecture, language):
    model, tokenizer, rows = answering(architecture), tiny_tokenizer(architecture), questions(20, language)
    encoded = encode(KIND, tokenizer, rows, MAX_LENGTH)
    answers = KIND.answers(predict(model, KIND, encoded, CPU), encoded, rows)
    expected = list(plain_answers(model, tokenizer, rows, MAX_LENGTH, STRIDE))
    assert answers["prediction"].to_pylist() == expected
    assert len(set(expected)) > 3 and (len(encoded) > len(rows) or language == "th")


def test_answers_are_saved_with_whole_words_and_gold():
    rows = KIND.read(table(context="It is in Dar-es-Salaam, they say.", answers=[("Dar", 9), ("Dar-es-Salaam", 9)]))
    encoded = encode(KIND, AutoTokenizer.from_pretrained(find_checkpoint("mini-mbert").folder), rows, 64)
    outputs = np.zeros((len(encoded.input_ids), 2), np.float32)
    outputs[encoded.targets[:, 0] == 1, 0] = outputs[encoded.targets[:, 1] == 1, 1] = 9
    answers = KIND.answers(outputs, encoded, rows)
    assert answers.to_pydict() == {
        "prediction": ["Dar"],
        "in_words": ["Dar-es-Salaam,"],
        "gold": [["Dar", "Dar-es-Salaam"]],
    }
    assert KIND.tally(answers, rows).tolist() == [[1] * 7]


# ── weights ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_classification_head_is_replaced_by_an_answer_head(tmp_path, architecture):
    tokenizer = tiny_tokenizer(architecture)
    tiny_model(architecture, len(tokenizer)).save_pretrained(tmp_path / "classifier")
    tokenizer.save_pretrained(tmp_path / "classifier")
    checkpoint = find_checkpoint(str(tmp_path / "classifier"))
    model = load_pretrained(checkpoint, KIND, seed=4)
    assert model.config.num_labels == 2 and model.qa_outputs.weight.shape[0] == 2
    again = load_pretrained(checkpoint, KIND, seed=4)
    torch.testing.assert_close(model.qa_outputs.weight, again.qa_outputs.weight, rtol=0, atol=0)
    save_fine_tuned(model, tmp_path / "tuned")
    kept = load_fine_tuned(checkpoint, KIND, tmp_path / "tuned")
    encoded = encoded_rows(architecture)
    np.testing.assert_array_equal(predict(kept, KIND, encoded, CPU), predict(model, KIND, encoded, CPU))


# ── metrics ──


def slow_f1(said: str, right: str, rule) -> float:
    left, n_common = rule(right).split(), 0
    for word in rule(said).split():
        if word in left:
            left.remove(word)
            n_common += 1
    if n_common == 0:
        return 0.0
    return 2 * n_common / (len(rule(said).split()) + len(rule(right).split()))


def slow_squad(text: str) -> str:
    text = "".join(character for character in text.lower() if character not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_a_slow_computation(seed):
    rng, words = np.random.default_rng(seed), ["the", "The", "a", "cat,", "cat", "sat.", "on-mat", "猫", "", "  ", "An"]
    for _ in range(200):
        said, *right = (" ".join(rng.choice(words, rng.integers(0, 6))) for _ in range(1 + rng.integers(1, 4)))
        exact, f1 = exact_and_f1(said, right, squad_normalised)
        assert exact == any(slow_squad(said) == slow_squad(each) for each in right)
        assert f1 == pytest.approx(max(slow_f1(said, each, slow_squad) for each in right))


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "The «Cat»", "cat"),
        ("es", "¿Los gatos?", "gatos"),
        ("de", "der Hund eines Kindes", "hund kindes"),
        ("vi", "những con mèo", "con mèo"),
        ("ar", "الكتاب", "كتاب"),
        ("hi", "the बिल्ली।", "the बिल्ली"),
        ("zh", "猫和dog，2只", "猫 和 dog2 只"),
        ("zho_Hans", "猫", "猫"),
    ],
)
def test_mlqa_has_rules_for_each_language(language, text, expected):
    assert mlqa_rule(language)(text) == expected


@pytest.mark.skipif(not ARCHIVE.exists(), reason="XTREME's mock data are not in ../shared")
@pytest.mark.parametrize(
    ("task", "exact", "f1"),
    [
        ("xquad", 77.27272727272727, 79.9586776859504),
        ("mlqa", 57.142857142857146, 81.76870748299321),
        ("tydiqa", 88.88888888888889, 97.22222222222223),
    ],
)
def test_mock_data_get_the_scores_that_xtreme_expects(tmp_path, task, exact, f1):
    unpack(ARCHIVE, tmp_path)
    scores = []
    metrics = ("mlqa_exact_match", "mlqa_f1") if task == "mlqa" else ("exact_match", "f1")
    for path in sorted(tmp_path.glob(f"**/labels/{task}/test-*.json")):
        language, text = path.stem.removeprefix("test-"), path.read_text(encoding="utf-8")
        ids = [asked["id"] for paragraph in _paragraphs(text) for asked in paragraph["qas"]]
        rows = KIND.read(Table(language, "test", str(path), KIND.columns_in({str(path): text}), {}))
        said = json.loads((path.parents[2] / "predictions" / task / path.name).read_text(encoding="utf-8"))
        answers = [said.get(each, "") for each in ids]
        tally = KIND.tally({"prediction": _Column(answers), "in_words": _Column(answers)}, rows)
        scores.append([KIND.measure(metric).over(tally) for metric in metrics])
    assert (100 * np.mean(scores, axis=0)).tolist() == pytest.approx([exact, f1], rel=1e-14)


class _Column(list):
    to_pylist = list.copy


def _paragraphs(text: str) -> list[dict]:
    return [paragraph for article in json.loads(text)["data"] for paragraph in article["paragraphs"]]


# ── files ──


def table(question="Where?", context="It is here.", answers=(("here", 6),)) -> Table:
    texts, starts = [text for text, _ in answers], [start for _, start in answers]
    held = {"text": texts, "answer_start": starts}
    return Table(
        "en", "test", "a file: test rows", {"question": [question], "context": [context], "answers": [held]}, {}
    )


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"answers": [("there", 6)]}, "row 1 has an answer 'there' at character 6, where its context says 'here.'"),
        ({"answers": [("It", 3)]}, "where its context says 'is', and 'It' elsewhere"),
        ({"answers": [("here", 60)]}, "row 1 has an answer 'here' at character 60, but its context has 11"),
        ({"answers": [("here", -1)]}, "at character -1, but its context has 11"),
        ({"answers": [("here", "6")]}, "row 1 has an answer 'here' at '6'; wanted a text and a whole number"),
        ({"answers": [("here", True)]}, "wanted a text and a whole number"),
        ({"answers": [("here", 6), (" ", 2)]}, "row 1 has an empty answer"),
        ({"answers": [("", 0)]}, "carry no answers (XTREME strips them from test files), so they cannot be scored"),
        ({"answers": []}, "carry no answers"),
        ({"context": " "}, "row 1 has an empty context"),
        ({"question": ""}, "row 1 has an empty question"),
        ({"context": None}, "row 1 has no text in 'context'"),
    ],
)
def test_unusable_rows_are_refused_in_one_line(wrong, complaint):
    with pytest.raises(DataError) as caught:
        KIND.read(table(**wrong))
    assert complaint in str(caught.value) and str(caught.value).startswith("a file: test rows")
    assert "\n" not in str(caught.value)


def test_row_without_an_answer_is_named():
    columns = {name: values * 2 for name, values in table().columns.items()}
    columns["answers"] = [columns["answers"][0], {"text": [], "answer_start": []}]
    with pytest.raises(DataError, match="row 2 has no answer"):
        KIND.read(Table("en", "test", "a file", columns, {}))


@pytest.mark.parametrize("answers", ["here", {"text": ["here"]}, {"text": ["here"], "answer_start": []}, [6], 7])
def test_malformed_answers_are_refused(answers):
    columns = table().columns | {"answers": [answers]}
    with pytest.raises(DataError, match=r"row 1 has |carry no answers"):
        KIND.read(Table("en", "test", "a file", columns, {}))


def squad(*paragraphs) -> str:
    return json.dumps({"version": "1.1", "data": [{"title": "A", "paragraphs": list(paragraphs)}]}, ensure_ascii=False)


ASKED = {"id": "1", "question": "Where?", "answers": [{"text": "here", "answer_start": 6}]}
PARAGRAPH = {"context": "It is here.", "qas": [ASKED, ASKED | {"id": "2", "question": "It is where?"}]}


def test_squad_file_is_read_question_by_question():
    columns = KIND.columns_in(
        {"one.json": squad(PARAGRAPH), "two.json": squad(PARAGRAPH | {"context": "It was here."})}
    )
    assert columns["question"] == ["Where?", "It is where?"] * 2
    rows = KIND.read(Table("en", "test", "a file", {name: column[:2] for name, column in columns.items()}, {}))
    assert rows.gold == [[(6, "here")]] * 2
    assert rows.groups.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "one.json: not readable as JSON"),
        ("[" * 100_000, "one.json: not readable as JSON"),
        ("[]", "no list 'data'"),
        ('{"data": [{}]}', "no list 'paragraphs'"),
        ('{"data": [{"paragraphs": [7]}]}', "no list 'qas'"),
        ('{"data": [{"paragraphs": [{"context": "a", "qas": [7]}]}]}', "a question is 7; wanted SQuAD's format"),
        (squad({"context": "It is here.", "qas": [ASKED, ASKED]}), "question '1' occurs in it twice"),
        (squad(PARAGRAPH, PARAGRAPH), "question '1' occurs in it twice"),
    ],
)
def test_malformed_squad_file_is_refused(text, complaint):
    with pytest.raises(DataError, match=re.escape(complaint)):
        KIND.columns_in({"one.json": text})


def test_different_questions_may_share_an_id():
    """TyDi QA's English training file has ids that dozens of questions share."""
    columns = KIND.columns_in(
        {"one.json": squad({"context": "It is here.", "qas": [ASKED, ASKED | {"question": "So?"}]})}
    )
    assert columns["question"] == ["Where?", "So?"]


def test_questions_on_one_context_form_a_group():
    rows = questions(6)
    contexts = Counter(rows.texts["context"])
    assert rows.groups.tolist() == [0, 0, 1, 1, 2, 2] and set(contexts.values()) == {2}


def test_byte_order_mark_and_crlf_change_nothing(tmp_path):
    """In a file of SQuAD's format."""
    path = Path(tmp_path, "marked.json")
    path.write_bytes(
        b"\xef\xbb\xbf" + json.dumps(json.loads(squad(PARAGRAPH)), indent=1).replace("\n", "\r\n").encode()
    )
    assert KIND.columns_in({"": tables.read_text(path)}) == KIND.columns_in({"": squad(PARAGRAPH)})


@pytest.mark.parametrize("metric", [metric.name for metric in Answers.metrics])
def test_library_returns_each_metric_by_its_name(metric):
    """It returns values and counts by name in one table, so no two may have the same name."""
    tally = np.random.default_rng(1).random((30, len(Answers.counts)))
    tally[:, -1] = 1
    assert compute(KIND.measure(metric), tally)[metric] == pytest.approx(KIND.measure(metric).over(tally))


def test_parquet_jsonl_and_squad_files_give_the_same_rows(tmp_path):
    columns = table().columns | {"id": ["1"]}
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    line = {name: column[0] for name, column in columns.items()}
    Path(tmp_path, "test.jsonl").write_text(json.dumps(line), encoding="utf-8")
    wanted = tables.Wanted(KIND.text_columns, KIND.gold_columns, 10)
    in_parquet = tables.read_parquet([tmp_path / "test.parquet"], wanted).values
    in_jsonl = tables.read_json_lines(tmp_path / "test.jsonl", wanted).values
    in_squad = KIND.columns_in({"test.json": squad(PARAGRAPH | {"qas": [ASKED]})})
    assert in_parquet == in_jsonl == table().columns
    rows = [KIND.read(Table("en", "test", "a file", columns, {})) for columns in (in_parquet, in_jsonl, in_squad)]
    assert rows[0].gold == [[(6, "here")]] and len({each.sha256 for each in rows}) == 1


def test_small_parquet_that_unpacks_to_gigabytes_is_refused(tmp_path):
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 90_000]))
    answers = pa.StructArray.from_arrays([pa.ListArray.from_arrays(pa.array([0, 50_000], pa.int32()), texts)], ["text"])
    pq.write_table(pa.table({"question": ["Where?"], "context": ["It"], "answers": answers}), tmp_path / "test.parquet")
    assert (tmp_path / "test.parquet").stat().st_size < 200_000
    with pytest.raises(DataError, match=r"column 'answers.text' unpacks to 4,500,000,000 bytes"):
        tables.read_parquet([tmp_path / "test.parquet"], tables.Wanted(KIND.text_columns, KIND.gold_columns, 10))


def test_shared_contexts_and_ends_inside_words_are_findings():
    def rows(contexts: list[str], answers: list[tuple[int, str]]) -> Rows:
        texts = {"question": ["Where?"] * len(contexts), "context": contexts}
        return Rows("en", "test", texts, [[own] for own in answers], np.arange(len(contexts)))

    tested = rows(["It is here, now.", "Or there."], [(6, "here"), (3, "there.")])

    def found(**training: Rows) -> dict:
        return {one.name: one for one in KIND.row_checks(training, {"en": tested})}

    apart = found(train=rows(["Over there."], [(5, "there.")]))
    shared = found(train=rows(["Or there."], [(3, "there")]))
    assert apart.keys() == found().keys() == {"ends of answers"}
    assert "at most 50.0 % (en)" in apart["ends of answers"].evidence
    assert shared["contexts"].severity == "warning" and "at most 50.0 % (en)" in shared["contexts"].evidence


def test_windows_without_room_for_text_are_refused():
    """XLM-R puts four special pieces around a question and a context."""
    with pytest.raises(
        DataError, match="leaves no room for text: this tokenizer adds 4 special pieces; wanted 6 or more"
    ):
        encode(KIND, tiny_tokenizer("xlm-roberta"), questions(), 4)


@pytest.mark.parametrize(("max_length", "unit"), [(24, "sequences"), (128, "questions")])
def test_batches_are_counted_in_sequences_or_questions(command, tmp_path, monkeypatch, max_length, unit):
    monkeypatch.setenv("XEVAL_CACHE", str(tmp_path / "cache"))
    limits = ("--max-train", 40, "--max-steps", 1, "--max-eval", 10, "--language", "en", "--max-length", max_length)
    places = ("--results", tmp_path / "results", "--device", "cpu")
    code, _, err = command("run", "answers-mini", "--model", "mini-mbert", *limits, *places)
    [said] = re.findall(r"effective batch size 32 (\w+), 1 step on (\d+) (\w+)", err)
    assert code == 0 and said[0] == said[2] == unit
    assert (int(said[1]) == 40) == (unit == "questions")


@pytest.mark.parametrize("wrong", [{"context": "It is here. \ud83d"}, {"question": "Where\udc00?"}])
def test_unpaired_surrogate_is_refused(wrong):
    with pytest.raises(DataError, match="an unpaired UTF-16 surrogate in"):
        KIND.read(table(**wrong))


def test_answer_may_end_in_characters_without_a_piece():
    """BERT's tokenizer drops control characters, here one at the end of the text."""
    context = WORDS["en"][0] + " " + WORDS["en"][1] + "\x07"
    answer = {"text": [WORDS["en"][1] + "\x07"], "answer_start": [len(WORDS["en"][0]) + 1]}
    columns = {"question": [WORDS["en"][2]], "context": [context], "answers": [answer]}
    encoded = encoded_rows("bert", KIND.read(Table("en", "test", "here", columns, {})))
    of_context = np.flatnonzero(encoded.characters[:, 0] != NOWHERE)
    first, last = (np.flatnonzero(encoded.targets[:, side]).item() for side in (0, 1))
    assert last == of_context[-1]
    assert context[encoded.characters[first, 0] : encoded.characters[last, 1]] == WORDS["en"][1]


def test_a_single_right_answer_scores_1():
    for metric in Answers.metrics:
        assert Answers.measure(metric.name).over(np.ones((1, len(Answers.counts)))) == 1


def test_white_space_around_a_prediction_takes_in_no_other_word():
    rows = KIND.read(table(context="It is in Dar-es-Salaam, they say.", answers=[("Dar-es-Salaam", 9)]))
    answers = KIND.answers_given(Given("answers.json", [" Dar"]), rows)
    assert answers["in_words"].to_pylist() == ["Dar-es-Salaam,"]
