"""Probe → terminal, Markdown, CSV, JSON. Numbers become percentages only here, and not in CSV and JSON."""

import json
import math
from dataclasses import asdict
from typing import Any

from rich.console import Console

from xeval.definitions.languages import describe
from xeval.judging.probe import FEWEST_FOR_INTERVAL, FEWEST_LANGUAGES, Correlation, LanguageProbe, Probe
from xeval.report.formats.csv import csv_table
from xeval.report.formats.markdown import escape
from xeval.report.tables import markdown_table, plain, print_table, shown_p
from xeval.support.text import counted, metric_in_words, one_decimal, seeds_in_words, signed, span

_IN_WORDS = {
    "bits_per_sentence": "bits per sentence",
    "bits_per_character": "bits per character",
    "pseudo_perplexity": "pseudo-perplexity",
}
_MASKINGS = {
    "word-l2r": "each piece is predicted with the later pieces of its word masked too (PLL-word-l2r)",
    "piece": "each piece is predicted with nothing else masked",
}
_RANKED = ["transfer of", "over", "measure", "ρ", "95 % interval", "p"]
_MANY_UNKNOWN = 0.01  # share of pieces


def show(probe: Probe, console: Console) -> None:
    """Print the table of languages and the table of correlations on `console`."""
    console.print(plain(_title(probe)))
    print_table(_header(probe), _rows(probe), console, n_left=1)
    if probe.correlations:
        console.print()
        console.print(plain(_ranked_title(probe)))
        print_table(_RANKED, _ranked_rows(probe), console, n_left=3)
    console.print()
    for note in _notes(probe):
        console.print(plain(note), style="dim")


def markdown(probe: Probe) -> str:
    table = markdown_table(_header(probe), _rows(probe), n_left=1)
    ranked = ""
    if probe.correlations:
        ranked = f"\n## {escape(_ranked_title(probe))}\n\n{markdown_table(_RANKED, _ranked_rows(probe), n_left=3)}\n"
    notes = "\n".join(f"- {escape(note)}" for note in _notes(probe))
    return f"# {escape(_title(probe))}\n\n{table}\n{ranked}\n{notes}\n"


def as_csv(probe: Probe) -> str:
    """Return a row per language, with numbers as they are. Only the other formats have the correlations."""
    rows = [
        {"model": probe.model, "task": probe.task, "text": probe.text, "masking": probe.masking} | _values(language)
        for language in probe.languages
    ]
    return csv_table(list(rows[0]), rows)


def as_json(probe: Probe) -> str:
    """Return everything as one object. Scores and shares are fractions."""
    content = asdict(probe) | {"languages": [_values(language) for language in probe.languages], "notes": _notes(probe)}
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _values(language: LanguageProbe) -> dict[str, Any]:
    """Return all numbers of a language, with None for measures that are not finite."""
    measures = {measure: language.value(measure) for measure in _IN_WORDS}
    return asdict(language) | {measure: value if math.isfinite(value) else None for measure, value in measures.items()}


def _title(probe: Probe) -> str:
    count = span([language.n_sentences for language in probe.languages])
    alike = "parallel " if probe.is_parallel and len(probe.languages) > 1 else ""
    return f"{probe.model} on {probe.task}: {count} {alike}sentences ({probe.text}) of each language"


def _header(probe: Probe) -> list[str]:
    per_sentence = [_IN_WORDS["bits_per_sentence"]] if probe.is_parallel else []
    scored = [metric_in_words(_only(probe)[0].metric)] if _only(probe) else []
    bits = [*per_sentence, _IN_WORDS["bits_per_character"]]
    return ["language", *bits, "pseudo-perplexity per piece", "pieces per word", *scored]


def _only(probe: Probe) -> list[Correlation]:
    """Return the correlations if they are all of one configuration, else none."""
    names = {(correlation.task, correlation.configuration) for correlation in probe.correlations}
    return probe.correlations if len(names) == 1 else []


def _rows(probe: Probe) -> list[list[str]]:
    return [
        [
            f"{language.language}  {describe(language.language).name}",
            *([one_decimal(language.bits_per_sentence)] if probe.is_parallel else []),
            f"{language.bits_per_character:.3f}",
            _three_digits(language.pseudo_perplexity),
            "–" if language.pieces_per_word is None else f"{language.pieces_per_word:.2f}",
            *_score(probe, language.language),
        ]
        for language in sorted(probe.languages, key=lambda language: language.value(probe.measure))
    ]


def _score(probe: Probe, language: str) -> list[str]:
    """Return the score cell in %, or a dash for a language trained on or not evaluated.

    There is no such cell unless all correlations are of one configuration.
    """
    if not _only(probe):
        return []
    value = _only(probe)[0].scores.get(language)
    return ["–" if value is None else one_decimal(100 * value)]


def _three_digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"  # 3.10, to be read below 3.11


def _ranked_title(probe: Probe) -> str:
    return "Does less surprise go with more transfer? Spearman's rank correlation, −1 if it always does"


def _ranked_rows(probe: Probe) -> list[list[str]]:
    return [
        [
            _transferred(correlation),
            counted(len(correlation.scores), "languages"),
            _IN_WORDS[correlation.measure],
            "–" if correlation.rho is None else signed(correlation.rho, 2).replace("-", "−"),
            "–"
            if correlation.ci95 is None
            else " to ".join(signed(bound, 2).replace("-", "−") for bound in correlation.ci95),
            shown_p(correlation.p),
        ]
        for correlation in probe.correlations
    ]


def _transferred(correlation: Correlation) -> str:
    """Name the runs whose scores are correlated."""
    seeds = f", {seeds_in_words(correlation.seeds)}" if correlation.seeds else ""
    return f"{correlation.task}, {correlation.configuration}{seeds}"


def _notes(probe: Probe) -> list[str]:
    compared = (
        "bits per sentence compare languages whose sentences translate each other, whatever their pieces and script"
        if probe.is_parallel
        else "these sentences are not known to translate each other, so languages also differ in what they say"
    )
    notes = [
        f"Pseudo-log-likelihood: {_MASKINGS[probe.masking]}; {compared}. Pseudo-perplexity is per piece, and compares"
        " languages and models only where their pieces are alike.",
    ]
    if probe.masking != "piece" and any(language.pieces_per_word is None for language in probe.languages):
        unspaced = ", ".join(language.language for language in probe.languages if language.pieces_per_word is None)
        notes.append(
            f"{unspaced}: no spaces between words, so each piece counts as a word of its own; where words have several"
            " pieces, the language looks easier than it is."
        )
    for language in probe.languages:
        if language.unknown_piece_share >= _MANY_UNKNOWN:
            notes.append(
                f"{language.language}: {100 * language.unknown_piece_share:.0f} % of the pieces are unknown, and those"
                " are easy to predict; its numbers are too low."
            )
    if probe.n_too_long:
        notes.append(f"{probe.n_too_long} of the sentences drawn are left out, because they do not fit the encoder.")
    return notes + _notes_on_ranks(probe) + probe.notes


def _notes_on_ranks(probe: Probe) -> list[str]:
    if not probe.correlations:
        return []
    notes = [
        "p: two-sided, over random pairings, or over all of them if they are few; languages are treated as independent"
        " draws, which related ones are not. Interval: Fisher's z with Bonett and Wright's variance."
    ]
    fewest = min(len(correlation.scores) for correlation in probe.correlations)
    if fewest < FEWEST_LANGUAGES:
        few = f"{counted(fewest, 'languages')} besides the one trained on {'is' if fewest == 1 else 'are'}"
        notes.append(f"{few} too few to rank; wanted {FEWEST_LANGUAGES}.")
    elif fewest < FEWEST_FOR_INTERVAL:
        smallest = 2 / math.factorial(fewest)
        notes.append(
            f"{fewest} languages are too few for an interval (wanted {FEWEST_FOR_INTERVAL}), and with so few,"
            f" p cannot be below {smallest:.2g}."
        )
    return notes
