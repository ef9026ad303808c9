"""Tagging: spans and their counts, words as pieces, answers, checks; slow reference code recomputes the numbers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForTokenClassification, PreTrainedTokenizerFast

from tests.conftest import SHARED
from tests.helpers.archives import unpack
from tests.helpers.checkpoints import ARCHITECTURES, SIZES, WORDS, tiny_tokenizer
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.prediction import predict
from xeval.judging.score import compare_with_float32, interval, judge
from xeval.kinds.encoded import IGNORED
from xeval.kinds.rows import Rows
from xeval.kinds.spans import SpanFinder, count_spans, old_type_of, type_of
from xeval.kinds.tags import Tagging, TagKeys
from xeval.kinds.words import share_of_other_pieces

CPU = Compute(torch.device("cpu"), torch.float32)
NAMES = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC")
SPEECH = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NUM", "NOUN",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X",
)  # fmt: skip
PEOPLE = Tagging(TagKeys(labels=NAMES))
PARTS = Tagging(TagKeys(labels=SPEECH))
SPAN_F1, UDPOS_F1, TOKEN_ACCURACY = (Tagging.measure(name) for name in ("span_f1", "udpos_f1", "token_accuracy"))
UNSEEN = "⚘"  # a word for which every tokenizer here has only the unknown piece


# ── spans, the slow way ──


def slow_spans(tags: list[str], type_of) -> set[tuple[str, int, int]]:
    """(type, first word, last word) by conlleval's rules, word by word."""
    spans, start = set(), 0
    before, type_before = "O", type_of("O")  # sentences are joined by an "O" before the search for spans
    for place, tag in enumerate([*tags, "O"]):
        letter, own = tag[0], type_of(tag)
        is_other = own != type_before
        if before in "ES" or (before in "BI" and letter in "BSO") or (before not in "O." and is_other):
            spans.add((type_before, start, place - 1))
        if letter in "BS" or (before in "ESO" and letter in "EI") or (letter not in "O." and is_other):
            start = place
        before, type_before = letter, own
    return spans


def slow_counts(said: list[list[str]], meant: list[list[str]], type_of) -> list[tuple[int, int, int]]:
    counts = []
    for one, other in zip(said, meant, strict=True):
        found, wanted = slow_spans(one, type_of), slow_spans(other, type_of)
        counts.append((len(found & wanted), len(found - wanted), len(wanted - found)))
    return counts


def numbers(rows: list[list[str]], labels: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([labels.index(tag) for row in rows for tag in row]), np.array([len(row) for row in rows])


def drawn(labels: tuple[str, ...], n_rows: int, seed: int) -> list[list[str]]:
    rng = np.random.default_rng(seed)
    return [rng.choice(labels, rng.integers(1, 12)).tolist() for _ in range(n_rows)]


ODD = ("O", "B-A", "I-A", "E-A", "S-A", "I-B", "B-B", "I-A-B", ".", "A", "BA")


@pytest.mark.parametrize("how", [type_of, old_type_of])
@pytest.mark.parametrize("labels", [NAMES, SPEECH, ODD], ids=["names", "parts of speech", "odd tags"])
def test_span_counts_match_slow_counts(labels, how):
    said, meant = drawn(labels, 300, 1), drawn(labels, 300, 2)
    for row in range(0, 300, 3):  # every third row is right, as among real predictions
        said[row] = list(meant[row])
    said = [row[: len(other)] + other[len(row) :] for row, other in zip(said, meant, strict=True)]
    (predicted, lengths), (gold, _) = numbers(said, labels), numbers(meant, labels)
    found = np.stack(count_spans(SpanFinder(labels, how), predicted, gold, lengths), axis=1)
    np.testing.assert_array_equal(found, slow_counts(said, meant, how))


def test_spans_without_a_beginning_are_found():
    said, meant = [["O", "I-PER", "I-PER", "I-ORG"]], [["O", "B-PER", "I-PER", "B-ORG"]]
    (predicted, lengths), (gold, _) = numbers(said, NAMES), numbers(meant, NAMES)
    found = count_spans(SpanFinder(NAMES, type_of), predicted, gold, lengths)
    assert [int(count[0]) for count in found] == [2, 0, 0]
    assert slow_spans(said[0], type_of) == {("PER", 1, 2), ("ORG", 3, 3)}


def test_old_and_new_spans_differ_for_conjunctions():
    said, meant = [["CCONJ", "NOUN"]], [["SCONJ", "NOUN"]]
    (predicted, lengths), (gold, _) = numbers(said, SPEECH), numbers(meant, SPEECH)
    new, old = (
        [int(count[0]) for count in count_spans(SpanFinder(SPEECH, how), predicted, gold, lengths)]
        for how in (type_of, old_type_of)
    )
    assert new == [2, 0, 0], "CONJ and OUN are both right"
    assert old == [1, 1, 1]


# ── scores ──


def rows_of(tags: list[list[str]], words: list[list[str]] | None = None, language: str = "en") -> Rows:
    words = words or [[f"w{place}" for place in range(len(row))] for row in tags]
    return Rows(language, "test", {"words": words}, tags, np.arange(len(tags)))


def answered(kind: Tagging, said: list[list[str]], rows: Rows):
    """`said` as answers: outputs of a head that are highest at these tags, for words of one piece."""
    flat, _ = numbers(said, kind.labels)
    outputs = np.eye(len(kind.labels), dtype=np.float32)[flat]

    class Words:
        targets = np.zeros(len(flat), dtype=np.int64)

    return kind.answers(outputs, Words(), rows)


@pytest.mark.parametrize(("kind", "labels"), [(PEOPLE, NAMES), (PARTS, SPEECH)], ids=["names", "parts of speech"])
def test_metrics_match_slow_counts(kind, labels):
    meant = drawn(labels, 100, 3)
    rng = np.random.default_rng(4)
    said = [[tag if rng.random() < 0.8 else str(rng.choice(labels)) for tag in row] for row in meant]
    rows = rows_of(meant)
    answers = answered(kind, said, rows)
    assert [[labels[tag] for tag in row] for row in answers["prediction"].to_pylist()] == said
    assert [[labels[tag] for tag in row] for row in answers["label"].to_pylist()] == meant
    tally = kind.tally(answers, rows)
    for measure, how in ((SPAN_F1, type_of), (UDPOS_F1, old_type_of)):
        found, wrong, missed = np.sum(slow_counts(said, meant, how), axis=0).tolist()
        precision, recall = found / (found + wrong), found / (found + missed)
        assert measure.over(tally) == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)
    right = [one == other for a, b in zip(said, meant, strict=True) for one, other in zip(a, b, strict=True)]
    assert TOKEN_ACCURACY.over(tally) == sum(right) / len(right)


def test_score_without_any_spans_is_0():
    rows = rows_of([["O", "O"], ["O"]])
    assert SPAN_F1.over(PEOPLE.tally(answered(PEOPLE, rows.gold, rows), rows)) == 0.0


@pytest.fixture(scope="module")
def mock_data(tmp_path_factory) -> Path:
    archive = SHARED / "data/xtreme/mock_test_data.tar.xz"
    if not archive.exists():
        pytest.skip("XTREME's mock data are not in ../shared")
    folder = tmp_path_factory.mktemp("mock")
    unpack(archive, folder)
    return next(folder.rglob("labels")).parent


def mean_over_languages(folder: Path, task: str, kind: Tagging) -> np.ndarray:
    """(7,) precision and recall by new and by old types, then span F1, UDPOS F1 and token accuracy, in percent."""
    scores = []
    for path in sorted((folder / "labels" / task).glob("*.tsv")):
        tags = []
        for of in (folder / "predictions" / task / path.name, path):
            found = kind.columns_in({f"{of}": of.read_text(encoding="utf-8")})
            tags.append(found["tokens"])  # one tag per line and nothing else
        rows = rows_of(tags[1])
        sums = kind.tally(answered(kind, tags[0], rows), rows).sum(axis=0)
        ratios = [sums[at] / max(1, sums[at] + sums[at + other]) for at in (0, 3) for other in (1, 2)]
        scores.append([*ratios, *(measure.value(sums) for measure in (SPAN_F1, UDPOS_F1, TOKEN_ACCURACY))])
    return 100 * np.mean(scores, axis=0)


def test_pan_x_scores_match_xtreme(mock_data):
    precision, recall, old_precision, old_recall, new, old, _ = mean_over_languages(mock_data, "panx", PEOPLE)
    assert new == old == pytest.approx(57.50793650793652, abs=1e-10)
    assert precision == old_precision == pytest.approx(54.729166666666664, abs=1e-10)
    assert recall == old_recall == pytest.approx(62.750000000000014, abs=1e-10)


def test_udpos_scores_match_xtreme_and_seqeval(mock_data):
    _, _, precision, recall, new, old, accuracy = mean_over_languages(mock_data, "udpos", PARTS)
    assert old == pytest.approx(70.21746048354693, abs=1e-10)
    assert (precision, recall) == pytest.approx((71.02232625883823, 69.54982073976082), abs=1e-10)
    assert new == pytest.approx(70.3980581069904, abs=1e-10)
    assert accuracy == pytest.approx(74.19, abs=0.005)


# ── words as pieces ──


def sentences(language: str, n: int = 40, seed: int = 0) -> Rows:
    """Sentences of many lengths, with an unknown word, a word too long for any sequence, and a zero-width space."""
    rng = np.random.default_rng(seed)
    words = [rng.choice(WORDS[language], rng.integers(1, 30)).tolist() for _ in range(n)]
    words[3].insert(1, UNSEEN)
    words[4].append("a" * 200)
    words[5].insert(0, "\u200b")  # some tokenizers drop it
    tags = [rng.choice(NAMES, len(row)).tolist() for row in words]
    return rows_of(tags, words, language)


def slowly(tokenizer, rows: Rows, max_length: int) -> list[tuple[int, list[int], list[int]]]:
    """(row, ids, targets) of each sequence, made word by word as XTREME's scripts do."""
    first, last = tokenizer("")["input_ids"]
    room = max_length - 2
    made = []
    for row, (words, tags) in enumerate(zip(rows.texts["words"], rows.gold, strict=True)):
        pieces: list[int] = []
        targets: list[int] = []
        for word, tag in zip(words, tags, strict=True):
            own = tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word))
            if not 0 < len(own) <= room:
                own = [tokenizer.unk_token_id]
            if len(pieces) + len(own) > room:
                made.append((row, [first, *pieces, last], [IGNORED, *targets, IGNORED]))
                pieces, targets = [], []
            pieces += own
            targets += [NAMES.index(tag), *[IGNORED] * (len(own) - 1)]
        made.append((row, [first, *pieces, last], [IGNORED, *targets, IGNORED]))
    return made


@pytest.mark.parametrize("max_length", [16, 32, 128])
@pytest.mark.parametrize("language", ["en", "ar", "th", "zh"])
@pytest.mark.parametrize("architecture", ["bert", "xlm-roberta"])
def test_pieces_match_word_by_word_tokenization(architecture, language, max_length):
    tokenizer, rows = tiny_tokenizer(architecture), sentences(language)
    encoded = encode(PEOPLE, tokenizer, rows, max_length)
    expected = slowly(tokenizer, rows, max_length)
    assert len(encoded) == len(expected)
    for number, (row, ids, targets) in enumerate(expected):
        inside = slice(*encoded.offsets[number : number + 2])
        assert (int(encoded.row_of[number]), encoded.input_ids[inside].tolist()) == (row, ids)
        assert encoded.targets[inside].tolist() == targets
    assert encoded.lengths.max() <= max_length
    n_words = sum(map(len, rows.gold))
    assert (encoded.targets != IGNORED).sum() == n_words, "no word is left out"
    assert encoded.tokenization.truncated_share == 0.0


def byte_tokenizer(add_prefix_space: bool) -> PreTrainedTokenizerFast:
    """Like ModernBERT's: pieces are bytes, with the space before a word among them; merges involve only that space."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate(["<s>", "</s>", "<unk>", *alphabet, "Ġt", "Ġh"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("Ġ", "t"), ("Ġ", "h")], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", pad_token="<unk>")


def test_share_of_words_with_other_pieces_in_text():
    words = [["the", "house", "has", "a", "tall", "roof"], ["here"]]
    assert share_of_other_pieces(byte_tokenizer(add_prefix_space=False), words) == 5 / 7, "all but two first words"
    assert share_of_other_pieces(byte_tokenizer(add_prefix_space=True), words) == 0
    for architecture in ("bert", "xlm-roberta"):
        assert share_of_other_pieces(tiny_tokenizer(architecture), sentences("en").texts["words"]) == 0


def test_doctor_warns_about_missing_prefix_space():
    rows = {"en": rows_of([["O"] * 3], [["the", "house", "has"]])}
    [found] = PEOPLE.tokenizer_checks(byte_tokenizer(add_prefix_space=False), rows)
    assert found.severity == "warning" and "en 66.7 %" in found.evidence and "add_prefix_space" in found.fix
    [found] = PEOPLE.tokenizer_checks(byte_tokenizer(add_prefix_space=True), rows)
    assert found.severity == "fine"


# ── predictions, compared with a plain transformers loop ──


def tagger(architecture: str) -> torch.nn.Module:
    is_roberta = architecture == "xlm-roberta"
    config = AutoConfig.for_model(
        architecture,
        vocab_size=len(tiny_tokenizer(architecture)),
        max_position_embeddings=66,
        pad_token_id=1 if is_roberta else 0,
        initializer_range=0.4,
        id2label=dict(enumerate(NAMES)),
        **SIZES[architecture],
        **({"type_vocab_size": 1} if is_roberta else {}),
    )
    torch.manual_seed(0)
    return AutoModelForTokenClassification.from_config(config).eval()


@torch.no_grad()
def plain_predictions(model, tokenizer, rows: Rows, max_length: int) -> list[list[str]]:
    """As run_ner.py predicts: padded batches of eight, and the tag of each word's first piece."""
    made = slowly(tokenizer, rows, max_length)
    said: list[list[str]] = [[] for _ in rows.gold]
    for start in range(0, len(made), 8):
        batch = made[start : start + 8]
        longest = max(len(ids) for _, ids, _ in batch)
        pad = tokenizer.pad_token_id
        inputs = torch.tensor([ids + [pad] * (longest - len(ids)) for _, ids, _ in batch])
        mask = torch.tensor([[1] * len(ids) + [0] * (longest - len(ids)) for _, ids, _ in batch])
        tags = model(input_ids=inputs, attention_mask=mask).logits.argmax(dim=-1).tolist()
        for (row, _, targets), own in zip(batch, tags, strict=True):
            said[row] += [NAMES[tag] for tag, target in zip(own, targets, strict=False) if target != IGNORED]
    return said


@pytest.mark.parametrize("language", ["en", "ar", "zh"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_predictions_match_a_plain_loop(architecture, language):
    model, tokenizer, rows = tagger(architecture), tiny_tokenizer(architecture), sentences(language, 60)
    encoded = encode(PEOPLE, tokenizer, rows, 24)
    assert len(encoded) > len(rows), "some sentence is split"
    with torch.no_grad():  # so that predictions vary
        model.classifier.bias -= torch.from_numpy(predict(model, PEOPLE, encoded, CPU).mean(axis=0))
    judged = judge(PEOPLE, predict(model, PEOPLE, encoded, CPU), encoded, rows)
    ours = [[NAMES[tag] for tag in row] for row in judged.answers["prediction"].to_pylist()]
    assert ours == plain_predictions(model, tokenizer, rows, 24)
    assert len({tag for row in ours for tag in row}) > 2, "a model that says one thing shows nothing"


def test_subset_of_rows_gets_the_same_predictions():
    model, tokenizer, rows = tagger("bert"), tiny_tokenizer("bert"), sentences("en", 30)
    encoded = encode(PEOPLE, tokenizer, rows, 32)
    outputs = predict(model, PEOPLE, encoded, CPU)
    chosen = np.array([2, 4, 11])
    sequences = np.flatnonzero(np.isin(encoded.row_of, chosen))
    some, some_rows, there = encoded.take(sequences), rows.take(chosen), outputs[encoded.tokens_of(sequences)]
    again = predict(model, PEOPLE, some, CPU)
    both = [judge(PEOPLE, each, some, some_rows).answers for each in (there, again)]
    assert both[0]["prediction"].to_pylist() == [
        judge(PEOPLE, outputs, encoded, rows).answers["prediction"].to_pylist()[row] for row in chosen
    ]
    assert compare_with_float32(there, again, *both).n_flips == 0


# ── signs of a training that learnt nothing ──


def test_one_tag_throughout_is_noticed():
    rows = rows_of([["O", "B-PER"], ["O"], ["B-LOC", "I-LOC", "O"]])
    for said, n in (([["O"] * 2, ["O"], ["O"] * 3], 3), ([["O"] * 2, ["O"], ["O", "O", "B-PER"]], 2)):
        assert PEOPLE.most_predicted(answered(PEOPLE, said, rows)) == n


def test_chance_is_known_for_spans_only():
    assert (PEOPLE.chance, PARTS.chance) == (0.0, None)


# ── checks before a run ──


def test_tag_missing_from_training_rows_is_an_error():
    train, test = rows_of([["O", "B-PER"]] * 20), rows_of([["B-LOC", "O"]] * 20)
    findings = PEOPLE.row_checks({"train": train}, {"en": test})
    assert findings[0].severity == "error" and "B-LOC" in findings[0].evidence


def test_spans_without_a_beginning_are_counted():
    rows = rows_of([["O", "I-PER", "I-PER"], ["B-PER", "I-ORG"], ["B-PER", "I-PER"]])
    found = {finding.name: finding for finding in PEOPLE.row_checks({}, {"en": rows})}
    assert "en test 2" in found["beginnings of spans"].evidence
    assert "beginnings of spans" not in {finding.name for finding in PARTS.row_checks({}, {"en": rows})}


# ── intervals ──


@pytest.mark.slow
def test_f1_interval_coverage_is_95_percent():
    """Over samples of 150 sentences from a large population with a known F1, within three standard deviations."""
    rng = np.random.default_rng(7)
    meant = drawn(NAMES, 10_000, 8)
    hard = rng.beta(2, 6, len(meant))  # sentences differ in difficulty
    said = [
        [tag if rng.random() > own else str(rng.choice(NAMES)) for tag in row]
        for row, own in zip(meant, hard, strict=True)
    ]
    rows = rows_of(meant)
    tally = PEOPLE.tally(answered(PEOPLE, said, rows), rows).astype(np.float64)
    true, n_samples = SPAN_F1.over(tally), 60
    n_held = 0
    for _ in range(n_samples):
        low, high = interval(SPAN_F1, tally[rng.choice(len(tally), 150)], np.arange(150))
        n_held += low <= true <= high
    assert abs(n_held / n_samples - 0.95) < 3 * np.sqrt(0.95 * 0.05 / n_samples), f"{n_held} of {n_samples}"


def test_types_with_hyphens_are_whole_only_today():
    """seqeval 0.0.16 and later split a tag at its first hyphen, earlier ones at its last."""
    labels = ("B-ORG-NAME", "B-PER-NAME")
    (predicted, lengths), (gold, _) = numbers([[labels[0]]], labels), numbers([[labels[1]]], labels)
    new, old = (
        [int(count[0]) for count in count_spans(SpanFinder(labels, how), predicted, gold, lengths)]
        for how in (type_of, old_type_of)
    )
    assert new == [0, 1, 1]
    assert old == [1, 0, 0]
