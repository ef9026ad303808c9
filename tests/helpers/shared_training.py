"""Trainings of tiny encoders in several processes and in one, for `tests/test_ranks.py`.

`python -m torch.distributed.run --nproc-per-node=N -m tests.helpers.shared_training FOLDER CASE…` leaves the outcome of
each case in FOLDER, and checkpoints if FOLDER has a folder for them. `NAME:kill`, `NAME:terminate` and `NAME:short`
disturb the last rank: SIGKILL or SIGTERM in its third batch, or memory for only one pair at a time. In `NAME:queued`,
no rank reads its losses after each step, as on a GPU.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import AutoModelForTokenClassification

import xeval.engine.steps
from tests.helpers.checkpoints import (
    KIND,
    LABELS,
    WORDS,
    labelled_pairs,
    make_pairs,
    tiny_config,
    tiny_model,
    tiny_tokenizer,
    without_dropout,
)
from tests.helpers.plain_choices import tiny_choice_model
from xeval.definitions.recipe import Recipe
from xeval.engine.adaptation import adapt
from xeval.engine.batches import random_batches
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.followers import Training, follow, give_to_followers
from xeval.engine.loading import with_single_choices
from xeval.engine.prediction import mean_loss, predict
from xeval.engine.ranks import ALONE, Ranks, joined
from xeval.engine.remembered import remember
from xeval.engine.snapshots import Snapshots
from xeval.engine.training import fine_tune
from xeval.engine.training_progress import Outcome
from xeval.kinds.choices import ChoiceKeys, MultipleChoice
from xeval.kinds.encoded import Encoded
from xeval.kinds.kind import Kind
from xeval.kinds.rows import Rows, Table
from xeval.kinds.tags import Tagging, TagKeys
from xeval.support import termination
from xeval.support.errors import TrainingError

ROOT = Path(__file__).parents[2]
CPU = Compute(torch.device("cpu"), torch.float32)
N_PAIRS, N_TESTED = 25, 250  # 25 make three batches of 8 and one of a single row
MOMENT = 3  # the batch in which the signal is sent
SEED = 3


@dataclass
class Case:
    """A model to train, and rows to predict."""

    kind: Kind
    model: torch.nn.Module
    rows: Encoded
    tested: Encoded
    recipe: Recipe


def recipe(**values) -> Recipe:
    defaults = {"warmup_share": 0.3, "weight_decay": 0.1, "selection": "english-dev", "evaluate_every_steps": 3}
    ends = {"learning_rate": 1e-3, "batch_size": 8, "epochs": 3.0, "max_length": 48}
    return Recipe(name="r", description="d", **(defaults | ends | values))


def pairs(dropout: bool = False, **values) -> Case:
    chosen = recipe(**values)
    settings = {"id2label": dict(enumerate(LABELS)), **({} if dropout else without_dropout("bert"))}
    model = tiny_model("bert", len(tiny_tokenizer("bert")), **settings)
    adapt(model, chosen, seed=7, has_pooler=True, name="tiny")
    rows, tested = (
        encode(KIND, tiny_tokenizer("bert"), labelled_pairs(language, make_pairs(language, n)), 48)
        for language, n in (("en", N_PAIRS), ("de", N_TESTED))
    )
    if chosen.adaptation == "frozen":
        rows, tested = (remember(model, each, KIND.reads, CPU) for each in (rows, tested))
    return Case(KIND, model, rows, tested, chosen)


def diverging() -> Case:
    """Losses are not numbers from the second step on, if not from the first; each third is a point of the curve."""
    case = pairs(epochs=75.0, evaluate_every_steps=300)
    _, second, *_ = random_batches(N_PAIRS, case.recipe.batch_size, SEED, 0)
    places, longest = np.arange(N_PAIRS), case.rows.lengths.argmax()
    places[[longest, second[0]]] = second[0], longest
    with torch.no_grad():
        case.model.bert.embeddings.position_embeddings.weight[case.rows.lengths.max() - 1 :] = torch.nan
    return replace(case, rows=case.rows.take(places))


def tags() -> Case:
    rng, names = np.random.default_rng(0), ("O", "B-PER", "I-PER")
    kind = Tagging(TagKeys(labels=names))

    def encoded(n: int) -> Encoded:
        words = [rng.choice(WORDS["en"], rng.integers(3, 30)).tolist() for _ in range(n)]
        columns = {"tokens": words, "tags": [rng.choice(names, len(each)).tolist() for each in words]}
        rows = kind.read(Table("en", "test", "test-en.jsonl", columns, {}))
        return encode(kind, tiny_tokenizer("bert"), rows, 48)

    torch.manual_seed(0)
    config = tiny_config("bert", len(tiny_tokenizer("bert")), num_labels=3, **without_dropout("bert"))
    config.id2label = dict(enumerate(names))
    model = AutoModelForTokenClassification.from_config(config)
    return Case(kind, model, encoded(N_PAIRS), encoded(N_TESTED), recipe())


def choices() -> Case:
    rng, kind = np.random.default_rng(0), MultipleChoice(ChoiceKeys(questions={"cause": "What was the cause?"}))

    def encoded(n: int) -> Encoded:
        def texts() -> list[str]:
            return [" ".join(rng.choice(WORDS["en"], rng.integers(1, 9))) for _ in range(n)]

        columns = {"premise": texts(), "question": ["cause"] * n, "choice1": texts(), "choice2": texts()}
        columns["label"] = rng.integers(0, 2, n).tolist()
        rows: Rows = kind.read(Table("en", "test", "test-en.jsonl", columns, {}))
        return kind.encode(tiny_tokenizer("bert"), rows, 48, lambda n: None)

    model = with_single_choices(tiny_choice_model("bert", len(tiny_tokenizer("bert"))))
    return Case(kind, model, encoded(N_PAIRS), encoded(N_TESTED), recipe())


CASES = {
    "pairs": pairs,
    "last": partial(pairs, selection="last"),
    "loss": partial(pairs, selection="english-dev-loss", patience=1),
    "dropout": partial(pairs, dropout=True),
    "frozen": partial(pairs, adaptation="frozen"),
    "lora": partial(pairs, adaptation="lora", lora_dropout=0.0),
    "upper": partial(pairs, layers_frozen=1),
    "single": partial(pairs, batch_size=2),  # fewer rows than three ranks
    "tags": tags,
    "choices": choices,
}


class Often(Snapshots):
    """Saves a checkpoint after every step."""

    def is_due(self) -> bool:
        return True


def train(case: Case, ranks: Ranks = ALONE, snapshots: Snapshots | None = None, **also) -> Outcome:
    """`case` trained, and selected by the mean loss of the tested rows."""

    def loss() -> float:
        return mean_loss(case.kind, predict(case.model, case.kind, case.tested, CPU, ranks=ranks), case.tested)

    given = case.rows, case.recipe, case.recipe.learning_rate, SEED, CPU
    give_to_followers(ranks, Training(case.kind, case.model, *given, True))
    return fine_tune(
        case.kind,
        case.model,
        *given,
        lambda: -loss(),
        snapshots=snapshots,
        selection_loss=loss,
        ranks=ranks,
        **also,
    )


def weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def run_in(n_ranks: int, folder: Path, *cases: str, timeout_s: float = 240) -> subprocess.CompletedProcess:
    """Run the cases with torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}"]
    command += ["-m", "tests.helpers.shared_training", str(folder), *cases]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)


def run_forked(n_ranks: int, folder: Path, *cases: str) -> subprocess.CompletedProcess:
    """Run the cases without torchrun: one process imports everything, and its children are the ranks."""
    command = [sys.executable, "-m", "tests.helpers.shared_training", f"--forks={n_ranks}", str(folder), *cases]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)


def fork_ranks(n_ranks: int, folder: Path, names: list[str]) -> int:
    """Fork the ranks, with the environment that torchrun would set, and return the highest exit code."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(n_ranks)}
    children = []
    for rank in range(n_ranks):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            main(folder, names)
            sys.exit(0)
        children.append(child)
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


def main(folder: Path, names: list[str]) -> None:
    termination.listen()
    drawn = note_random_numbers()
    with joined() as ranks:
        is_last = ranks.rank == ranks.size - 1
        for name in names:
            drawn.clear()
            case, _, what = name.partition(":")
            if what == "queued":
                xeval.engine.steps.Steps.must_read = False
            elif is_last and what:
                let_happen(what)
            if ranks.leads:
                _lead((CASES | {"diverging": diverging})[case](), ranks, folder / name)
                ranks.give()
            else:
                follow(ranks)
            if of_ranks := ranks.gather(drawn):
                (folder / f"{name}.drawn.json").write_text(json.dumps(of_ranks))


def _lead(case: Case, ranks: Ranks, path: Path) -> None:
    resumed: list[int] = []
    kept = Often(path.parent / "checkpoints" / path.name) if (path.parent / "checkpoints").exists() else None
    try:
        outcome = train(case, ranks, kept, on_resume=resumed.append)
    except TrainingError as error:
        path.with_suffix(".json").write_text(json.dumps({"problem": str(error)}))
        return
    shared = predict(case.model, case.kind, case.tested, CPU, ranks=ranks)
    alone = predict(case.model, case.kind, case.tested, CPU)
    save_file(weights(case.model), path.with_suffix(".safetensors"))
    np.savez(path.with_suffix(".npz"), shared=shared, alone=alone)
    said = {"loss_curve": outcome.loss_curve, "n_parts": outcome.n_parts, "chosen_step": outcome.chosen_step}
    path.with_suffix(".json").write_text(json.dumps(said | {"step": outcome.step, "resumed": resumed}))


def note_random_numbers() -> list[float]:
    """The list of the random number that would be drawn next, at each batch of a training run from now on."""
    logits_of, drawn = xeval.engine.steps.logits_of, []

    def watched(model, pairs, rows, compute):
        with torch.random.fork_rng(devices=[]):
            drawn.append(torch.rand(1).item())
        return logits_of(model, pairs, rows, compute)

    xeval.engine.steps.logits_of = watched
    return drawn


def let_happen(what: str) -> None:
    logits_of, batches = xeval.engine.steps.logits_of, []

    def disturbed(model, pairs, rows, compute):
        batches.append(rows)
        if what == "kill" and len(batches) == MOMENT:
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "terminate" and len(batches) == MOMENT:
            os.kill(os.getpid(), signal.SIGTERM)
        if what == "short" and len(rows) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return logits_of(model, pairs, rows, compute)

    xeval.engine.steps.logits_of = disturbed


if __name__ == "__main__":
    if sys.argv[1].startswith("--forks="):
        sys.exit(fork_ranks(int(sys.argv[1].partition("=")[2]), Path(sys.argv[2]), sys.argv[3:]))
    main(Path(sys.argv[1]), sys.argv[2:])
