"""`xeval run`: fine-tune on the task's training language, evaluate in every language, print the matrix."""

from pathlib import Path
from typing import Annotated, Any

import typer

from xeval.cli.options import (
    Bundle,
    Data,
    Device,
    Dtype,
    HowToShow,
    Languages,
    MaxEval,
    MaxTrain,
    OutcomeFormat,
    Quiet,
    RecipeName,
    Results,
    Seeds,
    Sweep,
    TasksDirs,
    TestSplit,
    numbers,
    values_to_try,
    words,
)
from xeval.cli.outcome import show_outcome
from xeval.cli.screen import loading
from xeval.cli.suite import show_suite
from xeval.data.bundle import using
from xeval.definitions.registry import check_names, get_reference, get_task, is_suite

_VALUES = "Recipe values"


def _recipe_value(help_text: str) -> Any:
    """An option that stands for a value of the recipe."""
    return typer.Option(rich_help_panel=_VALUES, help=help_text)


def run(
    task: Annotated[str, typer.Argument(help="Task or suite of tasks: its name, or the path of its file.")],
    model: Annotated[
        list[str],
        typer.Option("--model", "-m", help="Alias, hub id (id@revision pins it), folder, or NAME=FOLDER; repeat it."),
    ],
    language: Languages = None,
    train_language: Annotated[
        str | None,
        typer.Option("--train-language", help="Train on this language, where there are rows in it."),
    ] = None,
    seed: Seeds = None,
    recipe: RecipeName = None,
    sweep: Sweep = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Evaluate a fine-tuned checkpoint as it is.")] = False,
    seeds_of: Annotated[
        str | None,
        typer.Option(
            "--seeds-of",
            metavar="NAME",
            help="With --no-train: the models are seeds of one training, called NAME; --seed numbers them.",
        ),
    ] = None,
    every_checkpoint: Annotated[
        bool,
        typer.Option(
            "--every-checkpoint", help="Evaluate the training's other checkpoints too, for compare --selection."
        ),
    ] = False,
    data: Data = None,
    bundle: Bundle = None,
    results: Results = Path("results"),
    max_train: MaxTrain = None,
    max_eval: MaxEval = None,
    test_split: TestSplit = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    tasks_dir: TasksDirs = None,
    quiet: Quiet = False,
    output_format: HowToShow = OutcomeFormat.terminal,
    epochs: Annotated[float | None, _recipe_value("Passes over the training rows.")] = None,
    max_steps: Annotated[int | None, _recipe_value("Optimizer steps, if these end before the epochs.")] = None,
    batch_size: Annotated[int | None, _recipe_value("Pairs per step.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", "--lr", rich_help_panel=_VALUES, help="AdamW's, after warm-up.")
    ] = None,
    warmup_share: Annotated[float | None, _recipe_value("Of all steps.")] = None,
    warmup_steps: Annotated[int | None, _recipe_value("Steps of warm-up, in place of a share.")] = None,
    weight_decay: Annotated[float | None, _recipe_value("AdamW's, not on biases and layer norms.")] = None,
    adam_beta1: Annotated[float | None, _recipe_value("AdamW's, of the mean of gradients.")] = None,
    adam_beta2: Annotated[float | None, _recipe_value("AdamW's, of the mean of squared gradients.")] = None,
    adam_epsilon: Annotated[float | None, _recipe_value("AdamW's.")] = None,
    max_grad_norm: Annotated[float | None, _recipe_value("Longer gradients are clipped to this L2 norm.")] = None,
    max_length: Annotated[int | None, _recipe_value("Pieces per pair.")] = None,
    adaptation: Annotated[str | None, _recipe_value("full, lora, or frozen: the head alone is trained.")] = None,
    layers_frozen: Annotated[
        int | None, _recipe_value("Leave the embeddings and so many of the lowest layers as they are.")
    ] = None,
    lora_rank: Annotated[int | None, _recipe_value("Of LoRA's matrices.")] = None,
    lora_alpha: Annotated[float | None, _recipe_value("Divided by the rank, it scales their product.")] = None,
    lora_dropout: Annotated[float | None, _recipe_value("Of what they read.")] = None,
    lora_targets: Annotated[str | None, _recipe_value("query-value or all-linear.")] = None,
    layer: Annotated[int | None, _recipe_value("Layer that vectors are made of, where nothing is trained.")] = None,
    pooling: Annotated[str | None, _recipe_value("Of what in it: mean or 'first token'.")] = None,
    selection: Annotated[str | None, _recipe_value("english-dev, english-dev-loss or last.")] = None,
    selection_rows: Annotated[int | None, _recipe_value("Select on the first so many development rows.")] = None,
    evaluate_every_steps: Annotated[
        int | None, _recipe_value("Optimizer steps between selections; default: an epoch.")
    ] = None,
    patience: Annotated[int | None, _recipe_value("Selections without improvement before stopping.")] = None,
) -> None:
    """Fine-tune models on a task's training language and evaluate them in all its languages.

    For a suite, on each of its tasks that there are rows for; exits with 1 if there are tasks without.
    """
    overrides = {
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "warmup_share": warmup_share,
        "warmup_steps": warmup_steps,
        "weight_decay": weight_decay,
        "adam_beta1": adam_beta1,
        "adam_beta2": adam_beta2,
        "adam_epsilon": adam_epsilon,
        "max_grad_norm": max_grad_norm,
        "max_length": max_length,
        "adaptation": adaptation,
        "layers_frozen": layers_frozen,
        "lora_rank": lora_rank,
        "lora_alpha": lora_alpha,
        "lora_dropout": lora_dropout,
        "lora_targets": lora_targets,
        "layer": layer,
        "pooling": pooling,
        "selection": selection,
        "selection_rows": selection_rows,
        "evaluate_every_steps": evaluate_every_steps,
        "patience": patience,
    }
    languages, seeds, to_try = words(language), numbers(seed), values_to_try(sweep)
    from xeval.support.progress import reporter

    options: dict[str, Any] = {
        "languages": languages,
        "train_language": train_language,
        "seeds": seeds,
        "overrides": {name: value for name, value in overrides.items() if value is not None},
        "sweep": to_try,
        "train": not no_train,
        "every_checkpoint": every_checkpoint,
        "seeds_of": seeds_of,
        "data": data,
        "results": results,
        "max_train": max_train,
        "max_eval": max_eval,
        "test_split": test_split,
        "device": device,
        "dtype": dtype,
        "tasks_dirs": tasks_dir or (),
        "reporter": reporter(quiet),
    }
    with using(bundle):
        check_names(task, model, languages, recipe, tasks_dir or ())
        with loading(quiet):
            from xeval.runs import grid
        if is_suite(task, tasks_dir or ()):
            from xeval.runs.suite import run_suite

            outcome = run_suite(task, model, recipe=recipe, **options)
            return show_suite(outcome, task, output_format, results, tasks_dir or (), quiet)
        table = get_task(task, tasks_dir or ()).default_reference  # of a task file that may lie anywhere
        if table is not None:
            get_reference(table)  # one that is not there is refused before anything is trained
        runs = grid.run_grid(task, [(name, recipe) for name in model], **options)
        show_outcome(runs, table, output_format, results, tasks_dirs=tasks_dir or ())
