"""tags-mini and pos-mini: the microcosm's sentences with a tag for every word."""

from collections import Counter

import pytest

from xeval.data.microcosm import tagged, world
from xeval.data.microcosm.lexicon import ALL, load
from xeval.data.microcosm.realise import realise
from xeval.definitions.registry import get_task


@pytest.mark.parametrize("language", ALL)
def test_words_are_those_of_the_sentence(language):
    lexicon = load(language)
    for statement in tagged.statements("test"):
        words = [word for word, _ in tagged.words_of(statement, lexicon)]
        assert "".join(words) == "".join(realise(statement, lexicon).split())


@pytest.mark.parametrize("task", tagged.TAGGERS)
@pytest.mark.parametrize("language", ALL)
def test_every_word_is_tagged_and_common_tags_occur(task, language):
    rows = tagged.rows(task, "test", language)
    assert all(len(words) == len(tags) > 1 for words, tags in rows)
    counts = Counter(tag for _, tags in rows for tag in tags)
    rare = {"B-PER": "I-PER", "B-LOC": "I-LOC"} if task == "tags-mini" else {"PUNCT": "PUNCT"}
    assert set(get_task(task).labels) - set(counts) <= set(rare.values()), (
        "words may be one for a place, or have no stop"
    )
    assert set(counts) <= set(get_task(task).labels)


@pytest.mark.parametrize("language", ALL)
def test_stated_people_and_places_are_tagged(language):
    for statement, (_, tags) in zip(tagged.statements("test"), tagged.rows("tags-mini", "test", language), strict=True):
        people = sum(fact.subject in world.PERSONS for fact in statement)
        places = sum(bool(fact.place) for fact in statement)
        assert (tags.count("B-PER"), tags.count("B-LOC")) == (people, places)
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before[2:] == tag[2:], "a span has its beginning"


def words(sentence: str) -> list[str]:
    return sentence.split()


def test_tags_match_hand_checked_sentences():
    assert tagged.rows("tags-mini", "test", "en")[0] == (
        words("The teacher breaks a wardrobe in the library and the vehicle is in the library on Friday ."),
        words("B-PER I-PER O O O B-LOC I-LOC I-LOC O O O O B-LOC I-LOC I-LOC O O O"),
    )
    assert tagged.rows("pos-mini", "test", "de")[3] == (
        words("Das Kind findet im Sommer in der Schule ein Insekt ."),
        words("OTHER NOUN VERB OTHER NOUN OTHER OTHER NOUN OTHER NOUN PUNCT"),
    )
    assert tagged.rows("tags-mini", "test", "zh")[3] == (
        ["孩子", "夏天", "在学校里", "找到了", "一只昆虫", "。"],
        ["B-PER", "O", "B-LOC", "O", "O", "O"],
    )
    assert tagged.rows("tags-mini", "test", "ar")[0][0][5] == "والمركبة", "a clitic is part of its word"


def test_no_statement_is_in_two_splits():
    said = [statement for split in tagged.SPLITS for statement in tagged.statements(split)]
    assert len(said) == len(set(said)) == sum(tagged.SPLITS.values())


def test_words_after_a_sandhi_keep_their_part():
    one, other = tagged.Part(1, "subject", "cook"), tagged.Part(2, "place", "park")
    marked = [(letter, one) for letter in "de "] + [(letter, other) for letter in "le parc"]
    changed = tagged._replaced(marked, "de le ", "du ")
    assert "".join(letter for letter, _ in changed) == "du parc"
    assert {part for _, part in changed[3:]} == {other}
