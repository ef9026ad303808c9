"""One run through its stages: encode, train, predict, score, store. Only this module knows their order."""

import shlex
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xeval.definitions.task import Task
from xeval.engine import environment
from xeval.engine.adaptation import adapt, count_trained
from xeval.engine.encoded_cache import encoded_once
from xeval.engine.encoding import encode, encoding_keys
from xeval.engine.fast_path.forward import can_pack
from xeval.engine.followers import Evaluation, Training, give_to_followers
from xeval.engine.loading import (
    brings_head,
    brings_pooler,
    failures_named,
    load_encoder,
    load_fine_tuned,
    load_pretrained,
    load_tokenizer,
    save_fine_tuned,
)
from xeval.engine.prediction import mean_loss, predict
from xeval.engine.ranks import current
from xeval.engine.remembered import remember
from xeval.engine.snapshots import Snapshots
from xeval.engine.training import count_steps, fine_tune
from xeval.engine.vectors import SentenceEncoder
from xeval.judging.score import compare_with_float32, judge, score_of
from xeval.kinds.encoded import Encoded
from xeval.kinds.rows import Rows
from xeval.results.adaptations import in_words
from xeval.results.candidates import MOST_PREDICTIONS, GatheredPredictions
from xeval.results.predictions import save_predictions
from xeval.results.records import Failure, Float32Check, Invocation, RunRecord, SelectionPoint, Timing, TrainingRecord
from xeval.results.run_on_disk import RunOnDisk
from xeval.results.store import StoredRun, load_record, own_weights
from xeval.runs.callbacks import Callback, Listeners, RunBegun
from xeval.runs.candidates import EveryCheckpoint, LanguageRows, SnapshotsBehindEvaluated
from xeval.runs.provenance import check_labels, check_metric, check_same_rows, new_record, seeds_of
from xeval.runs.spec import RunSpec
from xeval.support.cache import checkpoints_folder, forget_unused, kept_weights, weights_folder, weights_in
from xeval.support.errors import DataError, PredictionError, StoreError, TrainingError
from xeval.support.findings import Finding
from xeval.support.locks import held_in_cache, locked
from xeval.support.progress import Phase, Reporter
from xeval.support.sealed import copy_sealed
from xeval.support.termination import postponed
from xeval.support.text import counted, metric_in_words, one_decimal

FLOAT32_ROWS = 32  # of each language, computed again in float32 if the run uses another arithmetic


class Selection:
    """Measures a model on the selection rows: the metric, and the loss of the same predictions."""

    def __init__(self, task: Task, rows: Rows, encoded: Encoded, outputs_of: Callable[[Encoded], np.ndarray]) -> None:
        self._task, self._rows, self._encoded, self._outputs_of = task, rows, encoded, outputs_of
        self._outputs = np.zeros((0, 0))  # of the last measurement
        self.last = 0.0  # the metric of the last measurement

    def score(self) -> float:
        kind, self._outputs = self._task.of_kind, self._outputs_of(self._encoded)
        judged = judge(kind, self._outputs, self._encoded, self._rows)
        self.last = kind.measure(self._task.metric).over(judged.tally)
        return self.last

    def loss(self) -> float:
        """Return the loss of the predictions that `score` has just measured."""
        return mean_loss(self._task.of_kind, self._outputs, self._encoded)


class OneRun:
    """Takes one run from what the results folder already has of it to all the requested languages."""

    def __init__(  # noqa: PLR0913  what is run, and how
        self,
        spec: RunSpec,
        folder: Path,  # of the run
        reporter: Reporter,
        preflight: Sequence[Finding] = (),  # what was found wrong before the run
        every_checkpoint: bool = False,  # also evaluate the checkpoints that are not chosen
        known: Sequence[StoredRun] = (),  # other runs, some of which may have the same training
        keep_weights: bool = False,  # in the run's folder
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.spec, self.reporter, self.every_checkpoint = spec, reporter, every_checkpoint
        self.keep_weights = keep_weights
        self.kind, self.ranks = spec.task.of_kind, current()
        self.invocation = Invocation(environment=environment.describe(spec.compute), preflight=list(preflight))
        self.name = spec.in_words
        self.disk = RunOnDisk(folder)
        others = [run for run in known if run.folder != folder]
        self.trained = [run for run in others if spec.shares_training_with(run.record)]
        record = self.disk.newest()
        if record is not None:  # these are checked now, before other runs of a grid are trained
            check_metric(record, spec.task, folder)
        self._check_seeds(seeds_of(record or new_record(spec, None), others))
        self.identity = record.identity if record is not None else spec.identity()
        self.sweep = spec.sweep or (record.sweep if record is not None else None)
        self.state_folder = checkpoints_folder(self.identity, spec.task.metric)  # of the training
        self.snapshots = Snapshots(self.state_folder, reporter.say)
        self.listeners = Listeners(callbacks, spec.compute.device, self._say)
        self.gathered = GatheredPredictions(self.state_folder / "evaluated")
        self.model_of_trial: Any = None  # the checkpoint's own, if the comparison before the run kept it for the run

    def may_read(self, languages: Sequence[str]) -> list[str]:
        """Return `languages`, and the others whose test rows this run may need.

        A repeated training may give other weights, and then every existing score has to be computed again.
        """
        record = self.disk.newest()
        if record is None or not self.spec.train:
            return list(languages)
        unknown = self._unknown_at_checkpoints(record, languages)
        if not unknown and (not self.disk.unfinished(record, languages) or self._kept_weights(record) is not None):
            return list(languages)
        return list(dict.fromkeys([*languages, *self.disk.languages()]))

    def has_work(self, languages: Sequence[str]) -> bool:
        """Return whether anything in `languages` is still to be computed."""
        record = self.disk.newest()
        unknown = self._unknown_at_checkpoints(record, languages)
        return record is None or bool(unknown or self.disk.unfinished(record, languages))

    def needs_training(self, languages: Sequence[str]) -> bool:
        """Return whether what is still to be computed in `languages` takes a training run."""
        if not self.spec.train or not self.has_work(languages):
            return False
        record = self.disk.newest()
        if self._unknown_at_checkpoints(record, languages):
            return True
        trained = [run.record for run in self.trained]
        if record is not None and record.training is not None:
            trained = [record]
        return all(self._kept_weights(each) is None for each in trained)

    def is_settled(self) -> bool:
        """Return whether a run without work stays as its folder has it: complete, and with the model's published name
        if that is known."""
        record = self.disk.newest()
        if record is None or record.status != "complete" or self.keep_weights:
            return False
        is_named = self.spec.checkpoint.published_as in (None, record.model.published_as)
        return is_named and record == load_record(self.disk.folder)

    def check_rows(self, languages: Sequence[str]) -> None:
        """Raise DataError if a repeated training may have to be evaluated on rows that cannot be read."""
        for language in languages:
            try:
                self.spec.corpus.test(language)
            except DataError as error:
                raise DataError(
                    f"{self.name} has to be trained again, and the new weights have to be evaluated in {language!r}"
                    f" too, but {error}; use another --results folder to avoid that"
                ) from error

    def complete(self, languages: Sequence[str]) -> StoredRun:
        """Compute what is missing in `languages`, and return the run."""
        with locked(self.disk.folder, self._say):
            record, languages = self.disk.resume(languages)
            if record is not None:
                record = self._with_published_name(self._as_declared(self._with_labels(record)))
                check_metric(record, self.spec.task, self.disk.folder)
                self._check_same_rows([StoredRun(self.disk.folder, record)])
                record = self._with_sweep(record)
            missing = self.disk.unfinished(record, languages)
            for language, problem in missing.items():
                if problem:
                    self._say(f"{language} is evaluated again: {problem}")
            unknown = self._unknown_at_checkpoints(record, languages)
            if record is not None and not missing and not unknown:
                self._say(f"nothing to do, {counted(len(languages), 'languages')} in {self.disk.folder}")
                if record.failures or record.status != "complete":  # of languages no longer requested
                    record = self.disk.save(record.model_copy(update={"status": "complete", "failures": {}}))
            else:
                self._say(f"{len(missing)} of {counted(len(languages), 'languages')} to evaluate")
                with self.listeners.following(self._begun, self.disk.newest):
                    record = self._compute(record, list(missing), unknown)
            if self.keep_weights and record.training is not None:
                self._keep_weights(record)
        if self.every_checkpoint and record.status == "complete":
            folder = shlex.quote(str(self.disk.folder))
            self._say(f"what each checkpoint scored: xeval compare {folder} --selection")
        return StoredRun(self.disk.folder, record)

    def _begun(self) -> RunBegun:
        spec = self.spec
        seed = spec.seed if spec.train else None
        named = self.name, spec.task.name, spec.task.metric, spec.checkpoint.id, spec.recipe_name
        return RunBegun(*named, spec.recipe_record().values, seed, self.identity, self.disk.folder)

    def train_only(self, keep: Callable[[RunRecord], None]) -> None:
        """Train, and `keep` a record of the training without scores, or of its failure; read no test rows.

        The weights are deleted, and nothing is written to the run's folder.
        """
        with held_in_cache(self.state_folder, self._say), ExitStack() as until_kept:
            try:
                _, record = self._train(
                    load_tokenizer(self.spec.checkpoint, self.spec.recipe.max_length), None, until_kept
                )
                record = record.model_copy(update={"status": "complete"})
            except (TrainingError, PredictionError) as error:
                failure = Failure(reason=str(error), invocation=environment.INVOCATION)
                record = self._signed(self._new_record(None)).model_copy(
                    update={"status": "failed", "failures": {"train": failure}}
                )
            keep(record)
            self.snapshots.clear()  # only after the record is kept
            shutil.rmtree(weights_folder(self.identity), ignore_errors=True)

    def _say(self, line: str) -> None:
        self.reporter.say(f"{self.name}: {line}")

    def _unknown_at_checkpoints(self, record: RunRecord | None, languages: Sequence[str]) -> list[str]:
        """Return the languages in which a checkpoint is not yet evaluated; none unless all checkpoints are wanted."""
        if not self.every_checkpoint:
            return []
        known = self.disk.known_at_checkpoints(record)
        return [language for language in languages if known is None or language not in known]

    def _with_labels(self, record: RunRecord) -> RunRecord:
        """Return `record`, with the labels and chance level of its task if it is an old record without labels."""
        if record.labels is not None:
            return record
        return record.model_copy(update={"labels": list(self.kind.labels) or None, "chance": self.kind.chance})

    def _as_declared(self, record: RunRecord) -> RunRecord:
        """Return `record` as one of several seeds, if its checkpoint is declared to be one now."""
        declared = self.spec.declared
        if declared is None or (declared.name, declared.seed) == (record.model.id, record.seed):
            return record
        model = record.model.model_copy(update={"id": declared.name})
        changes = {"model": model, "seed": declared.seed, "declared": self.spec.checkpoint.id}
        return self.disk.save(record.model_copy(update=changes))

    def _with_sweep(self, record: RunRecord) -> RunRecord:
        """Note in an existing record that a sweep chose its values, if one did."""
        if record.sweep == self.sweep:
            return record
        return self.disk.save(record.model_copy(update={"sweep": self.sweep}))

    def _with_published_name(self, record: RunRecord) -> RunRecord:
        """Note in the record of a local model that its folder is now known to hold a published model."""
        own, model = self.spec.checkpoint, record.model
        if model.origin != "local" or own.published_as in (None, model.published_as):
            return record
        changes = {"published_as": own.published_as, "published_by": own.published_by}
        return self.disk.save(record.model_copy(update={"model": model.model_copy(update=changes)}))

    def _check_seeds(self, seeds: Sequence[StoredRun]) -> None:
        """Raise XevalError if other seeds have other labels or test rows: their mean would be of different things."""
        check_labels(self.spec.task, seeds)
        if seeds:  # a trial of a sweep has none, and reads no test rows
            self._check_same_rows(seeds)

    def _check_same_rows(self, runs: Iterable[StoredRun]) -> None:
        corpus = self.spec.corpus
        check_same_rows({language: corpus.test(language).sha256 for language in corpus.read_languages}, runs)

    def _compute(self, record: RunRecord | None, missing: Sequence[str], unknown: Sequence[str]) -> RunRecord:
        """Evaluate the `missing` languages, and every checkpoint if any languages are `unknown` for the checkpoints."""
        spec = self.spec
        tokenizer = load_tokenizer(spec.checkpoint, spec.recipe.max_length)
        # Other results folders share the cache.
        with held_in_cache(self.state_folder, self._say), ExitStack() as until_kept:
            try:
                model, record, missing = self._weights(tokenizer, record, missing, unknown, until_kept)
                status = "incomplete" if missing else "complete"
                record = self.disk.save(record.model_copy(update={"status": status, "failures": {}}))
                self.snapshots.clear()  # only after the record names the weights
            except (TrainingError, PredictionError) as error:
                return self._fail({"train": error})
        give_to_followers(self.ranks, Evaluation(model, spec.compute))
        encoded = self._encode(tokenizer, {language: spec.corpus.test(language) for language in missing})
        record, failures = self._evaluate_all(model, record, encoded)
        return self._fail(failures) if failures else self.disk.finish(record)

    def _evaluate_all(
        self, model: Any, record: RunRecord, encoded: Mapping[str, Encoded]
    ) -> tuple[RunRecord, dict[str, Exception]]:
        """Evaluate language by language, saving after each. Also returns what failed, by phase."""
        failures: dict[str, Exception] = {}
        n_rows = sum(len(self.spec.corpus.test(language)) for language in encoded)
        n = sum(map(len, encoded.values()))
        with self.reporter.phase("evaluate", n, self.kind.unit if n == n_rows else "sequences") as phase:
            for language in encoded:
                phase.advance(0, language)
                try:
                    record = self._evaluate(model, record, language, encoded[language], phase)
                except PredictionError as error:
                    failures[f"evaluate/{language}"] = error
                    continue
                status = "complete" if language == list(encoded)[-1] and not failures else "incomplete"
                record = self.disk.save(record.model_copy(update={"status": status}))
                self.listeners.tell("on_score", language, record.scores[language])
            scores = [
                f"{code} {one_decimal(100 * record.scores[code].value)}" for code in encoded if code in record.scores
            ]
            phase.note = f"{metric_in_words(self.spec.task.metric)}: {', '.join(scores)}" if scores else ""
        return record, failures

    def _fail(self, errors: Mapping[str, Exception]) -> RunRecord:
        """Record the failures by phase; finished scores stay as they are."""
        for error in errors.values():
            self._say(f"failed: {error}")
        failures = {
            phase: Failure(reason=str(error), invocation=environment.INVOCATION) for phase, error in errors.items()
        }
        return self.disk.fail(failures, {environment.INVOCATION: self.invocation}, lambda: self._new_record(None))

    def _encode(self, tokenizer: Any, rows_by_name: dict[str, Rows]) -> dict[str, Encoded]:
        with self.reporter.phase("tokenize", sum(map(len, rows_by_name.values())), self.kind.unit) as phase:
            encoded, problems, max_length = {}, list[str](), self.spec.recipe.max_length
            hashes = {name: rows.sha256 for name, rows in rows_by_name.items()}
            keys = encoding_keys(self.kind, tokenizer, hashes, max_length)
            for name, rows in rows_by_name.items():
                before = phase.done
                encode_them = partial(encode, self.kind, tokenizer, rows, max_length, phase.advance)
                with failures_named(self.spec.checkpoint, f"its tokenizer fails on the rows of {name}"):
                    encoded[name] = encoded_once(keys[name], encode_them, problems.append)
                phase.skip(len(rows) - (phase.done - before))  # what came from the cache
        for problem in problems[:1]:  # the others are like it
            self._say(problem)
        return encoded

    def _weights(
        self,
        tokenizer: Any,
        record: RunRecord | None,
        missing: Sequence[str],
        unknown: Sequence[str],
        until_kept: ExitStack,
    ) -> tuple[Any, RunRecord, Sequence[str]]:
        """Return the model to evaluate, the record to add to, and the languages that are then missing from it.

        After a training run, SIGTERM waits until the caller has kept the result and closes `until_kept`.
        """
        spec = self.spec
        if not spec.train:
            model, record = self._as_it_is(record)
            return model, record, missing
        record = self._with_known_training(record, unknown)
        trained = record.training if record else None
        if record and trained and not unknown:
            kept = self._kept_weights(record)
            if kept is not None:
                model = load_fine_tuned(spec.checkpoint, self.kind, kept, trained.weights_sha256)
                return self._on_device(model), record, missing
            self._say("its fine-tuned weights are no longer in the cache, so it is trained again")
        elif trained:
            self._say(f"not all its checkpoints were evaluated in {' '.join(unknown)}, so it is trained again")
        self.check_rows(self.disk.languages())
        if record is not None:
            self._check_same_rows([StoredRun(self.disk.folder, record)])
        every = self._every_checkpoint(tokenizer, record, unknown)
        model, fresh = self._train(tokenizer, every, until_kept)
        assert fresh.training is not None  # since it has just been trained
        if not record or not trained or not record.scores:
            record = fresh
        elif trained.weights_sha256 != fresh.training.weights_sha256:
            # One record must not mix scores of two different sets of weights.
            self._say("training again gave different weights, so all its languages are evaluated again")
            missing = list(dict.fromkeys([*self.disk.start_successor(record), *missing]))
            record = fresh
        if every is not None:
            steps = [point.step for point in fresh.training.selection_curve]
            self.gathered.seal(steps, every.languages, fresh.training.weights_sha256, self.disk.writes_to)
        return model, record, missing

    def _as_it_is(self, record: RunRecord | None) -> tuple[Any, RunRecord]:
        """Return the checkpoint's own model, already fine-tuned or an encoder alone, and the record to add to."""
        spec = self.spec
        if self.kind.trains:
            model = self._on_device(self.model_of_trial or load_fine_tuned(spec.checkpoint, self.kind))
            self.model_of_trial = None  # so that it is freed after its evaluation
            return model, record or self._new_record(model)
        encoder = load_encoder(spec.checkpoint, self.kind)
        record = record or self._new_record(encoder)  # before layers are cut off
        assert spec.recipe.layer and spec.recipe.pooling  # ensured by `fitting` and `with_layer`
        return self._on_device(SentenceEncoder(encoder, spec.recipe.layer, spec.recipe.pooling)), record

    def _with_known_training(self, record: RunRecord | None, unknown: Sequence[str]) -> RunRecord | None:
        """Return `record`, or, if it has no training, a new one with that of another run whose weights are kept.

        If languages are `unknown` for the checkpoints, no other run's training is used: this run needs its own.
        """
        has_training = record is not None and record.training is not None
        for run in () if has_training or unknown else self.trained:
            if (kept := self._kept_weights(run.record)) is None:
                continue
            self._say(f"its training is the same as that of {run.folder}, and is not repeated")
            training, made_by = run.record.training, run.record.training and run.record.training.invocation
            sha256 = training.weights_sha256 if training is not None else None
            record = self._new_record(load_fine_tuned(self.spec.checkpoint, self.kind, kept, sha256))
            if training and run.record.data.sha256.get("selection") != record.data.sha256.get("selection"):
                training = training.model_copy(update={"selection_curve": []})  # it was measured on other rows
            return record.model_copy(
                update={
                    "training": training,
                    "timing": {phase: timing for phase, timing in run.record.timing.items() if phase == "train"},
                    "invocations": {
                        name: invocation for name, invocation in run.record.invocations.items() if name == made_by
                    },
                }
            )
        return record

    def _kept_weights(self, record: RunRecord) -> Path | None:
        """Return the folder of the fine-tuned weights of `record`, kept by any run that shares its training."""
        if record.training is None:
            return None
        sha256 = record.training.weights_sha256
        for folder in (self.disk.folder, *(run.folder for run in self.trained)):
            if (own := weights_in(own_weights(folder), sha256)) is not None:
                return own
        known = [self.identity, *(run.record.identity for run in self.trained)]
        return next((kept for identity in known if (kept := kept_weights(identity, sha256)) is not None), None)

    def _keep_weights(self, record: RunRecord) -> None:
        """Copy the weights of `record` into the run's folder, unless they are already there."""
        kept, own = self._kept_weights(record), own_weights(self.disk.folder)
        if kept is None:
            self._say(
                f"its fine-tuned weights are no longer in the cache and cannot be kept; remove {self.disk.folder} to"
                " train it again"
            )
        elif kept != own:
            try:
                copy_sealed(kept, own)
            except OSError as error:
                raise StoreError(
                    f"{own}: fine-tuned weights cannot be kept: {error.strerror}; free space and run the command again"
                ) from error

    def _every_checkpoint(
        self, tokenizer: Any, record: RunRecord | None, unknown: Sequence[str]
    ) -> EveryCheckpoint | None:
        """Return the evaluator of every checkpoint, in the `unknown` languages and those known before; None if only the
        chosen checkpoint is wanted."""
        if not self.every_checkpoint:
            self.gathered.clear()  # maybe of another training, among whose checkpoints this one would leave gaps
            return None
        known = self.disk.known_at_checkpoints(record) or ()
        tests = {language: self.spec.corpus.test(language) for language in dict.fromkeys([*known, *unknown])}
        encoded = self._encode(tokenizer, tests)
        rows = {
            language: LanguageRows(of_language, encoded[language], of_language.sha256)
            for language, of_language in tests.items()
        }
        return EveryCheckpoint(self.kind, self.spec.task.metric, self.gathered, rows)

    def _train(self, tokenizer: Any, every: EveryCheckpoint | None, until_kept: ExitStack) -> tuple[Any, RunRecord]:
        """Fine-tune a model, and return it with its record.

        SIGTERM waits until `until_kept` is closed, since the steps after the last checkpoint are saved nowhere else.
        """
        spec = self.spec
        rows = dict(spec.corpus.training)
        if "selection" in rows:
            rows["selection"] = rows["selection"].first(spec.recipe.selection_rows)
        encoded = self._encode(tokenizer, rows)
        n_trained_on = len(encoded["train"]) // self.kind.sequences_together
        unit = self.kind.unit if n_trained_on == len(rows["train"]) else "sequences"
        n_steps = count_steps(spec.recipe, n_trained_on)
        self._say(
            f"effective batch size {counted(spec.recipe.batch_size, unit)}, {counted(n_steps, 'steps')} on"
            f" {counted(n_trained_on, unit)}, learning rate {spec.learning_rate:g}, {spec.compute.dtype_name} on"
            f" {spec.compute.device}{f', shared by {self.ranks.size} ranks' if self.ranks.size > 1 else ''}"
        )
        self._check_selections(n_steps, every)
        snapshots = self.snapshots
        if every is not None:
            snapshots = SnapshotsBehindEvaluated(snapshots.folder, self._say, every)
        model, merge, left_out_head = self._adapted()
        started = time.monotonic()
        if spec.recipe.adaptation == "frozen":
            encoded = self._remember(model, encoded)
        outputs_of = partial(self._outputs, model)
        selection = None
        if "selection" in rows:
            selection = Selection(spec.task, rows["selection"], encoded["selection"], outputs_of)
        arguments = encoded["train"], spec.recipe, spec.learning_rate, spec.seed, spec.compute
        give_to_followers(self.ranks, Training(self.kind, model, *arguments, selection is not None))
        until_kept.enter_context(postponed())
        with self.reporter.phase("train", n_steps, "steps") as phase:
            try:
                outcome = fine_tune(
                    self.kind,
                    model,
                    *arguments,
                    selection.score if selection else None,
                    partial(self._at_step, phase),
                    snapshots,
                    lambda step: self._resume(phase, step),
                    lambda step: self._at_checkpoint(every, step, model, phase, selection),
                    self._say,
                    selection.loss if selection else None,
                    self.ranks,
                )
            except TrainingError:
                self.snapshots.clear()  # a training run resumed from them would break down again
                raise
        merge()
        if message := forget_unused("weights"):
            self._say(message)
        wall_s = time.monotonic() - started + outcome.earlier_wall_s - outcome.aside_wall_s
        losses = dict(outcome.selection_losses)
        curve = [
            SelectionPoint(step=step, value=value, loss=losses.get(step)) for step, value in outcome.selection_curve
        ]
        training = TrainingRecord(
            n_steps=outcome.n_steps,
            effective_batch_size=spec.recipe.batch_size,
            batch_parts=outcome.n_parts,
            loss_curve=outcome.loss_curve,
            selection=spec.recipe.selection,
            selection_curve=curve,
            chosen_step=outcome.chosen_step,
            left_out_head=left_out_head,
            weights_sha256=save_fine_tuned(model, weights_folder(self.identity), spec.checkpoint, self._say),
            invocation=environment.INVOCATION,
        )
        timed_by = None if outcome.earlier_wall_s else environment.INVOCATION  # None: by several, maybe on two machines
        timing = {"train": Timing(wall_s=wall_s, rows=outcome.n_pairs, invocation=timed_by)}
        return model, self._signed(self._new_record(model)).model_copy(update={"training": training, "timing": timing})

    def _check_selections(self, n_steps: int, every: EveryCheckpoint | None) -> None:
        """Raise TrainingError if the training would measure more checkpoints than can be read back."""
        recipe = self.spec.recipe
        n_selections = n_steps // (recipe.evaluate_every_steps or n_steps or 1)
        n_predictions = n_selections * max(1, len(every.languages) if every is not None else 0)
        if n_predictions > MOST_PREDICTIONS:
            times = f" times {counted(len(every.languages), 'languages')}" if every is not None else ""
            raise TrainingError(
                f"recipe {recipe.name} measures {counted(n_selections, 'checkpoints')}{times}; wanted at most"
                f" {MOST_PREDICTIONS:,}: raise evaluate_every_steps"
            )

    def _adapted(self) -> tuple[Any, Callable[[], None], bool]:
        """Return the model to train, a function that makes it an ordinary model after the training, and whether the
        checkpoint's own head is left out."""
        spec = self.spec
        model = load_pretrained(spec.checkpoint, self.kind, spec.seed)
        left_out_head = brings_head(spec.checkpoint, model)
        if left_out_head:
            self._say(f"the checkpoint's own head is left out, and a new one drawn from seed {spec.seed}")
        merge = adapt(model, spec.recipe, spec.seed, brings_pooler(spec.checkpoint), spec.checkpoint.id)
        n_trained, n = count_trained(model)
        if n_trained < n:
            self._say(f"{in_words(spec.recipe_record().values)}: {n_trained:,} of {n:,} parameters are trained")
        return self._on_device(model), merge, left_out_head

    def _remember(self, model: Any, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        """Run the encoder once, and return the rows with what the head reads of each."""
        n, unit = sum(map(len, encoded.values())), self.kind.unit
        with self.reporter.phase("encode", n, unit if self.kind.sequences_together == 1 else "sequences") as phase:
            return {
                name: remember(model, each, self.kind.reads, self.spec.compute, phase.advance, can_pack(model))
                for name, each in encoded.items()
            }

    def _resume(self, phase: Phase, step: int) -> None:
        self._say(f"training resumes at step {step:,}, where it was interrupted")
        phase.skip(step)

    def _at_step(self, phase: Phase, loss: float, learning_rate: float) -> None:
        phase.advance(1, f"loss {loss:.3f}")
        self.listeners.tell("on_step", phase.done, loss, learning_rate)

    def _at_checkpoint(
        self, every: EveryCheckpoint | None, step: int, model: Any, phase: Phase, selection: Selection | None
    ) -> Iterator[str]:
        if selection is not None:
            self.listeners.tell("on_selection", step, selection.last)
        if every is None:
            return
        languages = []
        for language in every.evaluate(step, model, partial(self._outputs, model)):
            languages.append(language)
            phase.advance(0, f"step {step:,} evaluated in {language}")
            yield language
        self._say(f"the checkpoint of step {step:,} is evaluated in {counted(len(languages), 'languages')}")

    def _on_device(self, model: Any) -> Any:
        if not can_pack(model):
            kind = model.config.model_type
            self._say(f"padded batches, since packed ones are not tested with {kind} models")
        return model.to(self.spec.compute.device)

    def _outputs(self, model: Any, encoded: Encoded) -> np.ndarray:
        return predict(model, self.kind, encoded, self.spec.compute, ranks=self.ranks)

    def _evaluate(self, model: Any, record: RunRecord, language: str, encoded: Encoded, phase: Phase) -> RunRecord:
        corpus, metric = self.spec.corpus, self.spec.task.metric
        rows = corpus.test(language)
        started = time.monotonic()
        try:
            outputs = predict(model, self.kind, encoded, self.spec.compute, phase.advance, self.ranks)
        except PredictionError as error:
            raise PredictionError(f"{language}: {error}") from error
        wall_s = time.monotonic() - started
        judged = judge(self.kind, outputs, encoded, rows)
        parts = judged.answers, judged.tally, judged.groups, judged.places
        sha256 = save_predictions(self.disk.writes_to, language, *parts)
        score = score_of(self.kind, metric, judged, encoded.tokenization, sha256, environment.INVOCATION)
        check = self._compare_with_float32(model, encoded, rows, outputs)
        hashes = record.data.sha256["test"] | {language: rows.sha256}
        timing = Timing(wall_s=wall_s, rows=len(rows), invocation=environment.INVOCATION)
        return self._signed(record).model_copy(
            update={
                "scores": record.scores | {language: score},
                "timing": record.timing | {f"evaluate/{language}": timing},
                "data": self.spec.data_record(hashes),
                "float32_checks": record.float32_checks | ({language: check} if check else {}),
            }
        )

    def _compare_with_float32(
        self, model: Any, encoded: Encoded, rows: Rows, outputs: np.ndarray
    ) -> Float32Check | None:
        """Predict some evenly spread rows again in float32, and compare; None if the run itself is in float32."""
        compute = self.spec.compute
        if compute.dtype_name == "float32":
            return None
        numbers = np.unique(np.linspace(0, len(rows) - 1, FLOAT32_ROWS, dtype=np.int64))
        sequences = np.flatnonzero(np.isin(encoded.row_of, numbers))
        some, some_rows = encoded.take(sequences), rows.take(numbers)
        places = encoded.tokens_of(sequences) if self.kind.reads == "every token" else sequences
        both = outputs[places], predict(model, self.kind, some, compute.in_float32(), ranks=self.ranks)
        answers = [judge(self.kind, each, some, some_rows).answers for each in both]
        return compare_with_float32(both[0], both[1], answers[0], answers[1])

    def _new_record(self, model: Any) -> RunRecord:
        return new_record(self.spec, model).model_copy(update={"identity": self.identity, "sweep": self.sweep})

    def _signed(self, record: RunRecord) -> RunRecord:
        """Return `record` with this invocation among those that contributed to it."""
        return record.model_copy(update={"invocations": record.invocations | {environment.INVOCATION: self.invocation}})
