"""Checks before a run find the faults in rows, tokenizers and settings, and report none where there is none."""

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, normalizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, BertTokenizer, PreTrainedTokenizerFast, XLMRobertaTokenizer

from tests.helpers import tiny, toy
from tests.helpers.checkpoints import LABELS
from xeval.checks.before.machine_checks import check_disk
from xeval.checks.before.tokenizer_checks import (
    KNOWN_VOCABULARIES,
    check_letters,
    check_vocabulary,
    without_accents,
)
from xeval.results.records import RunRecord
from xeval.runs.preflight import doctor, stop_on_errors
from xeval.support.errors import PreflightError
from xeval.support.findings import Finding, error, fine
from xeval.support.progress import Silent

WORDS = [f"Word{chr(97 + n)}{chr(97 + m)}" for n in range(26) for m in range(10)]


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> toy.Toy:
    return toy.write_toy(tmp_path_factory.mktemp("toy"))


def check(world: toy.Toy, **changes) -> dict[str, Finding]:
    """What the doctor finds, by name of the check."""
    options = {"models": [str(world.model)], "recipe": str(world.folder / "toy.toml"), "data": world.data}
    found = doctor(str(world.task_file), **(options | {"device": "cpu", "dtype": "float32"} | changes))
    assert len({finding.name for _, finding in found}) == len(found)
    return {finding.name: finding for _, finding in found}


def check_rows(world: toy.Toy, folder: Path, rows: tiny.Rows) -> dict[str, Finding]:
    return check(world, models=[], data=tiny.write_hub_layout(folder / "data", rows))


def wrong(found: dict[str, Finding]) -> dict[str, str]:
    return {name: finding.severity for name, finding in found.items() if finding.severity != "fine"}


def test_healthy_run_passes_every_check_with_evidence(world):
    found = check(world)
    assert wrong(found) == {}
    assert found["rows"].evidence == "360 of 360 pairs to train on, 120 to test on in each of 4 languages"
    assert found["effective batch size"].evidence.startswith("16 pairs per step, 138 steps on 360 pairs")
    assert {
        "device",
        "labels",
        "overlap",
        "vocabulary",
        "capital letters",
        "unknown pieces",
        "disk space",
    } <= found.keys()
    assert all(finding.evidence and not finding.fix for finding in found.values())


# ── rows ──


def test_placeholder_labels_do_not_stop_other_checks(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "es"] = [(p, h, "entailment") for p, h, _ in rows["test", "es"]]
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"test rows, es": "error"}
    assert "placeholder" in found["test rows, es"].evidence
    assert "3 languages" in found["rows"].evidence


def test_missing_rows_and_missing_files_are_errors(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "ar"].pop()
    del rows["test", "zh"]
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"test rows, ar": "error", "test rows, zh": "error"}
    assert "wanted 120, found 119" in found["test rows, ar"].evidence


def test_bad_training_rows_do_not_hide_bad_test_rows(world, tmp_path):
    rows = toy.toy_rows()
    rows["train", "en"] = [(p, h, "neutral") for p, h, _ in rows["train", "en"]]
    rows["test", "ar"].pop()
    assert wrong(check_rows(world, tmp_path, rows)) == {"train rows": "error", "test rows, ar": "error"}


def test_missing_training_rows_are_a_warning(world, tmp_path):
    rows = toy.toy_rows()
    rows["train", "en"] = rows["train", "en"][:90]
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"rows": "warning"}
    assert "90 training pairs where the task file states 360" in found["rows"].evidence


def test_a_label_that_is_never_trained_is_an_error(world, tmp_path):
    rows = toy.toy_rows()
    rows["train", "en"] = [(p, h, y if y != "neutral" else "entailment") for p, h, y in rows["train", "en"]]
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"labels": "error"}
    assert found["labels"].evidence == "no training row has neutral"


def test_lopsided_test_labels_are_a_warning(world, tmp_path):
    rows = toy.toy_rows()
    for language in toy.LANGUAGES:
        rows["test", language][:90] = [(p, h, "neutral") for p, h, _ in rows["test", language][:90]]
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"labels": "warning"}
    assert (
        "the test splits: entailment 8 %, neutral 83 %, contradiction 8 %, en train: entailment 33 %, neutral 33 %"
        in found["labels"].evidence
    )


def relabelled(rows: list[tiny.Row], shares: dict[str, float], seed: int) -> list[tiny.Row]:
    """The texts of `rows` with labels that are drawn by these shares."""
    drawn = random.Random(seed).choices(list(shares), list(shares.values()), k=len(rows))
    return [(premise, hypothesis, label) for (premise, hypothesis, _), label in zip(rows, drawn, strict=True)]


def test_unbalanced_corpus_is_fine(world, tmp_path):
    """SICK has 57 % neutral pairs and 14 % contradictions, in every split and language."""
    rows, shares = toy.toy_rows(), {"entailment": 0.29, "neutral": 0.57, "contradiction": 0.14}
    rows = {split: relabelled(own, shares, place) for place, (split, own) in enumerate(rows.items())}
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {}
    assert "much the same in each of 4 languages and in training" in found["labels"].evidence
    assert "neutral 5" in found["labels"].evidence and "balanced" not in found["labels"].evidence


def test_language_with_lopsided_labels_is_named(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "zh"][:90] = [(p, h, "neutral") for p, h, _ in rows["test", "zh"][:90]]
    found = check_rows(world, tmp_path, rows)
    assert found["labels"].severity == "warning"
    assert found["labels"].evidence == (
        "zh test: entailment 8 %, neutral 83 %, contradiction 8 %,"
        " the others: entailment 33 %, neutral 33 %, contradiction 33 %"
    )


@pytest.mark.parametrize(("n_known", "severity"), [(0, "fine"), (6, "warning"), (120, "error")])
def test_test_pairs_seen_in_training_are_reported(world, tmp_path, n_known, severity):
    rows = toy.toy_rows()
    rows["train", "en"][:n_known] = rows["test", "en"][:n_known]
    found = check_rows(world, tmp_path, rows)["overlap"]
    assert found.severity == severity
    assert f"{100 * n_known / 120:.1f} % of 120 en test pairs" in found.evidence


def test_repeated_test_pairs_are_a_warning(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "es"][60:72] = rows["test", "es"][:12]
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"repeated rows": "warning"}
    assert found["repeated rows"].evidence.endswith("es 10.0 %")


def test_same_rows_for_two_languages_are_a_warning(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "es"] = list(rows["test", "zh"])
    found = check_rows(world, tmp_path, rows)
    assert found["texts of languages"].severity == "warning"
    assert found["texts of languages"].evidence == "the same test pairs under two names: es and zh 100.0 %"


def test_reordered_rows_of_one_language_are_a_warning(world, tmp_path):
    rows = toy.toy_rows()
    random.Random(0).shuffle(rows["test", "ar"])
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {"parallel labels": "warning"}
    labels = [[row[-1] for row in rows["test", language]] for language in ("ar", "es")]
    share = sum(one != other for one, other in zip(*labels, strict=True)) / len(labels[0])
    assert found["parallel labels"].evidence.endswith(f"rows that differ elsewhere: ar {share:.1%}".replace("%", " %"))


def test_labels_of_another_corpus_are_not_a_mismatch(world, tmp_path):
    """Like English if the other languages were translated from elsewhere: it has rows of its own, as many or fewer."""
    shares = {"entailment": 0.4, "neutral": 0.35, "contradiction": 0.25}
    rows = toy.toy_rows()
    rows["test", "en"] = relabelled(rows["test", "en"], shares, 1)
    found = check_rows(world, tmp_path, rows)
    assert wrong(found) == {}
    assert found["parallel labels"].evidence == "the same, row by row, in 3 languages; en: rows of their own"


def test_partly_wrong_labels_of_a_language_are_a_warning(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "ar"][:24] = relabelled(rows["test", "ar"][:24], {"entailment": 1, "neutral": 1}, 2)
    assert wrong(check_rows(world, tmp_path, rows)) == {"parallel labels": "warning"}


# ── tokenizers ──


def with_tokenizer(world: toy.Toy, folder: Path, tokenizer) -> str:
    shutil.copytree(world.model, folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_maltese_piece_does_not_imply_a_byte_vocabulary():
    """XLM-R's vocabulary has pieces that begin with the letter that byte-level vocabularies use for a space."""
    maltese = BertTokenizer(
        vocab={piece: n for n, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Ġ", *WORDS])},
        do_lower_case=True,
    )
    [capitals, *_] = check_letters(maltese, WORDS)
    assert (capitals.name, capitals.severity) == ("capital letters", "warning")


SPACE = "▁"  # as sentencepiece writes it
ACCENTED = ["Málaga", "Zürich", "Łódź", "Ærø", "İzmir", "में", "हिन्दी", *(f"Wórd{chr(97 + n)}" for n in range(26))]


def a_unigram(*changes: normalizers.Normalizer):
    """A tokenizer like XLM-R's with the letters that byte vocabularies use, and with `changes` made to texts."""
    words = [*ACCENTED, *WORDS, *(word.lower() for word in WORDS)]
    letters = sorted({letter for word in words for letter in word + word.lower()} | set(ByteLevel.alphabet()))
    pieces = ["<s>", "<pad>", "</s>", "<unk>", *(SPACE + word for word in words), SPACE, *letters]
    tokenizer = XLMRobertaTokenizer(vocab=[(piece, -float(rank)) for rank, piece in enumerate(pieces)])
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), *changes, normalizers.NFC()])
    return tokenizer


LOWER, STRIP = [normalizers.Lowercase()], [normalizers.NFD(), normalizers.StripAccents()]


@pytest.mark.parametrize(
    ("changes", "severities"),
    [
        ([], ["fine", "fine"]),
        (LOWER, ["warning", "fine"]),
        (STRIP, ["fine", "warning"]),
        (STRIP + LOWER, ["warning", "warning"]),
    ],
    ids=["whole", "lower-cased", "stripped", "both"],
)
def test_character_tokenizer_reports_lost_letters(changes, severities):
    """Although its vocabulary has every letter that byte vocabularies use."""
    found = check_letters(a_unigram(*changes), [*ACCENTED, *WORDS])
    assert [finding.severity for finding in found] == severities
    assert "and are never used" in "".join(f.evidence for f in found) or not changes


@pytest.mark.parametrize(("changes", "severity"), [([], "fine"), (LOWER, "warning")], ids=["whole", "lower-cased"])
def test_byte_tokenizer_reports_lost_capitals(changes, severity):
    """A normalizer changes the text before it becomes bytes."""
    model = models.BPE(vocab={piece: n for n, piece in enumerate(sorted(ByteLevel.alphabet()))}, merges=[])
    tokenizer = Tokenizer(model)
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Sequence(changes), ByteLevel(add_prefix_space=False)
    [capitals, accents] = check_letters(PreTrainedTokenizerFast(tokenizer_object=tokenizer), [*ACCENTED, *WORDS])
    assert (capitals.severity, accents.severity) == (severity, "fine")


REAL_XLMR = Path(os.environ.get("XEVAL_REAL_XLMR", "/nowhere"))  # a folder with XLM-R's tokenizer.json
needs_xlmr = pytest.mark.skipif(not REAL_XLMR.is_dir(), reason="XEVAL_REAL_XLMR names no folder with XLM-R's tokenizer")


@needs_xlmr
@pytest.mark.parametrize("rows", [250_002, 250_037])
def test_real_xlmr_with_altered_letters_fails_the_checks(rows):
    """With and without padding rows in its embedding."""
    texts = ["Hello World", "Élan vital", "Die Häuser von Köln", "नमस्ते दुनिया"]
    whole, changed = (AutoTokenizer.from_pretrained(REAL_XLMR) for _ in range(2))
    backend = changed.backend_tokenizer
    backend.normalizer = normalizers.Sequence([backend.normalizer, *STRIP, *LOWER, normalizers.NFC()])
    assert [f.severity for f in (check_vocabulary(whole, rows), *check_letters(whole, texts))] == ["fine"] * 3
    vocabulary, *letters = check_vocabulary(changed, rows), *check_letters(changed, texts)
    assert [f.severity for f in (vocabulary, *letters)] == ["error", "warning", "warning"]
    assert "3 of 5 words do not have the ids of XLM-R's vocabulary, though its pieces do:" in vocabulary.evidence


class Fixed:
    """A tokenizer with `n_pieces` pieces that gives the words in `ids` those ids."""

    def __init__(self, n_pieces: int, ids: dict[str, list[int]]) -> None:
        self._n, self._ids = n_pieces, ids

    def __len__(self) -> int:
        return self._n

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": self._ids.get(text, [3])}

    def get_vocab(self) -> dict[str, int]:
        return {"a": self._n - 1}

    def decode(self, ids: list[int]) -> str:
        return next((word for word, own in KNOWN_VOCABULARIES[250_002][1].items() if own == ids), "?")


@pytest.mark.parametrize(("rows", "n_pieces"), [(250_037, 250_002), (250_037, 250_020), (250_112, 250_002)])
def test_known_words_are_checked_in_padded_embeddings_too(rows, n_pieces):
    _, words = KNOWN_VOCABULARIES[250_002]
    assert "5 words have the ids" in check_vocabulary(Fixed(n_pieces, words), rows).evidence
    found = check_vocabulary(Fixed(n_pieces, {}), rows)
    assert (found.severity, found.evidence.startswith("5 of 5 words do not have the ids of XLM-R's")) == ("error", True)


def test_lower_casing_with_a_cased_vocabulary_is_a_warning(world, tmp_path):
    found = check(world, models=[with_tokenizer(world, tmp_path / "m", toy.toy_tokenizer(do_lower_case=True))])
    assert found["capital letters"].severity == "warning"
    assert "the tokenizer lower-cases (do_lower_case in its settings: True)" in found["capital letters"].evidence
    assert "Set do_lower_case to false" in found["capital letters"].fix


def test_capitals_with_an_uncased_vocabulary_are_reported(world, tmp_path):
    tokenizer = toy.toy_tokenizer(words_in_lower_case=True)
    model = toy.write_checkpoint(tmp_path / "m", tokenizer)
    assert "Set do_lower_case to true" in check(world, models=[str(model)])["capital letters"].fix
    right = toy.toy_tokenizer(do_lower_case=True, words_in_lower_case=True)
    model = toy.write_checkpoint(tmp_path / "right", right)
    assert check(world, models=[str(model)])["capital letters"].severity == "fine"


def test_stripping_known_vowel_signs_is_a_warning():
    words = ["में", "हिन्दी", "भाषा", "विद्यालय", "पुस्तक", "नदी"]
    vocabulary = {piece: row for row, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    stripping = BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=True)
    assert [found.severity for found in check_letters(stripping, words)] == ["fine", "warning"]
    keeping = BertTokenizer(vocab=vocabulary, do_lower_case=False, strip_accents=False)
    assert [found.severity for found in check_letters(keeping, words)] == ["fine", "fine"]


def test_unknown_pieces_name_only_the_affected_language(world, tmp_path):
    rows = toy.toy_rows()
    rows["test", "zh"] = [(p.replace("桌", "☃"), h, y) for p, h, y in rows["test", "zh"]]
    found = check(world, data=tiny.write_hub_layout(tmp_path / "data", rows))
    assert wrong(found) == {"unknown pieces": "warning"}
    assert found["unknown pieces"].evidence.startswith("zh ") and "," not in found["unknown pieces"].evidence


def test_ids_beyond_the_embedding_prevent_a_run(world, tmp_path):
    model = toy.write_checkpoint(tmp_path / "m", toy.toy_tokenizer(), rows_of_embedding=60)
    assert check(world, models=[str(model)])["vocabulary"].severity == "error"
    with pytest.raises(
        PreflightError, match=r"^m: vocabulary: the tokenizer's ids go up to \d+, but the embedding has 60 rows"
    ):
        world.run(tmp_path / "results", models=[str(model)])
    assert list((tmp_path / "results").rglob("*")) == []


def test_unreadable_training_language_prevents_a_run(world, tmp_path):
    rows = toy.toy_rows()
    for split in (("train", "en"), ("selection", "en"), ("test", "en")):
        rows[split] = [(p.translate(dict.fromkeys(range(97, 123), "☃")), h, y) for p, h, y in rows[split]]
    data = tiny.write_hub_layout(tmp_path / "data", rows)
    with pytest.raises(PreflightError, match="unknown pieces: en "):
        world.run(tmp_path / "results", data=data)


@pytest.mark.parametrize("name", ["bert-base-multilingual-cased", "distilbert-base-multilingual-cased"])
def test_real_vocabulary_has_the_known_ids_and_letters(shared, name):
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / name)
    rows = json.loads((shared / "models" / name / "config.json").read_text())["vocab_size"]
    found = check_vocabulary(tokenizer, rows)
    assert (found.severity, "mBERT cased" in found.evidence) == ("fine", True)
    assert [letters.severity for letters in check_letters(tokenizer, ["In Paris", "En avión", "में"])] == ["fine", "fine"]


@pytest.mark.parametrize(
    ("options", "severities"),
    [
        ({"do_lower_case": True}, ["warning", "warning"]),
        ({"do_lower_case": True, "strip_accents": False}, ["warning", "fine"]),
        ({"do_lower_case": False, "strip_accents": True}, ["fine", "warning"]),
    ],
)
def test_altering_letters_of_the_real_vocabulary_is_a_warning(shared, options, severities):
    """Its ids are still the known ones."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "models" / "bert-base-multilingual-cased", **options)
    assert check_vocabulary(tokenizer, 119_547).severity == "fine"
    found = check_letters(tokenizer, ["In Paris", "En avión", "में"])
    assert [letters.severity for letters in found] == severities
    if severities[0] == "warning":
        assert "16,582 of the vocabulary's 119,542 pieces have capitals" in found[0].evidence


def test_reordered_real_vocabulary_is_an_error(shared, tmp_path):
    lines = (shared / "models" / "bert-base-multilingual-cased" / "vocab.txt").read_text(encoding="utf-8").splitlines()
    moved = {piece: row for row, piece in enumerate([*lines[:1000], *reversed(lines[1000:])])}
    found = check_vocabulary(BertTokenizer(vocab=moved, do_lower_case=False), len(lines))
    assert found.severity == "error"
    assert "7 of 7 words do not have the ids of mBERT cased's vocabulary" in found.evidence


def test_known_words_have_no_capitals_or_accents():
    """Hence a tokenizer that changes these is not mistaken for one with another vocabulary."""
    _, words = KNOWN_VOCABULARIES[119_547]
    assert [word for word in words if without_accents(word.lower()) != word] == []


# ── the run ──


class Listening(Silent):
    """Keeps the lines and the names of phases in their order."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, line: str) -> None:
        self.heard.append(line)

    def phase(self, name: str, total: int, unit: str):
        self.heard.append(name)
        return super().phase(name, total, unit)


def test_fourfold_batch_size_is_a_warning_before_the_run(world, tmp_path):
    """It is kept in the record too."""
    listening = Listening()
    record = world.run(tmp_path, overrides={"batch_size": 64, "epochs": 1.0}, reporter=listening)
    (found,) = record.preflight
    before = listening.heard[: listening.heard.index("train")]
    assert [line for line in before if found.evidence in line] == [f"{record.model.id}: {found.line}"]
    assert (found.name, found.severity) == ("effective batch size", "warning")
    assert "64 pairs per step, 6 steps on 360 pairs" in found.evidence and "the recipe has 16" in found.evidence
    path = toy.folder_of(tmp_path, record) / "record.json"
    [invocation] = json.loads(path.read_text())["invocations"].values()
    assert invocation["preflight"][0]["name"] == "effective batch size"


def test_batch_with_its_own_learning_rate_is_fine(world, tmp_path):
    record = world.run(tmp_path, overrides={"batch_size": 64, "epochs": 1.0, "learning_rate": 1e-2})
    assert record.preflight == []


def test_old_records_without_preflight_are_read(world, tmp_path):
    record = world.run(tmp_path, overrides={"max_steps": 1}, languages=["en"])
    old = {name: value for name, value in record.model_dump(mode="json").items() if name != "preflight"}
    assert RunRecord.model_validate_json(json.dumps(old)) == record


def test_unmappable_labels_of_a_head_are_an_error(world, tmp_path):
    shutil.copytree(world.model, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    for names, severity in ((("LABEL_0", "LABEL_1", "LABEL_2"), "error"), (LABELS[::-1], "fine")):
        named = config | {"id2label": {str(column): name for column, name in enumerate(names)}}
        (tmp_path / "m" / "config.json").write_text(json.dumps(named))
        found = check(world, models=[str(tmp_path / "m")], train=False)
        assert found["labels of the head"].severity == severity


def test_weights_that_do_not_fit_on_the_disk_are_an_error(tmp_path):
    found = check_disk(tmp_path / "not" / "there" / "yet", n_weights=10**15)
    assert found.severity == "error" and "4,000,000.00 GB" in found.evidence
    n_weights = shutil.disk_usage(tmp_path).free // (5 * 4)  # of 4 bytes: room for the weights five times
    assert check_disk(tmp_path, n_weights).severity == "warning"
    assert check_disk(tmp_path, n_weights=1).severity == "fine"


def test_damaged_weights_file_is_refused_in_one_line(world, tmp_path):
    model = Path(shutil.copytree(world.model, tmp_path / "m"))
    (model / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(Exception, match=r"model m: model\.safetensors cannot be read") as caught:
        check(world, models=[str(model)])
    assert "\n" not in str(caught.value)


def test_doctor_warns_about_a_read_only_cache(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        found = check_disk(folder, n_weights=1)
        assert found.severity == "warning" and "XEVAL_CACHE" in found.line


def test_test_pairs_that_choose_the_checkpoint_are_reported(world, tmp_path):
    rows = toy.toy_rows()
    rows["selection", "en"][:6] = rows["test", "en"][:6]
    found = check_rows(world, tmp_path, rows)["overlap"]
    assert found.severity == "warning"
    assert found.evidence == "5.0 % of 120 en test pairs are among those to choose the checkpoint on"


def test_the_first_error_stops_and_others_are_counted():
    first, second = error("labels", "three of them"), error("rows", "none at all")
    with pytest.raises(PreflightError) as alone:
        stop_on_errors("mini", [fine("device", "cpu"), first])
    with pytest.raises(PreflightError) as both:
        stop_on_errors("mini", [first, second])
    assert str(both.value) == f"{alone.value} (and 1 more; see xeval doctor)"


def test_nothing_is_chosen_without_training(world):
    options = {"data": world.data, "test_split": "dev", "recipe": "xtreme-2020"}
    trained, as_it_is = (doctor(str(world.task_file), train=train, **options) for train in (True, False))
    assert "rows to choose on" in {finding.name for _, finding in trained}
    assert "rows to choose on" not in {finding.name for _, finding in as_it_is}


def test_steps_that_the_batch_size_does_not_change_are_not_claimed(world, tmp_path):
    """The number of steps also depends on --epochs and --max-steps."""
    (found,) = world.run(tmp_path, overrides={"batch_size": 64, "max_steps": 3}).preflight
    assert found.evidence == (
        "64 pairs per step, 3 steps on 360 pairs, learning rate 0.005:"
        " the recipe has 16 pairs per step at this learning rate"
    )


def test_model_without_a_head_to_use_has_one_error(world):
    """It is not loaded as well, which would say the same in other words."""
    found = check(world, train=False)
    assert found["labels of the head"].severity == "error"
    assert not {"weights", "plain call"} & found.keys()


def test_models_are_checked_although_training_rows_are_missing(world, tmp_path):
    data = shutil.copytree(world.data, tmp_path / "data")
    for path in (data / "en").glob("train-*"):
        path.unlink()
    found = check(world, data=data)
    assert wrong(found) == {"train rows": "error"}
    assert {"vocabulary", "plain call"} <= found.keys() and "effective batch size" not in found
