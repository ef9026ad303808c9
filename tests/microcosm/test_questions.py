"""Questions about the microcosm: worded as speakers ask them, with answers that are part of their contexts."""

import pytest

from xeval.data.microcosm.lexicon import ALL, load
from xeval.data.microcosm.questions import SPLITS, contexts, forms, question, rows
from xeval.data.microcosm.world import KINDS, PERSONS, SYNONYM_OF, Fact

GIRL = Fact("at", "girl", place="garden", time="night")
HAND_CHECKED = {  # where, who and when, for "the girl is in the garden at night"
    "ar": ("أين البنت؟", "من في الحديقة؟", "متى تكون البنت في الحديقة؟"),
    "bg": ("Къде е момичето?", "Кой е в градината?", "Кога момичето е в градината?"),
    "de": ("Wo ist das Mädchen?", "Wer ist im Garten?", "Wann ist das Mädchen im Garten?"),
    "el": ("Πού είναι το κορίτσι;", "Ποιος είναι στον κήπο;", "Πότε είναι το κορίτσι στον κήπο;"),
    "en": ("Where is the girl?", "Who is in the garden?", "When is the girl in the garden?"),
    "es": ("¿Dónde está la chica?", "¿Quién está en el jardín?", "¿Cuándo está la chica en el jardín?"),
    "fr": ("Où est la fille ?", "Qui est dans le jardin ?", "Quand est-ce que la fille est dans le jardin ?"),
    "hi": ("लड़की कहाँ है?", "बगीचे में कौन है?", "लड़की बगीचे में कब है?"),
    "ru": ("Где находится девочка?", "Кто находится в саду?", "Когда девочка находится в саду?"),
    "sw": ("Msichana yuko wapi?", "Nani yuko bustanini?", "Msichana yuko bustanini lini?"),
    "th": ("เด็กผู้หญิงอยู่ที่ไหน", "ใครอยู่ในสวน", "เด็กผู้หญิงอยู่ในสวนเมื่อไร"),
    "tr": ("Kız nerede?", "Bahçede kim var?", "Kız ne zaman bahçede?"),
    "ur": ("لڑکی کہاں ہے؟", "باغ میں کون ہے؟", "لڑکی باغ میں کب ہے؟"),
    "vi": ("Cô bé ở đâu?", "Ai ở trong vườn?", "Khi nào cô bé ở trong vườn?"),
    "zh": ("女孩在哪里？", "谁在花园里？", "女孩什么时候在花园里？"),
}


def test_every_language_can_ask():
    assert set(forms()) == set(ALL) == set(HAND_CHECKED)


@pytest.mark.parametrize("language", ALL)
def test_questions_match_hand_checked_ones(language):
    asked = tuple(question(sort, GIRL, load(language)) for sort in ("where", "who", "when"))
    assert asked == HAND_CHECKED[language]


@pytest.mark.parametrize("language", ALL)
def test_answers_are_at_their_stated_positions(language):
    for row in rows("test", language):
        (text,), (start,) = row["answers"]["text"], row["answers"]["answer_start"]
        assert text and row["context"][start : start + len(text)] == text
        assert "{" not in row["question"] + row["context"]


def test_every_question_has_one_answer():
    for split, size in SPLITS.items():
        assert len(contexts(split)) == size
        for context in contexts(split):
            subjects = [fact.subject for fact in context.facts]
            assert len(set(subjects)) == len({fact.place for fact in context.facts}) == len(context.facts)
            assert not set(subjects) & (KINDS.keys() | {SYNONYM_OF.get(subject) for subject in subjects})
            assert all(subjects[number] in PERSONS for sort, number in context.asked if sort == "who")


def test_no_context_is_in_two_splits():
    said = [{frozenset(context.facts) for context in contexts(split)} for split in SPLITS]
    assert sum(map(len, said)) == len(set.union(*said)) == sum(SPLITS.values())


def test_rows_are_parallel():
    assert len({len(rows("validation", language)) for language in ALL}) == 1
    swahili, german = rows("validation", "sw"), rows("validation", "de")
    assert [row["question"] == german[0]["question"] for row in german] == [
        row["question"] == swahili[0]["question"] for row in swahili
    ]
