"""One run through the stages: encode, train, predict, score, store. The only room that knows their order."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xeval import environment
from xeval.cache import checkpoints_folder, kept_weights, weights_folder
from xeval.checkpoints import Checkpoints
from xeval.encode import encode, encoding_key
from xeval.encoded_cache import encoded_once
from xeval.errors import DataError, PredictionError, StoreError, TrainingError
from xeval.files import locked
from xeval.findings import Finding
from xeval.forward import can_pack
from xeval.models import (
    count_encoder_parameters,
    encoder_shape,
    label_columns,
    load_fine_tuned,
    load_pretrained,
    load_tokenizer,
    save_fine_tuned,
)
from xeval.pair_classification import EncodedPairs, LabelledPairs
from xeval.predict import predict_logits
from xeval.predictions import load_predictions, save_predictions
from xeval.progress import Phase, Reporter
from xeval.records import Float32Check, ModelRecord, RunRecord, SelectionPoint, Timing, TrainingRecord
from xeval.run_spec import RunSpec
from xeval.score import compare_with_float32, predicted_labels, score_cell
from xeval.store import load_record, replace_by_successor, save_record, successor_folder
from xeval.train import count_steps, fine_tune

FLOAT32_ROWS = 32  # of each language, computed again in float32 where the run's arithmetic is another


class OneRun:
    """One run on its way from what the results folder has of it to all the languages that are wanted."""

    def __init__(self, spec: RunSpec, results: Path, reporter: Reporter, preflight: Sequence[Finding] = ()) -> None:
        self.spec, self.reporter = spec, reporter
        self.preflight = list(preflight)  # what was found wrong before the run
        self.identity = spec.identity()
        self.folder = self._writes_to = spec.folder(results)
        self.checkpoints = Checkpoints(checkpoints_folder(self.identity), reporter.say)
        self.environment = environment.describe(spec.compute)
        self.name = f"{spec.checkpoint.id} {spec.recipe_name} seed {spec.seed}"

    def complete(self, languages: Sequence[str]) -> RunRecord:
        with locked(self.folder):
            record, languages = self._found(languages)
            if record is not None:
                self._check_same_rows(record)
            missing = [language for language in languages if not self._is_finished(record, language)]
            if record is not None and not missing:
                self.reporter.say(f"{self.name}: nothing to do, {len(languages)} languages are in {self.folder}")
                return record
            self.reporter.say(f"{self.name}: {len(missing)} of {len(languages)} languages to evaluate")
            return self._compute(record, missing)

    def _found(self, languages: Sequence[str]) -> tuple[RunRecord | None, Sequence[str]]:
        """What there is of this run, and the languages that it has to have in the end."""
        record, successor = load_record(self.folder), load_record(successor_folder(self.folder))
        if successor is None:
            return record, languages
        old = record.scores if record is not None else {}
        if old.keys() <= successor.scores.keys():
            return replace_by_successor(self.folder), languages
        self._writes_to = successor_folder(self.folder)
        return successor, list(dict.fromkeys([*old, *languages]))

    def _is_finished(self, record: RunRecord | None, language: str) -> bool:
        if record is None or language not in record.scores:
            return False
        try:
            load_predictions(self._writes_to, language, record.scores[language].predictions_sha256)
        except StoreError as error:
            self.reporter.say(f"{self.name}: {language} is evaluated again: {error}")
            return False
        return True

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
            with locked(checkpoints_folder(self.identity)):  # other results folders share the cache
                model, record, missing = self._weights(tokenizer, record, missing)
                columns = label_columns(spec.checkpoint, model.config.id2label, spec.task)
                record = self._save(record.model_copy(update={"status": "incomplete", "failure": None}))
                self.checkpoints.clear()  # only now that the record knows of the weights
            encoded = self._encode(tokenizer, {language: spec.corpus.test(language) for language in missing})
            for language in missing:
                record = self._evaluate(model, columns, record, language, encoded[language])
                status = "complete" if language == missing[-1] else "incomplete"
                record = self._save(record.model_copy(update={"status": status}))
        except (TrainingError, PredictionError) as error:
            self.reporter.say(f"{self.name}: failed: {error}")
            self._writes_to = self.folder
            record = load_record(self.folder) or self._new_record(None, None)  # scores that are there already stay
            return self._save(record.model_copy(update={"status": "failed", "failure": str(error)}))
        return record if self._writes_to == self.folder else replace_by_successor(self.folder)

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
            model = self._on_device(load_fine_tuned(spec.checkpoint))
            return model, record or self._new_record(model, None), missing
        if record is not None and record.training is not None:
            kept = kept_weights(self.identity, record.training.weights_sha256)
            if kept is not None:
                return self._on_device(load_fine_tuned(spec.checkpoint, kept)), record, missing
            self.reporter.say(f"{self.name}: its fine-tuned weights are no longer in the cache, so it is trained again")
        encoded = self._encode(tokenizer, {"train": spec.corpus.train, "selection": spec.corpus.selection})
        model, fresh = self._train(encoded["train"], encoded["selection"])
        if record is None or record.training is None or not record.scores:
            return model, fresh, missing
        if record.training.weights_sha256 == fresh.training.weights_sha256:
            return model, record, missing
        # Scores of two different sets of weights must not stand in one record, and the old ones are kept until the new
        # ones are all there.
        self.reporter.say(f"{self.name}: training again gave other weights, so all its languages are evaluated again")
        old = load_record(self.folder) or record
        self._writes_to = successor_folder(self.folder)
        return model, fresh, list(dict.fromkeys([*old.scores, *missing]))

    def _train(self, pairs: EncodedPairs, selection: EncodedPairs) -> tuple[Any, RunRecord]:
        spec = self.spec
        n_steps = count_steps(spec.recipe, len(pairs))
        self.reporter.say(
            f"{self.name}: effective batch size {spec.recipe.batch_size} pairs, {n_steps:,} steps on {len(pairs):,}"
            f" pairs, learning rate {spec.learning_rate:g}, {spec.compute.dtype_name} on {spec.compute.device}"
        )
        model = self._on_device(load_pretrained(spec.checkpoint, spec.task, spec.seed))
        started = time.monotonic()
        with self.reporter.phase("train", n_steps, "steps") as phase:
            try:
                outcome = fine_tune(
                    model,
                    pairs,
                    spec.recipe,
                    spec.learning_rate,
                    spec.seed,
                    spec.compute,
                    lambda: self._accuracy(model, selection),
                    lambda loss: phase.advance(1, f"loss {loss:.3f}"),
                    self.checkpoints,
                    lambda step: self._resume(phase, step),
                )
            except TrainingError:
                self.checkpoints.clear()  # it would break down there again
                raise
        wall_s = time.monotonic() - started + outcome.earlier_wall_s
        curve = [SelectionPoint(step=step, accuracy=accuracy) for step, accuracy in outcome.selection_curve]
        training = TrainingRecord(
            n_steps=outcome.n_steps,
            effective_batch_size=spec.recipe.batch_size,
            batch_parts=outcome.n_parts,
            loss_curve=outcome.loss_curve,
            selection=spec.recipe.selection,
            selection_curve=curve,
            chosen_step=outcome.chosen_step,
            weights_sha256=save_fine_tuned(model, weights_folder(self.identity)),
        )
        timing = {"train": self._timing(wall_s, outcome.n_pairs)}
        return model, self._new_record(model, training, timing=timing)

    def _resume(self, phase: Phase, step: int) -> None:
        self.reporter.say(f"{self.name}: training goes on from step {step:,}, where it was interrupted")
        phase.advance(step)

    def _on_device(self, model: Any) -> Any:
        if not can_pack(model):
            kind = model.config.model_type
            self.reporter.say(f"{self.name}: padded batches, since packed ones are not tested with {kind} models")
        return model.to(self.spec.compute.device)

    def _accuracy(self, model: Any, pairs: EncodedPairs) -> float:
        return float(np.mean(predicted_labels(predict_logits(model, pairs, self.spec.compute)) == pairs.labels))

    def _evaluate(
        self, model: Any, columns: Sequence[int], record: RunRecord, language: str, pairs: EncodedPairs
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
            premise_groups = corpus.test(language).premise_groups()
            sha256 = save_predictions(self._writes_to, language, logits, pairs.labels, premise_groups)
            score = score_cell(logits, pairs, premise_groups, sha256)
            check = self._compare_with_float32(model, columns, pairs, logits)
            phase.note = f"accuracy {100 * score.accuracy:.1f}"
        hashes = record.data.sha256["test"] | {language: corpus.sha256(corpus.test(language))}
        return record.model_copy(
            update={
                "scores": record.scores | {language: score},
                "timing": record.timing | {f"evaluate/{language}": self._timing(wall_s, len(pairs))},
                "data": self.spec.data_record(hashes),
                "float32_checks": record.float32_checks | ({language: check} if check else {}),
            }
        )

    def _compare_with_float32(
        self, model: Any, columns: Sequence[int], pairs: EncodedPairs, logits: np.ndarray
    ) -> Float32Check | None:
        """Some rows again, spread evenly over all of them; None where they were computed in float32 already."""
        compute = self.spec.compute
        if compute.dtype_name == "float32":
            return None
        rows = np.unique(np.linspace(0, len(pairs) - 1, FLOAT32_ROWS, dtype=np.int64))
        in_float32 = predict_logits(model, pairs, compute.in_float32(), rows=rows)[:, list(columns)]
        return compare_with_float32(logits[rows], in_float32)

    def _timing(self, wall_s: float, n_pairs: int) -> Timing:
        return Timing(wall_s=wall_s, pairs=n_pairs, invocation=environment.INVOCATION)

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
                **encoder_shape(model),
            ),
            recipe=spec.recipe_record(),
            seed=spec.seed,
            limits=spec.corpus.limits,
            data=spec.data_record({}),
            training=training,
            scores={},
            environment=self.environment,
            preflight=self.preflight,
            **{"status": "incomplete", "timing": {}} | also,
        )

    def _save(self, record: RunRecord) -> RunRecord:
        save_record(self._writes_to, record)
        return record
