"""Facts → sentences, by filling a language's templates with the forms of its words."""

from __future__ import annotations

from xeval.data.microcosm.lexicon import PLACEHOLDER, Form, Lexicon
from xeval.data.microcosm.world import Fact, Statement


def realise(statement: Statement, lexicon: Lexicon) -> str:
    """Return the sentence that states these facts in this language."""
    clauses = [_clause(fact, lexicon) for fact in statement]
    text = clauses[0]
    for clause in clauses[1:]:
        text = lexicon.conjunction.replace("{first}", text).replace("{second}", clause)
    for old, new in lexicon.fixes:
        text = text.replace(old, new)
    if lexicon.capitalise:
        text = lexicon.capitals.get(text[0], text[0].upper()) + text[1:]
    return text + lexicon.end


def _clause(fact: Fact, lexicon: Lexicon) -> str:
    tokens = [_token(token, fact, lexicon) for token in lexicon.template(fact).split()]
    return lexicon.joiner.join(token for token in tokens if token)


def _token(token: str, fact: Fact, lexicon: Lexicon) -> str:
    """Fill one blank-delimited part of a template; empty if the slot that it shows is empty."""
    for match in PLACEHOLDER.finditer(token):
        slot, form, controller = match["slot"], match["form"], match["controller"]
        if slot:
            concept = getattr(fact, slot)
            if not concept:
                return ""
            value = lexicon.concepts[concept][form]
        else:
            value = lexicon.words[form]
        shown = agree(value, getattr(fact, controller) if controller else "", lexicon)
        if token == match[0]:
            return shown
        token = token.replace(match[0], shown)
    return token


def agree(value: Form, controller: str, lexicon: Lexicon) -> str:
    """Return the form that agrees with the controller's class; "other" stands for every class not named."""
    if isinstance(value, str):
        return value
    agreement = lexicon.concepts[controller]["class"]
    return value[agreement] if agreement in value else value["other"]
