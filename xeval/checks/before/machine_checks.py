"""Checks of what a run is about to do with this machine: steps and effective batch size, disk space, device."""

from pathlib import Path

from xeval.engine.snapshots import KEPT
from xeval.support.cache import can_be_written, free_bytes
from xeval.support.findings import Finding, error, fine, warning
from xeval.support.text import counted

BYTES_PER_WEIGHT = 4  # fine-tuned weights are kept in float32
SNAPSHOT_COPIES = 4  # weights, the optimizer's two moments, and the best weights so far
SNAPSHOTS = KEPT + 1  # those kept while the next is written


def check_batch(
    unit: str, batch_size: int, unchanged: int, learning_rates: tuple[float, float], n_steps: int, n_rows: int
) -> Finding:
    """Compare a run's effective batch size with the `unchanged` one of its recipe.

    Another batch size at the same learning rate gives different weights. `learning_rates` are the run's and the
    recipe's; `unit` is the name for rows.
    """
    name, (learning_rate, unchanged_rate) = "effective batch size", learning_rates
    what = f"{counted(batch_size, unit)} per step, {counted(n_steps, 'steps')} on {counted(n_rows, unit)}"
    what += f", learning rate {learning_rate:g}"
    if unchanged / 2 < batch_size < 2 * unchanged or learning_rate != unchanged_rate:
        return fine(name, what)
    return warning(
        name,
        f"{what}: the recipe has {unchanged} {unit} per step at this learning rate",
        "Leave out --batch-size, or change --learning-rate with it.",
    )


def check_disk(folder: Path, n_weights: int) -> Finding:
    """Check that fine-tuned weights and snapshots can be kept in `folder`, which need not exist yet."""
    if not can_be_written(folder):
        return warning(
            "disk space",
            f"{folder} is not writable, so fine-tuned weights are not kept and interrupted training is not resumed",
            "Set XEVAL_CACHE to a writable folder.",
        )
    free, weights = free_bytes(folder), n_weights * BYTES_PER_WEIGHT
    snapshots = weights * SNAPSHOT_COPIES * SNAPSHOTS
    evidence = (
        f"{free / 1e9:,.1f} GB free in {folder}; fine-tuned weights take {weights / 1e9:,.2f} GB, snapshots of the"
        f" training up to {snapshots / 1e9:,.2f} GB"
    )
    fix = "Free space there, or set XEVAL_CACHE to a folder with more."
    if free < weights:
        return error("disk space", evidence, fix)
    return warning("disk space", evidence, fix) if free < weights + snapshots else fine("disk space", evidence)


def check_device(device: str, arithmetic: str, hardware: dict[str, str | int], has_gpu: bool) -> Finding:
    threads = counted(int(hardware.get("threads", 1)), "threads")
    what = f"{device} ({hardware.get('gpu') or hardware.get('cpu')}), {arithmetic}, {threads}"
    if device == "cpu" and has_gpu:
        return warning("device", f"{what}; this machine has a GPU", "Leave out --device to use it.")
    return fine("device", what)
