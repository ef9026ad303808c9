"""Published tables against their sources: each number as the source has it, typed a second time."""

import re
from statistics import stdev

import pytest

from tests.helpers.sample_record import run_record, score, stored
from xeval.definitions.reference import Reference
from xeval.definitions.registry import get_reference, suite_tables
from xeval.judging.verdict import judge, row_of
from xeval.report.formats import markdown
from xeval.report.matrix import build
from xeval.results.records import Limits
from xeval.runs.grid import reproduce
from xeval.support.errors import DefinitionError

XLMR_OF_XLMV = """
    73.8 65.5 50.6 74.3 64.0 76.5 78.4 60.8 77.7 75.9 73.0 76.4 45.2 29.8 52.3 37.6 67.0 4.7 49.4 67.5 21.9 65.2
    77.5 76.7 79.0 77.7 77.9 49.0 55.1 61.3 67.8 69.6 74.1 75.4 83.4 80.8 75.8 49.3 56.8 62.2 59.1 72.2 62.3
    58.3 50.0 67.9 52.6 47.8
"""
XLMR_IN_THE_PAPER = """
    73.5 62.9 53.6 72.7 61.0 72.4 77.5 60.4 75.8 74.4 71.2 75.4 42.2 25.3 48.9 33.6 66.3 5.2 49.4 65.4 21.0 63.1
    76.1 70.2 77.0 76.9 76.5 44.6 51.4 61.5 67.2 69.0 73.8 74.4 83.0 80.0 75.8 49.2 56.3 61.9 57.2 69.8 68.3
    59.4 48.6 67.7 53.2 43.8
"""
XLMV_IN_THE_PAPER = """
    73.8 66.4 48.7 75.6 66.7 65.7 79.5 70.0 79.5 78.7 75.0 77.3 50.4 30.2 61.5 54.2 72.4 3.3 53.0 69.5 22.4 68.1
    79.8 74.5 80.5 78.7 77.6 50.6 48.9 59.8 67.3 72.6 76.7 76.8 83.4 81.4 78.3 51.8 54.9 63.1 67.1 75.6 70.0
    67.5 52.6 67.1 60.1 45.8
"""
XLMV = """
    77.2 65.4 53.6 74.9 66.0 69.4 79.8 66.9 79.0 77.9 76.2 76.8 48.5 28.1 58.4 62.6 71.6 2.6 51.6 71.2 20.6 67.8
    79.4 76.2 79.9 79.5 77.5 51.7 51.5 61.9 69.2 73.2 75.9 77.1 84.1 81.3 78.9 50.9 55.9 63.0 65.7 75.9 70.8
    64.8 53.9 69.6 61.1 47.2
"""
SPREAD = """
    2.8 3.3 2.2 0.6 1.6 3.4 0.4 2.5 1.2 0.6 0.7 1.4 2.3 1.2 2.5 1.6 1.7 0.4 0.9 1.7 0.7 0.5 0.6 1.7 0.7 0.6 0.7
    2.1 3.7 1.4 1.2 0.9 0.7 0.4 0.2 0.3 0.4 2.1 1.0 2.0 1.7 0.9 5.0 2.1 1.0 1.2 1.1 2.4
"""
SPREAD_OF_XLMV = """
    3.7 2.6 2.4 1.4 1.5 1.9 0.4 3.2 0.8 0.6 0.4 2.1 2.0 1.8 1.2 4.5 1.2 1.1 1.5 0.4 1.0 0.7 0.7 2.4 1.2 0.3 0.8 5.1
    5.8 0.6 0.6 2.1 0.9 0.8 0.3 0.5 0.7 0.7 1.4 1.8 1.3 1.1 0.7 3.9 1.1 2.9 1.1 3.6
"""
FORTY_EIGHT = """
    ro gu pa lt az uk pl qu hu fi et tr kk zh my yo sw th ko ka ja ru bg es pt it fr fa ur mr hi bn el de en nl
    af te ta ml eu tl ms jv id vi he ar
"""
WIKIANN = {"XLM-R base (XLM-V's paper)": XLMR_IN_THE_PAPER, "XLM-R base (reproduced)": XLMR_OF_XLMV}
WIKIANN |= {"XLM-V base (XLM-V's paper)": XLMV_IN_THE_PAPER, "XLM-V base (reproduced)": XLMV}

# Language, F1 or exact match, and ± the standard deviation of five seeds.
XLMR_XQUAD = """
    en 83.8±0.41, es 76.8±0.39, de 75.3±0.43, el 73.0±0.43, ru 74.4±0.79, tr 67.3±0.67, ar 66.3±0.62, vi 74.0±0.55,
    th 66.5±1.08, zh 64.2±0.76, hi 68.0±0.80
"""
XLMR_XQUAD_EM = """
    en 73.1±0.25, es 59.5±0.98, de 60.0±0.69, el 55.8±0.45, ru 58.0±0.66, tr 51.1±0.64, ar 49.8±0.72, vi 55.0±0.85,
    th 56.3±1.11, zh 55.5±0.74, hi 51.9±0.97
"""
XLMV_XQUAD = """
    en 83.1±0.31, es 76.3±0.75, de 75.2±0.86, el 72.0±1.32, ru 72.9±0.91, tr 66.5±0.96, ar 67.0±0.92, vi 72.7±0.53,
    th 65.1±2.37, zh 65.3±1.14, hi 68.5±1.12
"""
XLMV_XQUAD_EM = """
    en 72.5±0.76, es 58.7±0.91, de 59.5±1.24, el 54.2±1.66, ru 56.2±0.92, tr 50.4±0.96, ar 50.5±1.33, vi 54.1±0.45,
    th 55.3±2.50, zh 56.7±0.72, hi 52.4±1.35
"""
MASAKHANER = """
    amh 27.1±1.6 hau 42.4±2.7 ibo 14.2±3.4 kin 12.4±2.4 lug 14.3±1.5 luo 10.0±0.7 pcm 40.6±2.1 swa 50.1±2.1 wol
    6.3±0.9 yor 11.5±2.6
"""
MASAKHANER_OF_XLMV = """
    amh 25.3±2.1 hau 45.7±1.2 ibo 55.6±1.8 kin 33.2±7.5 lug 56.1±0.8 luo 16.5±2.1 pcm 40.7±1.6 swa 50.8±1.0 wol
    26.3±2.0 yor 47.2±3.6
"""

XQUAD_LANGUAGES = "en ar de el es hi ru th tr vi zh ro"
XQUAD = {  # F1/EM
    "mBERT": """
        83.5/72.2 61.5/45.1 70.6/54.0 62.6/44.9 75.5/56.9 59.2/46.0 71.3/53.3 42.7/33.5 55.4/40.1 69.5/49.6
        58.0/48.3 72.7/59.9
    """,
    "XLM-R Large": """
        86.5/75.7 68.6/49.0 80.4/63.4 79.8/61.7 82.0/63.9 76.7/59.7 80.1/64.3 74.2/62.8 75.9/59.3 79.1/59.0
        59.3/50.0 83.6/69.7
    """,
}
MLQA_LANGUAGES = "en es de ar hi vi zh"
FIFTEEN = "en fr es de el bg ru tr ar vi th zh hi sw ur"
AMERICAN = "aym bzd cni gn hch nah oto quy shp tar"
WU_DREDZE = "en es fr de vi zh ru bg el ar tr hi ur th sw"
IN_ORDER = [  # table, its languages, row, cells
    ("mlqa-readme", MLQA_LANGUAGES, "M-BERT", "77.7 64.3 57.9 45.7 43.8 57.1 57.5"),
    ("minilm-mlqa", MLQA_LANGUAGES, "XLM-R base (reported)", "77.8 67.2 60.8 53.0 57.9 63.1 60.2"),
    ("minilm-mlqa", MLQA_LANGUAGES, "XLM-R base (own)", "80.3 67.0 62.7 55.0 60.4 66.5 62.3"),
    ("minilm-mlqa", MLQA_LANGUAGES, "mMiniLM-L12xH384", "79.4 66.1 61.2 54.9 58.5 63.1 59.0"),
    ("fairseq-mlqa", MLQA_LANGUAGES, "XLM-R large", "80.6 74.1 68.5 63.1 69.2 71.3 68.0"),
    ("fairseq-mlqa-em", MLQA_LANGUAGES, "XLM-R large", "67.8 56.0 53.6 43.5 51.6 50.9 45.4"),
    ("fairseq-mlqa-em", MLQA_LANGUAGES, "mBERT", "65.2 46.6 44.3 29.8 29.7 38.6 37.3"),
    (
        *("minilm-xnli", FIFTEEN, "XLM-R base (first version of its paper)"),
        "84.6 78.4 78.9 76.8 75.9 77.3 75.4 73.2 71.5 75.4 72.5 74.9 71.1 65.2 66.5",
    ),
    (
        *("minilm-xnli", FIFTEEN, "mMiniLM-L12xH384"),
        "81.5 74.8 75.7 72.9 73.0 74.5 71.3 69.7 68.8 72.1 67.8 70.0 66.2 63.3 64.2",
    ),
    (
        *("wu-dredze-2019-frozen", WU_DREDZE, "mBERT, embeddings frozen"),
        "81.8 74.2 73.6 71.1 70.1 70.0 69.2 68.0 66.9 65.4 60.9 60.5 58.1 55.6 48.9",
    ),
    (
        *("wu-dredze-2019-frozen", WU_DREDZE, "mBERT, embeddings and 6 layers frozen"),
        "82.0 74.9 74.6 72.0 71.9 70.4 69.8 69.8 67.9 66.1 62.0 61.2 58.6 55.7 49.9",
    ),
    ("xlm-readme", "en es de ar zh ur", "XLM-15, MLM", "83.2 76.3 74.2 68.5 71.9 63.4"),
    ("xlm-readme", "en es de ar zh ur", "XLM-15, MLM + TLM", "85.0 78.9 77.8 73.1 76.5 67.3"),
    ("xlm-readme", "en es de ar zh", "XLM-17, MLM", "84.8 79.4 76.2 71.5 75"),
    ("xlm-readme", "en es de ar zh ur", "XLM-100, MLM", "83.7 76.6 73.6 67.4 71.7 62.9"),
    ("bert-multilingual", "en zh es de ar ur", "mBERT uncased", "81.4 63.8 74.3 70.5 62.1 58.3"),
    ("bert-multilingual", "en zh es de ar ur", "mBERT cased", "81.9 76.6 77.8 75.9 70.7 61.6"),
    ("xlmv-americasnli", AMERICAN, "XLM-R base", "36.6 39.6 40.5 41.6 38.8 40.2 39.4 38.7 42.7 37.6"),
    ("xlmv-americasnli", AMERICAN, "XLM-V base", "39.9 41.5 41.7 58.8 40.7 44.7 42.1 56.9 46.5 41.2"),
    *(("xlmv-wikiann", FORTY_EIGHT, row, cells) for row, cells in WIKIANN.items()),
    (
        *("xcopa-readme", "et ht id it qu sw ta th tr vi zh", "XLM-R large"),
        "71.4 50.0 79.8 72.6 50.0 59.2 73.0 72.8 74.4 73.8 78.6",
    ),
]
NAMED = [  # table, row, language and number
    ("xlmv-xquad", "XLM-R base", XLMR_XQUAD),
    ("xlmv-xquad", "XLM-V base", XLMV_XQUAD),
    ("xlmv-xquad-em", "XLM-R base", XLMR_XQUAD_EM),
    ("xlmv-xquad-em", "XLM-V base", XLMV_XQUAD_EM),
    ("xlmv-masakhaner", "XLM-R base", MASAKHANER),
    ("xlmv-masakhaner", "XLM-V base", MASAKHANER_OF_XLMV),
    (
        *("xpos-2022", "XLM-R base"),
        """
        af 89.3 ar 80.7 bg 90.8 de 88.6 el 87.6 en 96.0 es 90.3 et 88.4 eu 76.0 fa 76.7 fi 87.2 fr 87.4 he 90.6
        hi 74.1 hu 86.0 id 86.9 it 87.8 ja 34.1 kk 82.5 ko 64.0 mr 82.2 nl 90.4 pt 90.0 ru 91.0 ta 83.4 te 84.7
        th 59.5 tl 73.5 tr 79.1 ur 67.0 vi 66.4 yo 18.5 zh 47.5
    """,
    ),
    (
        *("jiant-tatoeba", "XLM-R large"),
        """
        af 30.5 ar 20.4 bg 39.0 bn 13.3 de 63.9 el 18.9 es 48.0 et 25.8 eu 19.9 fa 42.0 fi 41.5 fr 48.1 he 28.0
        hi 38.3 hu 42.5 id 47.0 it 42.3 ja 41.8 jv 10.2 ka 11.8 kk 17.4 ko 35.5 ml 19.4 mr 15.2 nl 52.6 pt 47.2
        ru 42.1 sw 7.9 ta 9.1 te 19.7 th 27.4 tl 10.3 tr 37.8 ur 22.5 vi 38.3 zh 41.2
    """,
    ),
]
METRICS = {
    **dict.fromkeys(("xquad-readme", "xlmv-xquad"), "f1"),
    **dict.fromkeys(("xquad-readme-em", "xlmv-xquad-em"), "exact_match"),
    **dict.fromkeys(("mlqa-readme", "minilm-mlqa", "fairseq-mlqa"), "mlqa_f1"),
    **dict.fromkeys(("xlmv-wikiann", "xlmv-masakhaner"), "span_f1"),
    **{"fairseq-mlqa-em": "mlqa_exact_match", "xpos-2022": "token_accuracy"},
}


def row_in(table: str, name: str):
    [row] = [row for row in get_reference(table).rows if row.name == name]
    return row


@pytest.mark.parametrize(("table", "languages", "name", "cells"), IN_ORDER, ids=lambda value: str(value).strip()[:30])
def test_a_row_has_the_sources_cells(table, languages, name, cells):
    expected = dict(zip(languages.split(), map(float, cells.split()), strict=True))
    assert row_in(table, name).cells == expected


@pytest.mark.parametrize(("table", "name", "cells"), NAMED, ids=lambda value: str(value).strip()[:30])
def test_a_row_has_the_sources_cells_and_spread(table, name, cells):
    row = row_in(table, name)
    found = re.findall(r"([a-z]{2,3})\s+([0-9.]+)(?:±([0-9.]+))?", cells)
    assert row.cells == {language: float(value) for language, value, _ in found}
    assert row.spread == {language: float(spread) for language, _, spread in found if spread}
    assert not row.spread or row.n_seeds == 5


@pytest.mark.parametrize("name", XQUAD)
def test_xquads_readme_has_f1_and_exact_match(name):
    for place, table in enumerate(("xquad-readme", "xquad-readme-em")):
        cells = [float(both.split("/")[place]) for both in XQUAD[name].split()]
        assert row_in(table, name).cells == dict(zip(XQUAD_LANGUAGES.split(), cells, strict=True))


def test_xquads_rows_are_xtremes_without_romanian():
    """XTREME prints 64.5/49.4 for mBERT and 76.6/60.8 for XLM-R large, over eleven languages."""
    means = {}
    for table in ("xquad-readme", "xquad-readme-em"):
        for row in get_reference(table).rows:
            without = [cell for language, cell in row.cells.items() if language != "ro"]
            means[table, row.name] = round(sum(without) / len(without), 1)
    assert list(means.values()) == [64.5, 76.6, 49.4, 60.8]


@pytest.mark.parametrize(("model", "spread"), [("XLM-R", SPREAD), ("XLM-V", SPREAD_OF_XLMV)])
def test_wikiann_has_the_spread_of_its_five_seeds(model, spread):
    row = row_in("xlmv-wikiann", f"{model} base (reproduced)")
    assert (list(row.spread.values()), row.n_seeds) == ([float(one) for one in spread.split()], 5)


@pytest.mark.parametrize(("table", "metric"), METRICS.items())
def test_tables_name_their_metric(table, metric):
    assert get_reference(table).metric == metric


def test_rows_that_are_not_zero_shot_are_marked():
    marked = {
        (table, row.name): row.protocol
        for table in ("bert-multilingual", "minilm-xnli", "xlm-readme", "distilmbert-card")
        for row in get_reference(table).rows
        if row.protocol != "zero-shot"
    }
    assert marked["bert-multilingual", "mBERT cased"] == "translate-train"
    assert marked["minilm-xnli", "mMiniLM-L12xH384"] == "selected on target languages"
    assert len([table for table, _ in marked if table == "xlm-readme"]) == 4
    assert len(marked) == 2 + 4


# ── tables over the tasks of XTREME ──

TASKS = {
    "mt5-readme": "xnli paws-x pan-x xquad mlqa tydiqa-goldp",
    "mmbert-xtreme": "xnli paws-x xcopa xquad mlqa tydiqa-goldp pan-x udpos",
}
OVER_TASKS = {
    ("mt5-readme", "mBERT"): "65.4 81.9 62.2 64.5 61.4 59.7",
    ("mt5-readme", "XLM"): "69.1 80.9 61.2 59.8 48.5 43.6",
    ("mt5-readme", "XLM-R large"): "79.2 86.4 65.4 76.6 71.6 65.1",
    ("mt5-readme", "InfoXLM"): "81.4 - - - 73.6 -",
    ("mt5-readme", "X-STILTs"): "80.4 87.7 64.7 77.2 72.3 76.0",
    ("mt5-readme", "mT5-Small"): "67.5 82.4 51.0 58.1 54.6 34.9",
    ("mt5-readme", "mT5-Base"): "75.4 87.4 56.6 67.0 64.6 58.1",
    ("mt5-readme", "mT5-Large"): "81.1 89.6 58.8 77.8 71.2 57.8",
    ("mt5-readme", "mT5-XL"): "82.9 90.2 65.7 79.5 73.5 77.3",
    ("mt5-readme", "mT5-XXL"): "84.8 89.2 69.2 81.9 75.5 80.8",
    ("mmbert-xtreme", "mDistilBERT"): "60.8 80.2 52.7 49.4 43.5 44.2 54.5 67.1",
    ("mmbert-xtreme", "Multilingual MiniLM"): "71.2 84.6 59.2 68.2 56.8 63.0 59.2 74.2",
    ("mmbert-xtreme", "mmBERT small"): "73.6 86.7 61.8 73.0 62.5 66.7 54.3 70.6",
    ("mmbert-xtreme", "XLM-R base"): "74.6 85.9 61.2 73.4 62.1 70.5 61.4 74.3",
    ("mmbert-xtreme", "mGTE base"): "73.9 86.4 63.6 75.7 64.3 69.9 60.7 74.3",
    ("mmbert-xtreme", "mmBERT base"): "77.1 87.7 67.5 77.6 66.0 74.5 58.2 74.0",
}


def test_tables_over_tasks_have_their_sources_cells():
    found = {(table.name, row.name): row.cells for table in suite_tables("xtreme") for row in table.rows}
    expected = {
        (table, name): {
            task: float(cell) for task, cell in zip(TASKS[table].split(), cells.split(), strict=True) if cell != "-"
        }
        for (table, name), cells in OVER_TASKS.items()
    }
    assert found == expected


# ── how verdicts treat them ──


def a_table(**changes) -> Reference:
    row = {"name": "Model", "model": "org/m", "cells": {"en": 80.0, "de": 70.0}, "how": "computed", "recipe": "r"}
    rows = [row | changes.pop("row", {}), *changes.pop("more", [])]
    table = {"name": "t", "title": "t", "task": "cats", "split": "test", "source_url": "x", "languages": ["en", "de"]}
    return Reference.model_validate(table | {"rows": rows} | changes, strict=False)


@pytest.fixture
def runs():
    scores = {"en": score(0.8, 5010), "de": score(0.7, 5010)}
    return stored([run_record(scores=scores, limits=Limits())])


@pytest.mark.parametrize("protocol", ["selected on target languages", "translate-train", "translate-test"])
def test_rows_that_are_not_zero_shot_get_no_verdict(runs, protocol):
    """They are still shown."""
    assert judge(runs, a_table())
    table = a_table(row={"protocol": protocol})
    assert judge(runs, table) == []
    text = markdown.render(build(runs, "cats", table))
    assert f"Model, published, {protocol}" in text
    assert f"There are no verdicts on published rows that are not zero-shot: {protocol}." in text
    assert "Reproduced?" not in text


def test_runs_are_matched_with_the_zero_shot_row(runs):
    other = {"name": "Translated", "model": "org/m", "cells": {"en": 82.0, "de": 80.0}, "how": "computed"}
    table = a_table(more=[other | {"protocol": "translate-train"}])
    assert row_of(runs[0].record, table).name == "Model"
    names = [row.name for row in build(runs, "cats", table).rows]
    assert names == ["Model, published", "org/m, r, epochs 2.0", "Translated, published, translate-train"]


def test_numbers_in_another_metric_get_no_verdict(runs):
    """They are shown with the name of their metric."""
    table = a_table(metric="exact_match")
    assert judge(runs, table) == []
    text = markdown.render(build(runs, "cats", table))
    assert "Model, published, exact match" in text
    how = 'run a copy of the task\'s file with metric = "exact_match", into another results folder'
    assert f"No verdicts: the published numbers are exact match, ours accuracy; to compare, {how}." in text


def test_only_zero_shot_rows_need_a_recipe():
    with pytest.raises(ValueError, match="recipe is missing"):
        a_table(row={"recipe": None})
    translated = a_table(row={"recipe": None, "protocol": "translate-train"})
    assert not translated.rows[0].is_trained_zero_shot


def test_reproduce_refuses_tables_without_zero_shot_rows(tmp_path):
    path = tmp_path / "translated.toml"
    lines = ['name = "translated"', 'title = "t"', 'task = "xnli"', 'split = "test"', 'source_url = "x"']
    lines += ['languages = ["en"]', "[[rows]]", 'name = "Model"', 'model = "org/m"', "cells = { en = 80.0 }"]
    lines += ['how = "computed"', 'protocol = "translate-train"']
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DefinitionError, match="none of its rows comes from training in one language alone"):
        reproduce(str(path))


def test_exact_match_spread_matches_its_five_seeds():
    """German, as in xquad_zero_shot_xlm_r_results.md."""
    seeds = [59.2436974789916, 59.32773109243698, 60.50420168067227, 60.7563025210084, 60.252100840336134]
    assert row_in("xlmv-xquad-em", "XLM-R base").spread["de"] == round(stdev(seeds), 2)


def test_suite_footnote_names_mlqas_scoring_rules():
    """multilingual_t5/evaluation/metrics.py has MLQA's rules, engine/run_qa.py of nlu-evals SQuAD's for all."""
    metrics = {table.name: table.metrics["mlqa"] for table in suite_tables("xtreme")}
    assert metrics == {"mmbert-xtreme": ("f1",), "mt5-readme": ("mlqa_f1",)}


@pytest.mark.parametrize("table", ["xlmv-wikiann", "xlmv-masakhaner"])
def test_flairs_rows_name_its_best_model(table):
    """The seeds' files name best-model.pt, and flair-fine-tuner.py has use_final_model_for_eval=False."""
    rows = [row for row in get_reference(table).rows if row.n_seeds == 5]
    assert {row.selection for row in rows} == {"best epoch on the English development set"} and len(rows) == 2
