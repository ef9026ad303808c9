"""Where the time of a training step goes: the profiler's kernels or operators, by purpose."""

import re
import time
from collections import defaultdict

import numpy as np
from tabulate import tabulate
from torch.autograd.profiler_util import EventList
from torch.profiler import ProfilerActivity, profile

from benchmarks import inputs
from benchmarks.ours import recipe
from xeval.engine.devices import choose
from xeval.engine.training import fine_tune

# The first pattern that matches the name of a kernel (GPU) or operator (processor) decides.
PURPOSES = {
    "attention": r"flash|fmha|_Attention",
    "matrix products": r"gemm|gemv|nvjet|cutlass|cublas|aten::(add)?b?mm|mkldnn_linear|aten::linear",
    "AdamW and clipping": r"multi_tensor|adam|foreach",
    "copies and casts": r"copy|Memcpy|aten::cat",
    "fills": r"[Ff]ill|Memset|zero_",
}
LENGTH = 41  # pieces, the mean of XNLI's training pairs


def split(architecture: str) -> str:
    """Return a Markdown table of milliseconds per step and share by purpose, in the arithmetic chosen here."""
    compute = choose("auto", "auto")
    on_gpu = compute.device.type == "cuda"
    n_warm, n_steps = (100, 100) if on_gpu else (2, 3)
    model = inputs.classifier(architecture, compute.device)
    pairs = inputs.pairs_of(np.full((n_warm + 2 * n_steps) * inputs.BATCH_SIZE, LENGTH))
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    profiler, ended = profile(activities=[activity]), list[float]()

    def watch(loss: float, learning_rate: float) -> None:
        ended.append(time.perf_counter())
        if len(ended) == n_warm + n_steps:
            profiler.start()

    chosen = recipe(n_warm + 2 * n_steps)
    fine_tune(inputs.KIND, model, pairs, chosen, chosen.learning_rate, 0, compute, lambda: 0.0, watch)
    profiler.stop()
    plain_ms, profiled_ms = (
        1e3 * (ended[last - 1] - ended[last - n_steps - 1]) / n_steps for last in (n_warm + n_steps, len(ended))
    )
    lines = _lines(profiler.key_averages(), n_steps, on_gpu)
    busy_ms = sum(ms for _, ms, _ in lines)
    if on_gpu:
        lines.append(("between kernels: launches and waiting", plain_ms - busy_ms, 0.0))
    total_ms = plain_ms if on_gpu else busy_ms
    rows = [(purpose, f"{ms:.2f}", f"{100 * ms / total_ms:.0f} %", f"{n:.0f}" if n else "") for purpose, ms, n in lines]
    title = f"{architecture}, {compute.dtype_name}: {plain_ms:.2f} ms a step, {profiled_ms:.2f} while profiled"
    header = [title, "ms", "share", "kernels" if on_gpu else "calls"]
    return tabulate(rows, header, "pipe", disable_numparse=True, colalign=["left", "right", "right", "right"])


def _lines(events: EventList, n_steps: int, on_gpu: bool) -> list[tuple[str, float, float]]:
    """Return (purpose, milliseconds per step, calls per step), largest first."""
    ms, calls = defaultdict[str, float](float), defaultdict[str, float](float)
    for event in events:
        own_us = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        purpose = next((name for name, words in PURPOSES.items() if re.search(words, event.key)), "everything else")
        ms[purpose] += own_us / 1e3 / n_steps
        calls[purpose] += event.count / n_steps
    return sorted(((purpose, ms[purpose], calls[purpose]) for purpose in ms), key=lambda line: -line[1])
