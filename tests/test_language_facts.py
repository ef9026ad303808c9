"""What is known about a language from its code, in any standard."""

import pytest

from xeval.definitions.languages import code_among, describe, names_of
from xeval.kinds.answer_text import mlqa_rule
from xeval.support.language_codes import base_language

# Code → name, script and family. Scripts are those of ISO 15924, families those of Glottolog.
KNOWN = {
    "zh": ("Chinese", "Han", "Sinitic"),
    "zho_Hans": ("Chinese", "Han", "Sinitic"),
    "zho_Hant": ("Chinese", "Han", "Sinitic"),
    "zh-CN": ("Chinese", "Han", "Sinitic"),
    "cmn": ("Chinese", "Han", "Sinitic"),
    "iw": ("Hebrew", "Hebrew", "Semitic"),
    "in": ("Indonesian", "Latin", "Austronesian"),
    "jw": ("Javanese", "Latin", "Austronesian"),
    "arb": ("Arabic", "Arabic", "Semitic"),
    "arb_Latn": ("Arabic", "Latin", "Semitic"),
    "pes_Arab": ("Persian", "Arabic", "Iranian"),
    "tgl": ("Tagalog", "Latin", "Austronesian"),
    "jpn_Jpan": ("Japanese", "Japanese", "Japonic"),
    "mya_Mymr": ("Burmese", "Burmese", "Tibeto-Burman"),
    "quy_Latn": ("Ayacucho Quechua", "Latin", "Quechuan"),
    "lo": ("Lao", "Lao", "unknown"),  # from here on, not on xeval's own list
    "bod_Tibt": ("Tibetan", "Tibetan", "unknown"),
    "xnr": ("Kangri", "Devanagari", "unknown"),
    "mni_Beng": ("Manipuri", "Bengali", "unknown"),
    "srd": ("Sardinian", "Latin", "unknown"),
}


@pytest.mark.parametrize("code", KNOWN)
def test_a_code_of_any_standard_is_known(code):
    known = describe(code)
    assert (known.code, known.name, known.script, known.family) == (code, *KNOWN[code])


@pytest.mark.parametrize("code", ["xx", "mini", "default", "klingonish"])
def test_unknown_code_is_its_own_name(code):
    assert (describe(code).name, describe(code).script) == (code, "unknown")


def test_codes_of_one_language_get_distinct_names():
    assert names_of(["en-US", "zho_Hans", "zho_Hant"]) == {
        "en-US": "English",
        "zho_Hans": "Chinese (zho_Hans)",
        "zho_Hant": "Chinese (zho_Hant)",
    }


@pytest.mark.parametrize("code", ["zh", "zho", "zh-CN", "zho_Hans", "cmn"])
def test_every_code_for_chinese_uses_its_answer_rules(code):
    assert base_language(code) == "zh"
    assert mlqa_rule(code)("长城。") == "长 城"


def test_a_word_means_the_code_that_it_is():
    codes = ["deu_Latn", "zho_Hans", "zho_Hant"]
    found = [code_among(codes, word) for word in ("zho_Hans", "zho_Hant", "de", "German", "zh", "Chinese", "fr")]
    assert found == ["zho_Hans", "zho_Hant", "deu_Latn", "deu_Latn", None, None, None]
