"""One run through the stages: encode, train, predict, score, store. The only room that knows their order."""

import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xeval import environment
from xeval.cache import kept_weights, weights_folder
from xeval.encode import encode, encoding_key
from xeval.encoded_cache import encoded_once
from xeval.errors import DataError, PredictionError, TrainingError
from xeval.files import locked
from xeval.models import (
    count_encoder_parameters,
    label_columns,
    load_fine_tuned,
    load_pretrained,
    load_tokenizer,
    save_fine_tuned,
)
from xeval.pair_classification import EncodedPairs, LabelledPairs
from xeval.predict import predict_logits
from xeval.predictions import save_predictions
from xeval.progress import Reporter
from xeval.records import ModelRecord, RunRecord, SelectionPoint, Timing, TrainingRecord
from xeval.run_spec import RunSpec
from xeval.score import predicted_labels, score_cell
from xeval.store import load_record, save_record
from xeval.train import count_steps, fine_tune


class OneRun:
    """One run on its way from what the results folder has of it to all the languages that are wanted."""

    def __init__(self, spec: RunSpec, results: Path, reporter: Reporter) -> None:
        self.spec, self.reporter = spec, reporter
        self.identity = spec.identity()
        self.folder = spec.folder(results)
        self.environment = environment.describe(spec.compute)
        self.name = f"{spec.checkpoint.id} {spec.recipe_name} seed {spec.seed}"

    def complete(self, languages: Sequence[str]) -> RunRecord:
        with locked(self.folder):
            record = load_record(self.folder)
            if record is not None:
                self._check_same_rows(record)
            missing = [language for language in languages if record is None or language not in record.scores]
            if record is not None and not missing:
                self.reporter.say(f"{self.name}: nothing to do, {len(languages)} languages are in {self.folder}")
                return record
            self.reporter.say(f"{self.name}: {len(missing)} of {len(languages)} languages to evaluate")
            return self._compute(record, missing)

    def _check_same_rows(self, record: RunRecord) -> None:
        corpus = self.spec.corpus
        for language, recorded in record.data.sha256.get("test", {}).items():
            if language in corpus.read_languages and corpus.sha256(corpus.test(language)) != recorded:
                raise DataError(
                    f"test rows of {language!r} differ from those that {self.folder} was scored on; use another"
                    " --results folder, or remove that one to evaluate again"
                )

    def _compute(self, record: RunRecord | None, missing: Sequence[str]) -> RunRecord:
        spec = self.spec
        tokenizer = load_tokenizer(spec.checkpoint, spec.recipe.max_length)
        try:
            model, record, missing = self._weights(tokenizer, record, missing)
            columns = label_columns(spec.checkpoint, model, spec.task)
            record = self._save(record.model_copy(update={"status": "incomplete", "failure": None}))
            encoded = self._encode(tokenizer, {language: spec.corpus.test(language) for language in missing})
            for language in missing:
                record = self._evaluate(model, columns, record, language, encoded[language])
        except (TrainingError, PredictionError) as error:
            self.reporter.say(f"{self.name}: failed: {error}")
            record = load_record(self.folder) or self._new_record(None, None)  # scores that are there already stay
            return self._save(record.model_copy(update={"status": "failed", "failure": str(error)}))
        return self._save(record.model_copy(update={"status": "complete"}))

    def _encode(self, tokenizer: Any, wanted: dict[str, LabelledPairs]) -> dict[str, EncodedPairs]:
        with self.reporter.phase("tokenize", sum(map(len, wanted.values())), "pairs") as phase:
            encoded = {}
            for name, pairs in wanted.items():
                before, max_length = phase.done, self.spec.recipe.max_length
                key = encoding_key(tokenizer, self.spec.corpus.sha256(pairs), max_length)
                encoded[name] = encoded_once(key, partial(encode, tokenizer, pairs, max_length, phase.advance))
                phase.advance(len(pairs) - (phase.done - before))  # what came from the cache
        return encoded

    def _weights(
        self, tokenizer: Any, record: RunRecord | None, missing: Sequence[str]
    ) -> tuple[Any, RunRecord, Sequence[str]]:
        """The model to evaluate, the record to add to, and the languages that then are missing from it."""
        spec = self.spec
        if not spec.train:
            model = load_fine_tuned(spec.checkpoint).to(spec.compute.device)
            return model, record or self._new_record(model, None), missing
        if record is not None and record.training is not None:
            kept = kept_weights(self.identity, record.training.weights_sha256)
            if kept is not None:
                return load_fine_tuned(spec.checkpoint, kept).to(spec.compute.device), record, missing
            self.reporter.say(f"{self.name}: its fine-tuned weights are no longer in the cache, so it is trained again")
        encoded = self._encode(tokenizer, {"train": spec.corpus.train, "selection": spec.corpus.selection})
        model, fresh = self._train(encoded["train"], encoded["selection"])
        if record is None or record.training is None or not record.scores:
            return model, fresh, missing
        if record.training.weights_sha256 == fresh.training.weights_sha256:
            return model, record, missing
        # Scores of two different sets of weights must not stand in one record.
        self.reporter.say(f"{self.name}: training again gave other weights, so all its languages are evaluated again")
        return model, fresh, list(dict.fromkeys([*record.scores, *missing]))

    def _train(self, pairs: EncodedPairs, selection: EncodedPairs) -> tuple[Any, RunRecord]:
        spec = self.spec
        n_steps = count_steps(spec.recipe, len(pairs))
        self.reporter.say(
            f"{self.name}: effective batch size {spec.recipe.batch_size} pairs, {n_steps:,} steps on {len(pairs):,}"
            f" pairs, learning rate {spec.learning_rate:g}, {spec.compute.dtype_name} on {spec.compute.device}"
        )
        model = load_pretrained(spec.checkpoint, spec.task, spec.seed).to(spec.compute.device)
        started = time.monotonic()
        with self.reporter.phase("train", n_steps, "steps") as phase:
            outcome = fine_tune(
                model,
                pairs,
                spec.recipe,
                spec.learning_rate,
                spec.seed,
                spec.compute,
                lambda: self._accuracy(model, selection),
                lambda loss: phase.advance(1, f"loss {loss:.3f}"),
            )
        wall_s = time.monotonic() - started
        curve = [SelectionPoint(step=step, accuracy=accuracy) for step, accuracy in outcome.selection_curve]
        training = TrainingRecord(
            n_steps=outcome.n_steps,
            effective_batch_size=spec.recipe.batch_size,
            loss_curve=outcome.loss_curve,
            selection=spec.recipe.selection,
            selection_curve=curve,
            chosen_step=outcome.chosen_step,
            weights_sha256=save_fine_tuned(model, weights_folder(self.identity)),
        )
        timing = {"train": Timing(wall_s=wall_s, pairs=outcome.n_pairs)}
        return model, self._new_record(model, training, timing=timing)

    def _accuracy(self, model: Any, pairs: EncodedPairs) -> float:
        return float(np.mean(predicted_labels(predict_logits(model, pairs, self.spec.compute)) == pairs.labels))

    def _evaluate(
        self, model: Any, columns: Iterable[int], record: RunRecord, language: str, pairs: EncodedPairs
    ) -> RunRecord:
        corpus = self.spec.corpus
        started = time.monotonic()
        with self.reporter.phase(f"evaluate {language}", len(pairs), "pairs") as phase:
            logits = predict_logits(model, pairs, self.spec.compute, phase.advance)[:, list(columns)]
            wall_s = time.monotonic() - started
            try:
                predicted_labels(logits)  # before anything of them is saved
            except PredictionError as error:
                raise PredictionError(f"{language}: {error}") from error
            sha256 = save_predictions(self.folder, language, logits, pairs.labels)
            score = score_cell(logits, pairs, corpus.test(language).premise_groups(), sha256)
            phase.note = f"accuracy {100 * score.accuracy:.1f}"
        hashes = record.data.sha256["test"] | {language: corpus.sha256(corpus.test(language))}
        return self._save(
            record.model_copy(
                update={
                    "scores": record.scores | {language: score},
                    "timing": record.timing | {f"evaluate/{language}": Timing(wall_s=wall_s, pairs=len(pairs))},
                    "data": self.spec.data_record(hashes),
                }
            )
        )

    def _new_record(self, model: Any, training: TrainingRecord | None, **also: Any) -> RunRecord:
        spec, checkpoint = self.spec, self.spec.checkpoint
        return RunRecord(
            identity=self.identity,
            task=spec.task.name,
            task_title=spec.task.title,
            task_note=spec.task.note,
            training_language=spec.task.training_language,
            model=ModelRecord(
                id=checkpoint.id,
                origin=checkpoint.origin,
                revision=checkpoint.revision,
                sha256=checkpoint.sha256,
                n_parameters=count_encoder_parameters(model) if model is not None else None,
                architecture=model.config.model_type if model is not None else None,
            ),
            recipe=spec.recipe_record(),
            seed=spec.seed,
            limits=spec.corpus.limits,
            data=spec.data_record({}),
            training=training,
            scores={},
            environment=self.environment,
            **{"status": "incomplete", "timing": {}} | also,
        )

    def _save(self, record: RunRecord) -> RunRecord:
        save_record(self.folder, record)
        return record
