"""Models are tried on a few rows before a run: they compute what transformers does, or are refused in one line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer, FNetConfig, FNetForSequenceClassification

from tests.helpers.checkpoints import KIND, LABELS, WORDS, labelled_pairs, make_pairs
from tests.helpers.encoder_types import TYPES, tiny_checkpoint
from tests.helpers.tiny import make_checkpoint
from tests.helpers.toy_kind.toy_tags import TagKeys as ToyKeys
from tests.helpers.toy_kind.toy_tags import ToyTags
from xeval.checks.before.tokenizer_checks import check_pieces, check_special_pieces, tokenizer_of
from xeval.data.model_files import find_checkpoint
from xeval.engine.devices import Compute
from xeval.engine.loading import load_encoder, load_pretrained, load_tokenizer
from xeval.engine.trial import Trial
from xeval.engine.vectors import SentenceEncoder
from xeval.kinds.answers import AnswerKeys, Answers
from xeval.kinds.choices import ChoiceKeys, MultipleChoice
from xeval.kinds.kind import Kind
from xeval.kinds.mining import BitextMining, MiningKeys
from xeval.kinds.pairs import PairClassification
from xeval.kinds.retrieval import RetrievalKeys, SentenceRetrieval
from xeval.kinds.rows import Rows
from xeval.kinds.tags import Tagging, TagKeys

FLOAT32 = Compute(torch.device("cpu"), torch.float32)
BFLOAT16 = Compute(torch.device("cpu"), torch.bfloat16)
PAIRS = {language: labelled_pairs(language, make_pairs(language, 9)) for language in ("en", "de", "ar", "th", "zh")}
MAX_LENGTH = 64


def difference(folder: Path, kind: Kind, tests: dict[str, Rows], compute: Compute = FLOAT32) -> str | None:
    own = find_checkpoint(str(folder))
    model: Any = (
        load_pretrained(own, kind, seed=0) if kind.trains else SentenceEncoder(load_encoder(own, kind), 1, "mean")
    )
    return Trial(model, load_tokenizer(own, MAX_LENGTH), kind, compute, MAX_LENGTH).difference(tests)


# ── no false alarm ──


@pytest.mark.parametrize("model_type", sorted(TYPES))
def test_every_encoder_type_matches_a_plain_call(tmp_path, model_type):
    folder = tiny_checkpoint(tmp_path, model_type)
    assert difference(folder, KIND, PAIRS) is None
    tokenizer = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    texts = {language: [*rows.texts["premise"], *rows.texts["hypothesis"]] for language, rows in PAIRS.items()}
    own = tokenizer_of(folder / "tokenizer.json")
    found = check_pieces(tokenizer, own, texts)
    assert found is not None and (found.severity, found.evidence) == ("fine", "as tokenizer.json makes them")
    special = check_special_pieces(tokenizer, own)
    assert special is None or (special.severity, special.evidence) == ("fine", "as tokenizer.json puts them")


def test_padding_dependent_encoder_is_refused(tmp_path):
    """FNet has no attention mask. The rows make one batch, padded alike in the plain call and in a run."""
    folder = tiny_checkpoint(tmp_path, "bert")
    of_bert = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    shared = {name: of_bert[name] for name in ("vocab_size", "pad_token_id", "type_vocab_size")}
    torch.manual_seed(0)
    config = FNetConfig(hidden_size=32, num_hidden_layers=2, intermediate_size=64, **shared)
    FNetForSequenceClassification(config).base_model.save_pretrained(folder)
    found = difference(folder, KIND, {"en": PAIRS["en"].take(np.arange(3))})
    assert found is not None and found.startswith("the outputs of a row on its own, by 0.")
    assert found.endswith(f"they depend on the padding of its batch, in transformers {transformers.__version__}")


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "distilbert", "modernbert"])
def test_bfloat16_is_compared_with_bfloat16(tmp_path, model_type):
    assert difference(tiny_checkpoint(tmp_path, model_type), KIND, PAIRS, BFLOAT16) is None


N = 9
TEXTS = {language: [premise for premise, _, _ in make_pairs(language, N)] for language in PAIRS}
TAGS = ("NOUN", "VERB", "OTHER")


def rows_of(language: str, gold: Any, **texts: list) -> Rows:
    return Rows(language, "test", texts, gold, np.arange(N))


def tagged(language: str) -> Rows:
    words = [WORDS[language][start : start + 6] for start in range(N)]
    return rows_of(language, [[TAGS[len(word) % 3] for word in own] for own in words], words=words)


def choices(language: str) -> Rows:
    short = [text[: 4 + number] for number, text in enumerate(TEXTS[language])]
    others = list(zip(short, short[::-1], strict=True))
    return rows_of(language, np.arange(N) % 2, premise=short, question=["Why?"] * N, choices=others)


def questions(language: str) -> Rows:
    contexts = [" ".join(TEXTS[language][: 1 + number]) for number in range(N)]  # from one window to several
    gold = [[(0, context[:3])] for context in contexts]
    return rows_of(language, gold, question=[text[:20] for text in TEXTS[language]], context=contexts)


def sentences(language: str) -> Rows:
    return rows_of(language, np.arange(N), query=TEXTS["en"], text=TEXTS[language])


def of_two_languages(language: str) -> Rows:
    gold = [("test", ("foreign", "english")[number % 2], f"{language}-{number}", []) for number in range(N)]
    return rows_of(language, gold, text=TEXTS[language])


OF_EVERY_KIND: dict[str, tuple[Kind, Callable[[str], Rows]]] = {
    "tags": (Tagging(TagKeys(labels=TAGS)), tagged),
    "choices": (MultipleChoice(ChoiceKeys()), choices),
    "answers": (Answers(AnswerKeys(stride=16)), questions),
    "retrieval": (SentenceRetrieval(RetrievalKeys()), sentences),
    "mining": (BitextMining(MiningKeys()), of_two_languages),
    "one that has no plain call": (ToyTags(ToyKeys(tags=TAGS)), tagged),
}


@pytest.mark.parametrize("model_type", ["bert", "xlm-roberta", "electra", "modernbert"])
@pytest.mark.parametrize("name", OF_EVERY_KIND)
def test_no_kind_of_task_raises_a_false_alarm(tmp_path, model_type, name):
    kind, make = OF_EVERY_KIND[name]
    tests, folder = {language: make(language) for language in ("en", "de")}, tiny_checkpoint(tmp_path, model_type)
    assert difference(folder, kind, tests) is None
    plain = kind.plain_call(load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH), tests["de"], MAX_LENGTH)
    assert (plain is not None and len(plain.sequences) > 1) == (name != "one that has no plain call")


@pytest.mark.parametrize("name", list(OF_EVERY_KIND)[:-1])
def test_every_kind_of_task_notices_left_padding(tmp_path, name):
    folder = tiny_checkpoint(tmp_path, "bert")
    configure(folder, "tokenizer_config.json", padding_side="left")
    kind, make = OF_EVERY_KIND[name]
    tests = {"en": make("en")}
    assert "positions, since its tokenizer pads on the left" in str(difference(folder, kind, tests))


# ── what differs is named ──


def test_shifted_positions_are_noticed_in_the_outputs(tmp_path):
    """Like an architecture whose packed computation is wrong."""
    folder = tiny_checkpoint(tmp_path, "bert")
    own = find_checkpoint(str(folder))
    model = load_pretrained(own, KIND, seed=0)

    def shifted(embeddings, inputs, options):
        positions = options.get("position_ids")
        return inputs, options | {"position_ids": None if positions is None else positions + 1}

    model.bert.embeddings.register_forward_pre_hook(shifted, with_kwargs=True)
    said = Trial(model, load_tokenizer(own, MAX_LENGTH), KIND, FLOAT32, MAX_LENGTH).difference(PAIRS)
    assert said is not None and said.startswith("positions, by ")


class OtherCall(PairClassification):
    """Calls the tokenizer differently from how rows are encoded."""

    with_segments = False

    def plain_call(self, tokenizer, rows, max_length):
        if not self.with_segments:
            turned = dict(zip(rows.texts, reversed(rows.texts.values()), strict=True))
            return super().plain_call(tokenizer, replace(rows, texts=turned), max_length)
        usual, tokenizer.model_input_names = tokenizer.model_input_names, ["input_ids", "token_type_ids"]
        made = super().plain_call(tokenizer, rows, max_length)
        tokenizer.model_input_names = usual
        return made


def test_different_encoding_is_noticed_in_piece_ids(tmp_path):
    said = difference(tiny_checkpoint(tmp_path, "bert"), OtherCall(KIND.keys), PAIRS)
    assert said is not None and said.startswith("the ids of pieces, … 2 ") and said.endswith(" … here (in 'en')")


def test_different_segments_are_noticed_in_segment_ids(tmp_path):
    folder = tiny_checkpoint(tmp_path, "bert")
    no_segments(folder)
    kind = OtherCall(KIND.keys)
    kind.with_segments = True
    said = difference(folder, kind, PAIRS)
    assert said is not None and said.startswith("segment ids, … 0 ") and " 1 … there and … 0 " in said


# ── models that people bring ──


@pytest.fixture
def folder(checkpoint_of, tmp_path) -> Path:
    """A BERT with a head for the task, which a test may change."""
    return Path(shutil.copytree(checkpoint_of("bert", LABELS), tmp_path / "bert"))


def configure(folder: Path, file: str = "config.json", **settings: object) -> None:
    path = folder / file
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(content | settings), encoding="utf-8")


def normalize(**settings: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        configure(folder, "tokenizer.json", normalizer=content["normalizer"] | settings)

    return change


def plain_file(folder: Path) -> None:
    configure(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")


def keep_first_letters(folder: Path) -> None:
    """Like a normalizer whose expression is wrong."""
    first = {"type": "Replace", "pattern": {"Regex": "(?<=.)."}, "content": ""}
    configure(folder, "tokenizer.json", normalizer=first)
    plain_file(folder)


def nothing_left(folder: Path) -> None:
    configure(folder, "tokenizer.json", normalizer={"type": "Replace", "pattern": {"Regex": "."}, "content": ""})
    plain_file(folder)


def split_at_spaces(folder: Path) -> None:
    configure(folder, "tokenizer.json", pre_tokenizer={"type": "WhitespaceSplit"})


def split_at_spaces_and_say_so(folder: Path) -> None:
    split_at_spaces(folder)
    plain_file(folder)


def pad_on_the_left(folder: Path) -> None:
    configure(folder, "tokenizer_config.json", padding_side="left")


def no_segments(folder: Path) -> None:
    configure(folder, "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])


def ids_alone(folder: Path) -> None:
    configure(folder, "tokenizer_config.json", model_input_names=["input_ids"])


def no_padding_token(folder: Path) -> None:
    plain_file(folder)
    configure(folder, "tokenizer_config.json", pad_token=None)


def sentencepiece_under_bert(folder: Path) -> None:
    """Only tokenizer.json, with a different kind of vocabulary from what transformers expects for a BERT."""
    other = make_checkpoint(folder.parent / "other", "xlm-roberta")
    shutil.copy(other / "tokenizer.json", folder)
    (folder / "tokenizer_config.json").unlink()


def sentencepiece_under_bert_with_its_class(folder: Path) -> None:
    other = make_checkpoint(folder.parent / "other", "xlm-roberta")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.resize_token_embeddings(len(AutoTokenizer.from_pretrained(folder)))
    model.config.pad_token_id = 1
    model.save_pretrained(folder)


def sentencepiece_under_qwen2(folder: Path) -> None:
    """For this type, transformers always makes a tokenizer of one class, regardless of what the file asks for."""
    other = make_checkpoint(folder.parent / "other", "xlm-roberta")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(other / name, folder)
    plain_file(folder)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2}
    config = transformers.Qwen2Config(**small, intermediate_size=32, vocab_size=500, pad_token_id=1, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)


def no_unknown_piece(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["unk_token"] = "[NONE]"
    vocabulary = content["model"]["vocab"]
    vocabulary |= {"☃": vocabulary.pop("e"), "##☃": vocabulary.pop("##e")}
    configure(folder, "tokenizer.json", **content)
    plain_file(folder)


def panic_in_the_template(folder: Path) -> None:
    single = [{"SpecialToken": {"id": "[GONE]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*single, {"Sequence": {"id": "B", "type_id": 1}}]
    template = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": {}}
    configure(folder, "tokenizer.json", post_processor=template)
    plain_file(folder)


@pytest.mark.parametrize(("n_others", "severity"), [(0, "fine"), (1, "warning"), (9, "warning"), (10, "error")])
def test_one_percent_of_different_pieces_is_an_error(folder, n_others, severity):
    """XLM-R's tokenizer.json and transformers differ in about one piece in 300 where words end in a joiner."""
    configure(folder, "tokenizer.json", normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "e"})
    tokenizer = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    texts = ["a" * n_others + "e" * (100 - n_others)] + ["e" * 100] * 9
    finding = check_pieces(tokenizer, tokenizer_of(folder / "tokenizer.json"), {"en": ["e"], "te": texts})
    assert finding.severity == severity
    assert n_others == 0 or f"json: te {n_others / 10:.2f} % of all" in finding.evidence


def test_accents_stripped_only_by_the_file_are_an_error(folder):
    normalize(strip_accents=True)(folder)
    tokenizer = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    finding = check_pieces(tokenizer, tokenizer_of(folder / "tokenizer.json"), {"es": ["está en la habitación"]})
    assert finding.severity == "error" and "strip_accents" in finding.evidence


def test_differently_placed_special_pieces_are_a_warning(folder):
    def parts(*kinds: str) -> list[dict[str, object]]:
        return [{"Sequence" if kind in "AB" else "SpecialToken": {"id": kind, "type_id": 0}} for kind in kinds]

    own = {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]}
    template = {"type": "TemplateProcessing", "single": parts("A", "[SEP]"), "pair": parts("A", "[SEP]", "B", "[SEP]")}
    configure(folder, "tokenizer.json", post_processor=template | {"special_tokens": {"[SEP]": own}})
    tokenizer = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    said = check_special_pieces(tokenizer, tokenizer_of(folder / "tokenizer.json"))
    assert said is not None and said.severity == "warning"
    assert said.evidence == "a text is a [SEP] by tokenizer.json, [CLS] a [SEP] as transformers reads it"


def panic_in_the_normalizer(folder: Path) -> None:
    charsmap = {"type": "Precompiled", "precompiled_charsmap": "BAAAAAEAAAA="}
    configure(folder, "tokenizer.json", normalizer=charsmap)
    plain_file(folder)


def panic_while_loading(folder: Path) -> None:
    configure(folder, "tokenizer.json", normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"})
    plain_file(folder)


def save(folder: Path, config: transformers.PretrainedConfig) -> None:
    torch.manual_seed(0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
NAMED = {"id2label": dict(enumerate(LABELS)), "label2id": {label: n for n, label in enumerate(LABELS)}}


def no_language(folder: Path, **more: object) -> None:
    shutil.copytree(make_checkpoint(folder.parent / "other", "xlm-roberta"), folder, dirs_exist_ok=True)
    settings = {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "type_vocab_size": 1, **SMALL, **NAMED, **more}
    size = len(AutoTokenizer.from_pretrained(folder))
    save(folder, transformers.XmodConfig(vocab_size=size, languages=("en_XX", "es_XX"), **settings))


def a_language(folder: Path) -> None:
    no_language(folder, default_language="en_XX")


def decoder_without_padding(folder: Path, **more: object) -> None:
    plain_file(folder)
    size = len(AutoTokenizer.from_pretrained(folder))
    save(folder, transformers.LlamaConfig(vocab_size=size, pad_token_id=None, **SMALL, **NAMED | more))


def decoder_with_padding(folder: Path) -> None:
    decoder_without_padding(folder)
    configure(folder, pad_token_id=0)


def one_segment(folder: Path) -> None:
    """The tokenizer distinguishes two texts; the encoder does not."""
    config = transformers.AutoConfig.from_pretrained(folder)
    config.type_vocab_size = 1
    save(folder, config)


FROM_FILE = 'with "PreTrainedTokenizerFast" transformers takes tokenizer.json as it is'
BROUGHT: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "Chinese not split": (
        normalize(handle_chinese_chars=False),
        ("pieces: different from those", "json: zh 67.87 % of all", FROM_FILE),
    ),
    "lower case in the file alone": (
        normalize(lowercase=True),
        ("pieces: different from those", "lowercase is True in the file"),
    ),
    "a few accents off in the file alone": (normalize(strip_accents=True), ()),
    "other words in the file": (split_at_spaces, ("pieces: different from those", "(pre_tokenizer", FROM_FILE)),
    "other words in the file, said so": (split_at_spaces_and_say_so, ()),
    "padding on the left": (
        pad_on_the_left,
        ("plain call: model(**tokenizer(...)) gives other results", "positions, since its tokenizer pads on the left"),
    ),
    "no segments handed over": (no_segments, ()),
    "ids alone handed over": (ids_alone, ()),
    "a tokenizer without padding": (no_padding_token, ()),
    "an encoder without segments": (one_segment, ()),
    "SentencePiece under BERT": (
        sentencepiece_under_bert,
        ("has a vocabulary for Unigram, but transformers treats it",),
    ),
    "all letters but the first of a text taken away": (keep_first_letters, ("pieces per word: en 0.",)),
    "all letters taken away": (nothing_left, ("pieces per word: en 0.0", "it removes most of the text")),
    "SentencePiece under Qwen 2": (
        sentencepiece_under_qwen2,
        (
            "a vocabulary for Unigram",
            "qwen2, transformers makes a tokenizer of one class, whatever tokenizer_class says",
        ),
    ),
    "SentencePiece under BERT, said so": (sentencepiece_under_bert_with_its_class, ()),
    "no unknown piece": (no_unknown_piece, ("its tokenizer fails on these rows (Exception: WordPiece error",)),
    "panic in the template": (panic_in_the_template, ("its tokenizer fails on these rows (PanicException: no entry",)),
    "panic in the normalizer": (panic_in_the_normalizer, ("its tokenizer fails on these rows (PanicException: index",)),
    "panic while loading": (panic_while_loading, ("its tokenizer cannot be loaded (PanicException: Precompiled",)),
    "X-MOD without a language": (no_language, ("it fails on these rows (ValueError: Input", "add default_language to")),
    "X-MOD with a language": (a_language, ()),
    "a decoder without padding": (decoder_without_padding, ("(ValueError: Cannot handle", "add pad_token_id to")),
    "a decoder with padding": (decoder_with_padding, ()),
}


@pytest.mark.parametrize("name", BROUGHT)
def test_own_model_matches_transformers_or_is_refused(command, mini, folder, tmp_path, name):
    change, said = BROUGHT[name]
    change(folder)
    words = ["--model", folder, "--data", mini.data, "--device", "cpu", "--dtype", "float32", "--no-train"]
    code, _, err = command("run", mini.task_file, *words, "--results", tmp_path / "results", "-q")
    lines = [line for line in err.splitlines() if line.startswith("xeval: ")]
    if said:
        assert code == 2 and len(lines) == 1 and lines[0].startswith(("xeval: bert: ", "xeval: model bert: "))
        assert [part for part in said if part not in lines[0]] == []
        assert not (tmp_path / "results").exists()
        return
    assert (code, lines) == (0, [])
    [record] = (tmp_path / "results").rglob("record.json")
    scores = {language: score["value"] for language, score in json.loads(record.read_text())["scores"].items()}
    assert scores == by_hand(folder, mini)


@torch.no_grad()
def by_hand(folder: Path, mini) -> dict[str, float]:
    """The accuracy from a plain loop, one row at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    one_segment = getattr(model.config, "type_vocab_size", 0) < 2
    accuracy = {}
    for language in mini.task.languages:
        rows, right = mini.load(language), 0
        for premise, hypothesis, gold in zip(*rows.texts.values(), rows.gold, strict=True):
            inputs = dict(tokenizer(premise, hypothesis, return_tensors="pt"))
            if one_segment:
                inputs.pop("token_type_ids", None)
            right += int(model(**inputs).logits[0].argmax()) == gold
        accuracy[language] = right / len(rows)
    return accuracy


def test_doctor_reports_nan_outputs(command, mini, folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["classifier.bias"][0] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    code, out, _ = command("doctor", mini.task_file, "--model", folder, "--data", mini.data, "--no-train")
    assert code == 0 and "! plain call: some of its outputs are not numbers. Look for inf and NaN" in out


def test_doctor_reports_what_a_run_would_refuse(command, mini, folder):
    pad_on_the_left(folder)
    words = ["--data", mini.data, "--device", "cpu", "--dtype", "float32", "--no-train"]
    code, out, _ = command("doctor", mini.task_file, "--model", folder, *words)
    assert code == 1 and "bert: ✗ plain call: model(**tokenizer(...)) gives other results" in out


def test_long_settings_and_invisible_characters_are_shown_whole(folder):
    r"""A list of steps was cut off in the middle of a word, and a joiner, "\u200c", had two backslashes."""
    steps = [{"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]
    configure(folder, "tokenizer.json", normalizer={"type": "Sequence", "normalizers": steps})
    tokenizer = load_tokenizer(find_checkpoint(str(folder)), MAX_LENGTH)
    said = check_pieces(tokenizer, tokenizer_of(folder / "tokenizer.json"), {"en": ["A DOG\u200c"]})
    assert "; 'A DOG\\u200c' is " in said.evidence
    assert said.evidence.endswith(" as transformers reads it (normalizer)")
