"""Language files: faults are reported, sentences differ, and hand-checked sentences come out as written."""

import copy
import random
import tomllib

import pytest

from xeval.microcosm import lexicon, world
from xeval.microcosm.realise import realise
from xeval.microcosm.world import Fact

DOG_NIGHT = (Fact("at", "dog", place="garden", time="night"),)
DOUBLE = (Fact("use", "girl", "buy", "apple", place="market"), Fact("is", "cow", "big", negated=True))
COUNT = (Fact("count", "bird", "two", place="forest"),)

HAND_CHECKED = {
    "en": (
        "The dog is in the garden at night.",
        "The girl buys an apple at the market and the cow is not big.",
        "There are two birds in the forest.",
    ),
    "de": (
        "Der Hund ist in der Nacht im Garten.",
        "Das Mädchen kauft auf dem Markt einen Apfel und die Kuh ist nicht groß.",
        "Im Wald sind zwei Vögel.",
    ),
    "es": (
        "El perro está en el jardín por la noche.",
        "La chica compra una manzana en el mercado y la vaca no es grande.",
        "Hay dos aves en el bosque.",
    ),
    "zh": ("狗夜里在花园里。", "女孩在市场上买了一个苹果，牛不大。", "森林里有两只鸟。"),
    "ar": ("الكلب في الحديقة في الليل.", "البنت تشتري تفاحة في السوق والبقرة ليست كبيرة.", "في الغابة طائران."),
}


@pytest.mark.parametrize("language", HAND_CHECKED)
def test_hand_checked_sentences(language):
    said = tuple(realise(statement, lexicon.load(language)) for statement in (DOG_NIGHT, DOUBLE, COUNT))
    assert said == HAND_CHECKED[language]


@pytest.mark.parametrize("language", lexicon.available())
def test_different_statements_are_different_sentences(language):
    rng = random.Random(1)
    statements = {(world.random_fact(rng),) for _ in range(6000)} | {world.random_statement(rng) for _ in range(2000)}
    # Every "is" fact there is: the pattern in which synonyms and opposites are nearest to each other.
    statements |= {
        (fact,)
        for subject in world.fillers("is", "subject")
        for predicate in world.PROPERTIES
        for negated in (False, True)
        if world.is_sensible(fact := Fact("is", subject, predicate, negated=negated))
    }
    seen: dict[str, world.Statement] = {}
    for statement in sorted(statements):
        sentence = realise(statement, lexicon.load(language))
        assert sentence not in seen, (sentence, statement, seen[sentence])
        assert "{" not in sentence and "  " not in sentence
        seen[sentence] = statement


@pytest.mark.parametrize("language", sorted({"zh", "th"} & set(lexicon.available())))
def test_no_blanks_in_chinese_and_thai(language):
    rng = random.Random(2)
    assert not any(" " in realise(world.random_statement(rng, double=0), lexicon.load(language)) for _ in range(500))


@pytest.fixture
def english():
    return tomllib.loads((lexicon.FOLDER / "en.toml").read_text(encoding="utf-8"))


def broken(data, change):
    data = copy.deepcopy(data)
    change(data)
    with pytest.raises(lexicon.LexiconError) as fault:
        lexicon.parse("en", data)
    return str(fault.value)


def test_faults_are_named(english):
    assert "[animal] has no 'dog'" in broken(english, lambda d: d["animal"].pop("dog"))
    assert "'unicorn' is no concept" in broken(english, lambda d: d["animal"].update(unicorn={"the": "the unicorn"}))
    assert "dog: no form 'plural'" in broken(english, lambda d: d["animal"]["dog"].pop("plural"))
    assert "[patterns] has no 'at_not'" in broken(english, lambda d: d["patterns"].pop("at_not"))
    assert "[language] has no 'joiner'" in broken(english, lambda d: d["language"].pop("joiner"))
    assert "no slot 'thing'" in broken(english, lambda d: d["patterns"].update(act="{subject.the} {thing.a}"))
    assert "no class" in broken(english, lambda d: d["patterns"].update(act="{predicate.s:subject}"))
    assert "cannot read" in broken(english, lambda d: d["patterns"].update(act="{subject}"))
    assert "same forms" in broken(english, lambda d: d["property"].update(glad=d["property"]["happy"]))


def test_a_missing_agreement_form_is_named(english):
    def change(data):
        for person in data["person"].values():
            person["class"] = "m"
        data["person"]["aunt"]["class"] = "f"
        data["action"]["work"]["s"] = {"m": "works"}
        data["patterns"]["act"] = "{subject.the} {predicate.s:subject}"

    assert "work: 's' has no form for class 'f'" in broken(english, change)


def test_a_language_without_a_file():
    with pytest.raises(lexicon.LexiconError, match="no language 'xx'"):
        lexicon.load("xx")
