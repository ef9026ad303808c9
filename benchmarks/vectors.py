"""How fast sentences become vectors, and the most that is possible, on Tatoeba with vectors from a middle layer."""

import time
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from transformers import AutoConfig, AutoModel

from benchmarks import inputs
from benchmarks.arithmetic import gemm_peak, needed_flops
from xeval.engine.devices import choose
from xeval.engine.prediction import predict_logits
from xeval.engine.vectors import SentenceEncoder

LAYER, N_LAYERS = 8, 12
WIDTHS = {"MiniLM's": 384, "mBERT's": 768}
N_SENTENCES = 63_384  # of Tatoeba in XTREME's 36 languages, English and others
MEASURED = 400
# Pieces per sentence there, with XLM-R's vocabulary, at the 0th, 5th, … 95th percentile, and a last value that gives
# the right mean, 11.2.
LENGTHS = (4, 7, 7, 8, 8, 8, 9, 9, 9, 10, 10, 11, 11, 11, 12, 13, 13, 14, 16, 19, 40)


def vectors() -> str:
    """Return a Markdown table with an encoder of each width, in the arithmetic that is chosen for it here."""
    lines = []
    for name, width in WIDTHS.items():
        compute = choose("auto", "auto", width)
        config = AutoConfig.for_model(
            "bert", vocab_size=119_547, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=N_LAYERS
        )
        model: Any = SentenceEncoder(AutoModel.from_config(config).to(compute.device).eval(), LAYER, "mean")
        config.num_hidden_layers = LAYER
        sentences = inputs.pairs_of(inputs.typical_lengths(LENGTHS, MEASURED))
        predict_logits(model, sentences.take(np.arange(64)), compute, reads="sequence")
        clock = _worked if compute.device.type == "cpu" else time.perf_counter
        started = clock()
        predict_logits(model, sentences, compute, reads="sequence")
        per_s = MEASURED / (clock() - started)
        flops = needed_flops(config, sentences.lengths, False, "every token") / MEASURED
        peak = gemm_peak(compute.dtype, clock=clock)
        line = [name, compute.dtype_name, f"{per_s:,.0f}", f"{100 * per_s * flops / peak:.0f} %"]
        lines.append([*line, f"{N_SENTENCES / per_s:,.0f}", f"{N_SENTENCES * flops / peak:,.0f}"])
    title = f"layer {LAYER} of {N_LAYERS}, width"
    header = [title, "arithmetic", "sentences/s", "of GEMM peak", "36 languages, s", "at the peak, s"]
    table = tabulate(lines, header, "pipe", disable_numparse=True, colalign=["left", "left", *["right"] * 4])
    return f"threads: {torch.get_num_threads()}\n\n{table}"


def _worked() -> float:
    """Return the seconds that each thread has worked, whatever else the processor did in the meantime."""
    return time.process_time() / torch.get_num_threads()
