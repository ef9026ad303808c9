"""Answers as text: how they are compared with the right ones, by the rules of SQuAD v1.1 and of MLQA.

SQuAD: https://rajpurkar.github.io/SQuAD-explorer/. MLQA: https://github.com/facebookresearch/MLQA, whose rules differ
by language. XTREME applies SQuAD's rules, including English articles, to XQuAD and TyDiQA in every language.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

from xeval.support.language_codes import base_language

Rule = Callable[[str], str]

_ASCII_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ENGLISH_ARTICLES = re.compile(r"\b(a|an|the)\b")
_MLQA_ARTICLES = {
    "en": _ENGLISH_ARTICLES,
    "es": re.compile(r"\b(un|una|unos|unas|el|la|los|las)\b"),
    "vi": re.compile(r"\b(của|là|cái|chiếc|những)\b"),
    "de": re.compile(r"\b(ein|eine|einen|einem|eines|einer|der|die|das|den|dem|des)\b"),
    "ar": re.compile(r"\sال^|ال"),
}
_HAN = re.compile(r"([\u4e00-\u9fa5])")


def squad_normalised(answer: str) -> str:
    """Return the answer in lower case, without ASCII punctuation and English articles, with one space between words."""
    without = answer.lower().translate(_ASCII_PUNCTUATION)
    return " ".join(_ENGLISH_ARTICLES.sub(" ", without).split())


def mlqa_rule(language: str) -> Rule:
    """Return MLQA's normalisation for `language`; a language that MLQA lacks is treated as having no articles."""
    code = base_language(language)
    articles = _MLQA_ARTICLES.get(code)

    def normalised(answer: str) -> str:
        text = "".join(character for character in answer.lower() if not _is_punctuation(character))
        if articles is not None:
            text = articles.sub(" ", text)
        if code == "zh":
            text = _HAN.sub(r" \1 ", text)  # each character is a token
        return " ".join(text.split())

    return normalised


def _is_punctuation(character: str) -> bool:
    return character in string.punctuation or unicodedata.category(character).startswith("P")


def exact_and_f1(prediction: str, right: Iterable[str], rule: Rule) -> tuple[float, float]:
    """Return whether the prediction equals a `right` answer after `rule`, and its best token F1 with one."""
    text, answers = rule(prediction), [rule(answer) for answer in right]
    return float(text in answers), max(_f1(text.split(), answer.split()) for answer in answers)


def _f1(predicted: list[str], gold: list[str]) -> float:
    """Return 2 pr / (p + r): p is the share of predicted tokens that are gold, r that of gold tokens predicted."""
    n_common = sum((Counter(predicted) & Counter(gold)).values())
    if not n_common:
        return 0.0
    precision, recall = n_common / len(predicted), n_common / len(gold)
    return 2 * precision * recall / (precision + recall)
