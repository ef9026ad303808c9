"""The masked-LM probe against its definition: one piece masked at a time, by plain transformers."""

import csv
import io
import itertools
import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from transformers import AutoModelForMaskedLM

from tests.helpers.checkpoints import make_pairs, tiny_model, tiny_tokenizer
from tests.helpers.encoder_types import T5_LIKE, TYPES, tiny_checkpoint, tiny_config
from tests.helpers.sample_record import SHA, run_record
from xeval.data.model_files import find_checkpoint
from xeval.definitions.registry import get_task
from xeval.engine.devices import Compute
from xeval.engine.loading import load_masked_lm, load_tokenizer
from xeval.engine.masked_lm import Masking, mask_id_of, pieces_of, pseudo_log_likelihoods
from xeval.judging.probe import Correlation, LanguageProbe, Probe, RankCorrelation, correlations, measure_of
from xeval.kinds.rows import Rows
from xeval.report.probe import markdown
from xeval.results.records import RecipeRecord
from xeval.results.store import StoredRun, save_record
from xeval.runs.probe import are_parallel, choose, probe
from xeval.support.errors import ModelError

CPU = Compute(torch.device("cpu"), torch.float32)
SENTENCES = ["the small cat, sees", "dog", "die Katze. (das) Haus!", "กขค"]
SEVERAL = ("albert", "bert", "deberta-v2", "distilbert", "modernbert", "mpnet", "rembert", "xlm-roberta")


def make_masked_lm(folder, model_type: str):
    """A tiny one with random weights, saved with its head."""
    tokenizer = TYPES[model_type][0]()
    if tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": "<mask>"})
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(tiny_config(model_type, tokenizer)).eval()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def words_by_hand(text: str) -> list[tuple[int, int]]:
    """Where the words of SENTENCES begin and end: runs of letters, and every mark by itself."""
    spans, place = [], 0
    for is_letter, run in itertools.groupby(text, key=lambda c: c not in " ,.()!"):
        n = len(list(run))
        spans += [(place, place + n)] if is_letter else [(at, at + 1) for at in range(place, place + n)]
        place += n
    return spans


@torch.no_grad()
def by_hand(model, tokenizer, text: str, masking: str) -> float:
    """The definition, a piece at a time, in double precision once there are logits."""
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, return_tensors="pt")
    spans, special = encoded.pop("offset_mapping")[0].tolist(), encoded.pop("special_tokens_mask")[0].tolist()
    starts = [next((at for at in range(start, len(text)) if text[at] != " "), start) for start, _ in spans]
    word_of = [next((n for n, (a, b) in enumerate(words_by_hand(text)) if a <= start < b), -1) for start in starts]
    total = 0.0
    for place, piece in enumerate(encoded["input_ids"][0].tolist()):
        if special[place]:
            continue
        hidden = [place]
        if masking == "word-l2r":
            same = [word_of[other] == word_of[place] and not special[other] for other in range(len(spans))]
            hidden += [other for other in range(place, len(spans)) if same[other]]
        inputs = {name: tensor.clone() for name, tensor in encoded.items()}
        inputs["input_ids"][0, hidden] = tokenizer.mask_token_id
        total += float(model(**inputs).logits[0, place].double().log_softmax(-1)[piece])
    return total


@pytest.mark.parametrize("masking", list(Masking))
@pytest.mark.parametrize("model_type", SEVERAL)
def test_probe_matches_masking_one_piece_at_a_time(tmp_path, model_type, masking):
    plain = make_masked_lm(tmp_path, model_type)
    checkpoint = find_checkpoint(str(tmp_path))
    model, tokenizer = load_masked_lm(checkpoint), load_tokenizer(checkpoint, 96)
    pieces = pieces_of(tokenizer, SENTENCES, spaces_between_words=True)
    got = pseudo_log_likelihoods(model, pieces, mask_id_of("m", tokenizer), masking, CPU)
    expected = [by_hand(plain, tokenizer, text, masking) for text in SENTENCES]
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(got / pieces.n_text_pieces, expected / pieces.n_text_pieces, rtol=0, atol=1e-5)


def test_maskings_differ_only_in_words_of_several_pieces():
    tokenizer = tiny_tokenizer("bert")
    pieces = pieces_of(tokenizer, ["a cat, a"], spaces_between_words=True)
    places = np.arange(len(pieces.words))
    assert pieces.mask_ends(Masking.piece).tolist() == (places + 1).tolist()
    assert tokenizer.convert_ids_to_tokens(pieces.encoded.input_ids) == (
        ["[CLS]", "a", "c", "##a", "##t", "[UNK]", "a", "[SEP]"]
    )
    assert pieces.mask_ends(Masking.word_l2r).tolist() == [1, 2, 5, 5, 5, 6, 7, 8]


def test_without_spaces_each_piece_is_a_word():
    pieces = pieces_of(tiny_tokenizer("bert"), ["小猫看见", "猫"], spaces_between_words=False)
    places = np.arange(len(pieces.words))
    assert pieces.mask_ends(Masking.word_l2r).tolist() == (places + 1).tolist()


def test_sentences_score_the_same_in_a_subset(tmp_path):
    make_masked_lm(tmp_path, "bert")
    checkpoint = find_checkpoint(str(tmp_path))
    model, tokenizer = load_masked_lm(checkpoint), load_tokenizer(checkpoint, 96)
    pieces = pieces_of(tokenizer, SENTENCES, spaces_between_words=True)
    ask = [model, mask_id_of("m", tokenizer)]
    whole, some = (
        pseudo_log_likelihoods(ask[0], own, ask[1], Masking.word_l2r, CPU)
        for own in (pieces, pieces.take(np.array([2, 0])))
    )
    np.testing.assert_allclose(some, whole[[2, 0]], rtol=0, atol=1e-4)


def test_only_masked_positions_reach_the_vocabulary(tmp_path):
    make_masked_lm(tmp_path, "bert")
    checkpoint = find_checkpoint(str(tmp_path))
    model, tokenizer = load_masked_lm(checkpoint), load_tokenizer(checkpoint, 96)
    pieces, projected = pieces_of(tokenizer, SENTENCES, spaces_between_words=True), []
    model.cls.predictions.decoder.register_forward_hook(
        lambda layer, inputs, output: projected.append(output.numel() // output.shape[-1])
    )
    pseudo_log_likelihoods(model, pieces, mask_id_of("m", tokenizer), Masking.piece, CPU)
    assert sum(projected) == pieces.is_text.sum()


@pytest.mark.parametrize("model_type", [name for name in TYPES if name not in T5_LIKE])
def test_a_checkpoint_that_lost_its_head_is_refused(tmp_path, model_type):
    tiny_checkpoint(tmp_path, model_type)
    with pytest.raises(ModelError, match=r"its weights have no masked-LM head \(first missing: \S+\); wanted"):
        load_masked_lm(find_checkpoint(str(tmp_path)))


def test_model_type_without_a_masked_lm_is_refused(tmp_path):
    tiny_checkpoint(tmp_path, "mt5")
    with pytest.raises(ModelError, match="has no AutoModelForMaskedLM for encoders of type mt5"):
        load_masked_lm(find_checkpoint(str(tmp_path)))


def test_a_tokenizer_without_a_mask_is_refused():
    tokenizer = TYPES["modernbert"][0]()
    with pytest.raises(ModelError, match="model m: its tokenizer has no mask piece"):
        mask_id_of("m", tokenizer)


# ── which sentences ──


def test_parallel_sentences_share_rows_without_repeats():
    columns = {"en": ["a", "a", "b", "c", "d"], "de": ["A", "A2", "B", " ", "D"]}
    assert choose(columns, True, 9, 0) == {"en": [0, 2, 4], "de": [0, 2, 4]}
    assert choose(columns, False, 9, 0) == {"en": [0, 2, 3, 4], "de": [0, 1, 2, 4]}
    drawn = {tuple(choose(columns, True, 2, seed)["en"]) for seed in range(20)}
    assert len(drawn) == 3 and all(list(rows) == sorted(rows) for rows in drawn)
    assert choose(columns, True, 2, 7) == choose(columns, True, 2, 7)


# ── ranks ──


def test_measures_follow_their_formulas():
    one = LanguageProbe("de", 2, 10, 40, 1.5, 0.0, -20.0)
    assert one.pseudo_perplexity == pytest.approx(math.exp(2))
    assert one.bits_per_character == pytest.approx(20 / 40 / math.log(2))
    assert one.bits_per_sentence == pytest.approx(20 / 2 / math.log(2))


def test_correlation_is_spearmans_with_an_exact_p_value():
    x, y = [3.0, 1.0, 4.0, 1.0, 5.0], [2.0, 7.0, 1.0, 8.0, 2.5]
    found = RankCorrelation(x, y)
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    as_large = [abs(spearmanr(x, order).statistic) >= abs(found.rho) - 1e-9 for order in itertools.permutations(y)]
    assert found.p == pytest.approx(np.mean(as_large))
    assert found.ci95 is None


def test_interval_is_that_of_bonett_and_wright():
    """The example of https://dgbonett.github.io/statpsych/reference/ci.spear.html."""
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    found = RankCorrelation(x, y)
    assert found.rho == pytest.approx(0.8699639, abs=1e-6)
    assert found.ci95 == pytest.approx((0.5840951, 0.9638297), abs=1e-6)
    assert found.p <= 0.001


@pytest.mark.parametrize(("x", "y"), [([1, 2], [1, 2]), ([1, 1, 1, 1], [1, 2, 3, 4]), ([1, 2, 3], [5, 5, 5])])
def test_nothing_to_rank_gives_no_correlation(x, y):
    found = RankCorrelation(x, y)
    assert (found.rho, found.p, found.ci95) == (None, None, None)


def stored(seed: int, scores: dict[str, float], **changes) -> StoredRun:
    record = run_record(seed=seed, **changes)
    template = next(iter(record.scores.values()))
    valued = {name: template.model_copy(update={"value": value, "ci95": (0.0, 1.0)}) for name, value in scores.items()}
    return StoredRun(None, record.model_copy(update={"scores": valued}))


def test_correlated_scores_are_means_over_sound_seeds():
    """Neither collapsed seeds nor the training language count."""
    runs = [
        stored(1, {"en": 0.9, "de": 0.8, "es": 0.7, "sw": 0.5, "ur": 0.4}),
        stored(2, {"en": 0.9, "de": 0.6, "es": 0.7, "sw": 0.5}),
        stored(3, {"en": 0.34, "de": 0.3, "es": 0.3, "sw": 0.9}),  # collapsed
    ]
    surprise = {"de": 1.0, "es": 2.0, "sw": 3.0, "en": 0.5, "ur": 9.0}
    (found,) = correlations({"bits_per_sentence": surprise}, runs, SHA)
    assert found.seeds == [1, 2]
    assert found.scores == pytest.approx({"de": 0.7, "es": 0.7, "sw": 0.5})
    assert found.rho == pytest.approx(spearmanr([1, 2, 3], [0.7, 0.7, 0.5]).statistic)
    assert correlations({"bits_per_sentence": surprise}, runs, "b" * 64) == []


# ── the whole command ──


@pytest.fixture
def biased(tmp_path):
    """`biased(*languages)`: a masked LM that predicts the pieces of the first language best, of the last worst."""

    def make(*languages: str) -> str:
        model, tokenizer = make_masked_lm(tmp_path / "lm", "bert"), TYPES["bert"][0]()
        bias = torch.full((len(tokenizer),), -30.0)
        for place, language in reversed(list(enumerate(languages))):
            texts = [text for row in make_pairs(language, 30) for text in row[:2]]
            ids = {piece for text in texts for piece in tokenizer(text, add_special_tokens=False)["input_ids"]}
            bias[list(ids)] = -2.0 * place
        with torch.no_grad():
            model.cls.predictions.decoder.weight.zero_()
            model.cls.predictions.decoder.bias.copy_(bias)
            model.cls.predictions.bias.copy_(bias)
        model.save_pretrained(tmp_path / "lm")
        return str(tmp_path / "lm")

    return make


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """`saved["distilbert"]`: folders made beforehand, so that no progress bar is on standard error in a test."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("distilbert", "classifier")}
    make_masked_lm(folders["distilbert"], "distilbert")
    tokenizer = tiny_tokenizer("bert")
    tiny_model("bert", len(tokenizer)).save_pretrained(folders["classifier"])
    tokenizer.save_pretrained(folders["classifier"])
    return folders


def options(mini, *more: str) -> list[str]:
    words = ["--task", mini.task_file, "--data", mini.data, "--results", "nowhere", "--dtype", "float32", *more]
    return [str(word) for word in words]


@pytest.mark.parametrize("order", [("en", "de", "ar", "th"), ("th", "ar", "de", "en")])
def test_languages_rank_as_the_head_is_biased(biased, mini, order):
    found = probe(biased(*order), str(mini.task_file), data=mini.data, max_rows=6, masking="piece", dtype="float32")
    perplexity = {one.language: one.pseudo_perplexity for one in found.languages}
    assert sorted((one for one in order if one in perplexity), key=perplexity.get) == [
        one for one in order if one in perplexity
    ]
    assert len(perplexity) > 1


def test_every_format_has_the_same_numbers(saved, mini, command):
    said = {}
    for shown in ("json", "csv", "markdown", "terminal"):
        code, said[shown], err = command(
            "probe", saved["distilbert"], *options(mini, "-q", "--max-rows", "3", "--format", shown)
        )
        assert (code, err) == (0, "")
    content = json.loads(said["json"])
    rows = list(csv.DictReader(io.StringIO(said["csv"])))
    assert [row["language"] for row in rows] == [one["language"] for one in content["languages"]]
    for row, one in zip(rows, content["languages"], strict=True):
        assert float(row["pseudo_log_likelihood"]) == one["pseudo_log_likelihood"]
        for shown in ("markdown", "terminal"):
            assert f"{one['bits_per_character']:.3f}" in said[shown]
    assert content["correlations"] == []
    assert "no finished run of it in nowhere" in " ".join(said["terminal"].split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--text", "premisse"], "unknown text of the rows of mini-pairs 'premisse': did you mean 'premise'?"),
        (["--language", "zz"], "unknown language"),
        (["--max-rows", "0"], "--max-rows"),
        (["--masking", "word"], "--masking"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_options_are_refused_in_one_line(saved, mini, command, words, said):
    code, out, err = command("probe", saved["distilbert"], *options(mini, *words))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


def test_a_classifier_is_refused_on_the_command_line(saved, mini, command):
    code, _, err = command("probe", saved["classifier"], *options(mini))
    assert code == 2 and "no masked-LM head" in err and err.count("\n") == 1


@pytest.mark.parametrize(("n_changed", "parallel"), [(0, True), (3, True), (11, False)])
def test_translations_may_have_a_few_other_answers(n_changed, parallel):
    """As in PAWS-X and XCOPA, where annotators changed up to 5 % of the labels of a language."""
    gold = np.arange(100) % 2
    tests = [
        Rows(language, "test", {}, own, np.arange(100))
        for language, own in {"en": gold, "de": np.where(np.arange(100) < n_changed, 1 - gold, gold)}.items()
    ]
    assert are_parallel(get_task("paws-x"), tests) == parallel
    assert not are_parallel(get_task("paws-x"), [tests[0], tests[1].first(99)])


def test_one_target_language_is_singular():
    german = LanguageProbe("de", 2, 8, 40, 1.2, 0.0, -20.0)
    found = Correlation("cats", "r", "accuracy", [1], "bits_per_sentence", {"de": 0.6}, None, None, None)
    text = markdown(Probe("m", SHA, "cats", "premise", "piece", "float32", 0, 2, 0, True, [german], [found], []))
    assert "| 1 language " in text and "- 1 language besides the one trained on is too few to rank; wanted" in text


@pytest.mark.parametrize(
    ("value", "sha256", "why"),
    [
        (0.34, None, "only collapsed training runs of it"),
        (0.9, SHA, "only runs of other files under its name"),
        (None, None, "no finished run of it"),
    ],
)
def test_reason_for_no_ranking_fits_the_runs(saved, mini, tmp_path, value, sha256, why):
    checkpoint = find_checkpoint(str(saved["distilbert"]))
    model = run_record().model.model_copy(update={"id": checkpoint.id, "sha256": sha256 or checkpoint.sha256})
    scores = {language: value for language in ("en", "de") if value}
    record = stored(1, scores or {"en": 0.9}, model=model).record
    save_record(tmp_path / "task" / "model" / "run", record.model_copy(update={} if scores else {"scores": {}}))
    words = {"data": mini.data, "results": tmp_path, "max_rows": 2, "dtype": "float32"}
    [note] = probe(str(saved["distilbert"]), str(mini.task_file), **words).notes
    assert note.startswith(f"Transfer: {why} in ")


def test_runs_that_trained_nothing_have_no_seed():
    recipe = RecipeRecord(name="vectors", values={"pooling": "mean", "layer": 2}, overrides={})
    untrained = stored(42, {"de": 0.6, "es": 0.5}, recipe=recipe, training=None, chance=None)
    [found] = correlations({"bits_per_sentence": {"de": 1.0, "es": 2.0}}, [untrained], SHA)
    languages = [LanguageProbe(name, 2, 8, 40, 1.2, 0.0, -20.0) for name in ("de", "es")]
    text = markdown(Probe("m", SHA, "cats", "premise", "piece", "float32", 0, 2, 0, True, languages, [found], []))
    assert found.seeds == [] and "| cats, vectors" in text and "seed" not in text


def test_p_of_many_languages_is_the_same_each_time():
    """There are too many orders of ten languages to try each, so they are drawn."""
    x, y = np.random.default_rng(1).normal(size=(2, 10)).tolist()
    assert RankCorrelation(x, y).p == RankCorrelation(x, y).p


@pytest.mark.parametrize(("is_parallel", "best"), [(True, "bits_per_sentence"), (False, "bits_per_character")])
def test_sentences_are_compared_only_if_parallel(is_parallel, best):
    assert measure_of(is_parallel) == best


def test_debertas_positions_for_pretraining_are_ignored(tmp_path):
    """Its checkpoints have them for a decoder of masks, although its embeddings take none."""
    make_masked_lm(tmp_path, "deberta-v2")
    expected = load_masked_lm(find_checkpoint(str(tmp_path))).state_dict()
    path = tmp_path / "model.safetensors"
    positions = {"deberta.embeddings.position_embeddings.weight": torch.ones(96, 16)}
    save_file(load_file(path) | positions, path, {"format": "pt"})
    found = load_masked_lm(find_checkpoint(str(tmp_path))).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_pieces_are_counted_without_special_ones():
    tokenizer = tiny_tokenizer("bert")
    pieces = pieces_of(tokenizer, SENTENCES, spaces_between_words=True)
    alone = [len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in SENTENCES]
    assert pieces.n_text_pieces.tolist() == alone
    assert pieces.take(np.array([2, 0])).n_text_pieces.tolist() == [alone[2], alone[0]]


@pytest.mark.parametrize(
    ("perplexity", "shown"), [(3.1, "3.10"), (9.996, "10.0"), (99.94, "99.9"), (99.96, "100"), (12345.6, "12,346")]
)
def test_perplexities_are_shown_with_three_digits(perplexity, shown):
    german = LanguageProbe("de", 2, 10, 40, 1.2, 0.0, -10 * math.log(perplexity))
    text = markdown(Probe("m", SHA, "cats", "premise", "piece", "float32", 0, 2, 0, True, [german], [], []))
    [row] = [line for line in text.splitlines() if line.startswith("| de German")]
    assert row.split("|")[4].strip() == shown


def test_model_larger_than_the_gpu_is_refused_in_a_line(biased, mini, monkeypatch):
    def fail(module, *args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    folder = biased("en")
    monkeypatch.setattr("torch.nn.Module.to", fail)
    with pytest.raises(ModelError, match=r"^model [^\n]+ cannot be moved to cpu [^\n]+ use --device cpu$"):
        probe(folder, str(mini.task_file), data=mini.data, max_rows=6, dtype="float32")
