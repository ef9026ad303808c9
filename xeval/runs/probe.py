"""The masked-LM probe: a checkpoint and the test sentences of a task → how surprised it is by each language."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xeval.data.corpus import Corpus
from xeval.data.layouts import local_copy
from xeval.data.model_files import Checkpoint, find_checkpoint
from xeval.data.source import open_source
from xeval.definitions import registry
from xeval.definitions.task import Task
from xeval.engine import devices
from xeval.engine.loading import failures_named, hidden_size, load_masked_lm, load_tokenizer, longest_input
from xeval.engine.masked_lm import Masking, Pieces, mask_id_of, pieces_of, pseudo_log_likelihoods
from xeval.judging.comparison.resampling import agree
from xeval.judging.probe import Correlation, LanguageProbe, Probe, correlations, measure_of
from xeval.kinds.rows import Rows, groups_of
from xeval.results.records import Limits
from xeval.results.store import StoredRun, load_runs
from xeval.support.errors import DataError, DefinitionError, UnknownNameError
from xeval.support.progress import Reporter, Silent
from xeval.support.text import is_unspaced

LONGEST = 512  # pieces per sentence, even if the encoder takes more: each piece costs a pass over all of them


def probe(  # noqa: PLR0913  takes what `run` takes
    model: str,
    task: str = "xnli",
    *,
    text: str | None = None,
    languages: Sequence[str] = (),
    masking: str = Masking.word_l2r,
    max_rows: int = 200,
    seed: int = 0,
    data: str | os.PathLike[str] | None = None,
    results: str | os.PathLike[str] = "results",
    device: str = "auto",
    dtype: str = "auto",
    tasks_dirs: Sequence[str | os.PathLike[str]] = (),
    reporter: Reporter | None = None,
) -> Probe:
    """Let a masked language model predict each piece of a task's test sentences, in every language.

    Args:
        model: alias, hub id (`id@revision`) or folder of a checkpoint with its masked-LM head.
        task: name or path of the task whose test sentences are read; their answers are not used.
        text: which text of a row; by default the first, such as the premise, or the last if the task trains nothing.
        languages: codes; all of the task's by default.
        masking: "word-l2r" or "piece".
        max_rows: the largest number of sentences in each language, all different, drawn with `seed`; if they are
            translations of each other, the same ones in all languages.
        seed: of that draw.
        data: a local copy of the task's data.
        results: folder with runs of this model, whose scores the languages are ranked by too.
        device: "auto", "cpu", "cuda" or "cuda:N".
        dtype: "auto", "float32" or "bfloat16".
        tasks_dirs: folders with further task files.
        reporter: receives progress; silent by default.

    Raises XevalError for anything that cannot be used, such as a checkpoint without its head.
    """
    reporter = reporter or Silent()
    if max_rows < 1:
        raise DefinitionError(f"max_rows: wanted a number of rows of at least 1, got {max_rows}")
    definition = registry.get_task(task, [Path(folder) for folder in tasks_dirs])
    codes = registry.check_languages(definition, languages)
    checkpoint = find_checkpoint(model)
    masked_lm: Any = load_masked_lm(checkpoint)
    tokenizer = load_tokenizer(checkpoint, 1)
    mask_id = mask_id_of(checkpoint.id, tokenizer)
    compute = devices.choose(device, dtype, hidden_size(checkpoint))
    with failures_named(checkpoint, f"it cannot be moved to {compute.device}"):
        masked_lm.to(compute.device)
    corpus = Corpus(open_source(definition, local_copy(data), codes, training=False), Limits())
    tests = {language: corpus.test(language) for language in codes}
    name, parallel = _text_of(definition, tests[codes[0]], text), are_parallel(definition, list(tests.values()))
    columns = {language: _texts(rows, name) for language, rows in tests.items()}
    spaced = {language: not is_unspaced(texts) for language, texts in columns.items()}
    chosen = choose(columns, parallel, max_rows, seed)
    longest = min(LONGEST, longest_input(checkpoint) or LONGEST)
    pieces, n_too_long = _that_fit(
        {
            language: pieces_of(tokenizer, [columns[language][row] for row in rows], spaced[language])
            for language, rows in chosen.items()
        },
        longest,
        parallel,
    )
    probes = []
    for language, own in pieces.items():
        with reporter.phase(f"{checkpoint.id} on {language}", int(own.n_text_pieces.sum()), "pieces") as phase:
            likelihoods = pseudo_log_likelihoods(
                masked_lm, own, mask_id, Masking(masking), compute, on_pieces=phase.advance
            )
        probes.append(_of_language(language, own, likelihoods, spaced[language]))
    ranked, notes = _beside_transfer(probes, parallel, checkpoint, Path(results))
    return Probe(
        model=checkpoint.id,
        model_sha256=checkpoint.sha256,
        task=definition.name,
        text=name,
        masking=str(Masking(masking)),
        dtype=compute.dtype_name,
        seed=seed,
        n_available=min(len(set(filter(str.strip, column))) for column in columns.values()),
        n_too_long=n_too_long,
        is_parallel=parallel,
        languages=probes,
        correlations=ranked,
        notes=notes,
    )


def are_parallel(task: Task, tests: Sequence[Rows]) -> bool:
    """Return whether row i is assumed to say the same in every language, because nearly all right answers are the same.

    In a task that trains nothing, the answers are row numbers, which do not tell, so the result is False.
    """
    if not task.of_kind.trains:
        return False
    first = _answers(tests[0])
    return all(agree(first, _answers(rows)) for rows in tests[1:])


def _answers(rows: Rows) -> list[Any]:
    return rows.gold.tolist() if isinstance(rows.gold, np.ndarray) else [_plain(answer) for answer in rows.gold]


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _text_of(task: Task, rows: Rows, text: str | None) -> str:
    names = list(rows.texts)
    if text is None:
        return names[0] if task.of_kind.trains else names[-1]  # without training, the first is English in all languages
    if text not in names:
        raise UnknownNameError(f"text of the rows of {task.name}", text, names)
    return text


def _texts(rows: Rows, name: str) -> list[str]:
    """Return the texts of `rows`; words are joined, with spaces if the script has them."""
    column = rows.texts[name]
    space = "" if is_unspaced("".join(value) for value in column) else " "
    return [value if isinstance(value, str) else space.join(value) for value in column]


def choose(columns: Mapping[str, Sequence[str]], parallel: bool, max_rows: int, seed: int) -> dict[str, list[int]]:
    """Choose the rows to read in each language, no sentence twice, in file order.

    If sentences are parallel, the rows are the same in all languages, and no sentence of the first one is there twice.
    """
    chosen: dict[str, list[int]] = {}
    for language, texts in columns.items():
        if parallel and chosen:
            chosen[language] = next(iter(chosen.values()))
            continue
        others = list(columns.values()) if parallel else [texts]
        _, first = np.unique(groups_of(texts), return_index=True)
        rows = [int(row) for row in first if all(column[row].strip() for column in others)]
        if not rows:
            raise DataError(f"{language}: wanted sentences to probe, found none with letters")
        drawn = np.random.default_rng(seed).permutation(len(rows))[:max_rows]
        chosen[language] = [rows[place] for place in sorted(drawn.tolist())]
    return chosen


def _that_fit(pieces: Mapping[str, Pieces], longest: int, parallel: bool) -> tuple[dict[str, Pieces], int]:
    """Return the sentences that are not too long and have a piece (if parallel, in every language), and the number of
    others in the language with most of them."""
    fits = {language: (own.encoded.lengths <= longest) & (own.n_text_pieces > 0) for language, own in pieces.items()}
    if parallel:
        in_all: np.ndarray = np.logical_and.reduce(list(fits.values()))
        fits = {language: in_all for language in fits}  # noqa: C420  dict.fromkeys loses the type
    for language, kept in fits.items():
        if not kept.any():
            raise DataError(f"{language}: wanted sentences of at most {longest} pieces, found none")
    n_others = max(int((~kept).sum()) for kept in fits.values())
    return {language: own.take(np.flatnonzero(fits[language])) for language, own in pieces.items()}, n_others


def _of_language(language: str, pieces: Pieces, likelihoods: np.ndarray, spaced: bool) -> LanguageProbe:
    n_pieces = int(pieces.n_text_pieces.sum())
    return LanguageProbe(
        language,
        n_sentences=len(pieces.encoded),
        n_pieces=n_pieces,
        n_characters=int(pieces.n_characters.sum()),
        pieces_per_word=n_pieces / max(1, int(pieces.n_words.sum())) if spaced else None,
        unknown_piece_share=pieces.encoded.tokenization.unknown_piece_share,
        pseudo_log_likelihood=float(likelihoods.sum()),
    )


def _beside_transfer(
    probes: Sequence[LanguageProbe], parallel: bool, checkpoint: Checkpoint, results: Path
) -> tuple[list[Correlation], list[str]]:
    """Correlate what was measured with the scores of runs of the same model; a note says so if there are none."""
    measures = (measure_of(parallel), "pseudo_perplexity")
    values = {measure: {language.language: language.value(measure) for language in probes} for measure in measures}
    runs = load_runs(results)
    ranked = correlations(values, runs, checkpoint.sha256)
    if ranked:
        return ranked, []
    why = _why_unranked(runs, checkpoint)
    return [], [f"Transfer: {why} in {results}, so there is nothing to rank the languages with."]


def _why_unranked(runs: Sequence[StoredRun], checkpoint: Checkpoint) -> str:
    """Return what there is instead of a sound run of the checkpoint with scores."""
    own = [run.record for run in runs if run.record.model.sha256 == checkpoint.sha256]
    if any(record.scores for record in own):
        return "only collapsed training runs of it"
    if not own and any(run.record.model.id == checkpoint.id for run in runs):
        return "only runs of other files under its name"
    return "no finished run of it"
