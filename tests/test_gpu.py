"""On a CUDA device, the numbers are those of plain transformers. Skipped without such a device."""

import math
from functools import cache

import numpy as np
import pytest
import torch
import transformers

from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
    without_dropout,
)
from tests.helpers.encoder_types import NO_DROPOUT, T5_LIKE, TYPES, tiny_checkpoint
from tests.helpers.plain_tasks import TASKS, hold_to_plain_transformers
from tests.helpers.tiny_training import PAIRS, into, plain_losses, recipe
from xeval.data.model_files import find_checkpoint
from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import can_pack, logits_of, packed
from xeval.engine.fast_path.packed_attention import NAME, attend_on_gpu, packed_attention
from xeval.engine.fast_path.packing import Sequences
from xeval.engine.fast_path.resident import ResidentPairs
from xeval.engine.loading import load_pretrained, load_tokenizer
from xeval.engine.prediction import predict_logits
from xeval.engine.steps import step_on_device
from xeval.engine.training import fine_tune
from xeval.runs.plan import plan_grid
from xeval.support.errors import TrainingError

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

N_ROWS, MAX_LENGTH = 64, 48
ROWS = np.arange(N_ROWS)
FLOAT32, BFLOAT16 = (Compute(torch.device("cuda"), dtype) for dtype in (torch.float32, torch.bfloat16))
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2e-2}


def pairs_for(architecture: str):
    return encode(KIND, tiny_tokenizer(architecture), labelled_pairs("en", make_pairs("en", N_ROWS)), MAX_LENGTH)


def model_on_gpu(architecture: str, **overrides) -> torch.nn.Module:
    return tiny_model(architecture, len(tiny_tokenizer(architecture)), **overrides).cuda()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """`checkpoint(model_type)`: a tiny one without dropout, made once."""

    @cache
    def make(model_type: str):
        if model_type not in transformers.CONFIG_MAPPING:
            pytest.skip(f"this transformers has no {model_type}")
        folder = tmp_path_factory.mktemp("encoder")
        return find_checkpoint(str(tiny_checkpoint(folder, model_type, **NO_DROPOUT)))

    return make


def padded_logits(model, pairs, compute: Compute) -> torch.Tensor:
    with compute.autocast():
        return model(**collate(pairs, ROWS, model.config, compute.device)).logits.float()


@pytest.mark.parametrize("compute", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_padded_model(architecture, compute):
    model, pairs = model_on_gpu(architecture).eval(), pairs_for(architecture)
    with torch.no_grad():
        expected = padded_logits(model, pairs, compute).cpu().numpy()
    difference = np.abs(predict_logits(model, pairs, compute) - expected).max()
    assert difference < TOLERANCE[compute.dtype]


@pytest.mark.parametrize("compute", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_the_padded_model(architecture, compute):
    model, pairs = model_on_gpu(architecture, **without_dropout(architecture)).train(), pairs_for(architecture)
    labels = torch.from_numpy(pairs.targets).cuda()
    torch.nn.functional.cross_entropy(padded_logits(model, pairs, compute), labels).backward()
    expected = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    with packed(model):
        resident = ResidentPairs(pairs, model.config, N_ROWS, compute.device)
        step_on_device(KIND, model, resident, torch.from_numpy(ROWS).cuda(), resident.n_tokens(ROWS), compute)
    squares = [((p.grad - expected[name]) ** 2).sum() for name, p in model.named_parameters()]
    size = math.sqrt(sum(float((gradient**2).sum()) for gradient in expected.values()))
    assert math.sqrt(float(sum(squares))) < (1 if compute is FLOAT32 else 2000) * 1e-5 * size


PACKED = [name for name in TYPES if name not in ("deberta-v2", "gte", "mpnet", *T5_LIKE)]


@pytest.mark.parametrize("model_type", PACKED)
def test_bfloat16_of_each_type_matches_the_padded_model(checkpoint, model_type):
    own = checkpoint(model_type)
    model, tokenizer = load_pretrained(own, KIND, seed=1).cuda(), load_tokenizer(own, 96)
    assert can_pack(model)
    encoded = encode(KIND, tokenizer, TASKS["pairs"].rows, 96)
    rows = np.arange(len(encoded))
    labels = torch.from_numpy(encoded.targets).cuda()

    def computed() -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 3) logits, and all gradients, concatenated."""
        model.zero_grad()
        with BFLOAT16.autocast():
            if model.config._attn_implementation == NAME:
                logits = logits_of(model, encoded, rows, BFLOAT16).float()
            else:
                padded = collate(encoded, rows, model.config, BFLOAT16.device)
                logits = model(**padded).logits.float()
        torch.nn.functional.cross_entropy(logits, labels).backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        return logits.detach(), torch.cat([gradient.float().flatten() for gradient in gradients])

    expected, expected_gradients = computed()
    with packed(model):
        logits, gradients = computed()
    assert (logits - expected).norm() < 0.03 * expected.norm()
    assert (gradients - expected_gradients).norm() < 0.1 * expected_gradients.norm()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("model_type", PACKED)
def test_tasks_match_plain_transformers(checkpoint, model_type, name):
    """With so many steps that most are replayed by graphs."""
    own, head = checkpoint(model_type), getattr(transformers, TASKS[name].kind.head)
    if transformers.CONFIG_MAPPING[model_type] not in head._model_mapping:
        pytest.skip(f"transformers has no {TASKS[name].kind.head} of {model_type}")
    chosen, said = recipe(batch_size=4, max_length=96, max_steps=8, learning_rate=3e-4, adam_epsilon=1e-6), []
    hold_to_plain_transformers(own, TASKS[name], FLOAT32, chosen, say=said.append)
    assert said == []


@pytest.mark.parametrize("n_queries", [27, 5], ids=["all tokens", "first tokens"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_dropout_keeps_the_mean(dtype, n_queries):
    torch.manual_seed(0)
    query = torch.randn(1, 2, n_queries, 32, device="cuda", dtype=dtype)
    key, value = (torch.randn(1, 2, 27, 32, device="cuda", dtype=dtype) for _ in range(2))
    offsets = torch.tensor([0, 9, 16, 23, 26, 27], dtype=torch.int32, device="cuda")
    sequences = Sequences(offsets, (), torch.arange(5, device="cuda"), max_length=9)

    def attended(dropout: float) -> torch.Tensor:
        if n_queries == 27:
            return packed_attention(None, query, key, value, None, sequences=sequences, dropout=dropout)[0].float()
        parts = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))
        return attend_on_gpu(*parts, sequences, dropout).float()

    draws = torch.stack([attended(0.3) for _ in range(400)])
    error = draws.std(0) / len(draws) ** 0.5
    assert (draws[0] - draws[1]).abs().max() > 0.1
    assert ((draws.mean(0) - attended(0.0)).abs() < 5 * error + 0.02).all()


@pytest.mark.parametrize("is_recorded", [False, True], ids=["launched", "graph"])
@pytest.mark.parametrize("n_queries", [27, 5], ids=["all tokens", "first tokens"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_use_the_dropout_of_the_output(dtype, n_queries, is_recorded):
    """The output is M · value, with M for what was not dropped, and the gradient Mᵀ · g, so ⟨g, M v⟩ = ⟨Mᵀ g, v⟩."""
    torch.manual_seed(0)
    query = torch.randn(n_queries, 2, 32, device="cuda", dtype=dtype)
    key, value, g = (torch.randn(n, 2, 32, device="cuda", dtype=dtype) for n in (27, 27, n_queries))
    offsets = torch.tensor([0, 9, 16, 23, 26, 27], dtype=torch.int32, device="cuda")
    sequences = Sequences(offsets, (), torch.arange(5, device="cuda"), max_length=9)
    value.requires_grad_()

    def both_products() -> torch.Tensor:
        attended = attend_on_gpu(query, key, value, sequences, 0.5)
        [of_value] = torch.autograd.grad(attended, value, g)
        return torch.stack([(g.float() * attended.float()).sum(), (of_value.float() * value.float()).sum()])

    drawn = []
    if is_recorded:
        both_products()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            products = both_products()
    for _ in range(20):
        if is_recorded:
            graph.replay()
        drawn.append((products if is_recorded else both_products()).detach().clone())
    forward, backward = torch.stack(drawn).T  # (20,) each
    assert forward.std() > 1
    torch.testing.assert_close(backward, forward, rtol=0, atol=1e-3 if dtype == torch.float32 else 0.5)


@pytest.mark.parametrize("n_queries", [160, 4], ids=["all tokens", "first tokens"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_differs_between_sequences_and_heads(dtype, n_queries):
    """Four sequences of 40 tokens, and both heads of each, are identical except for what is dropped."""
    torch.manual_seed(0)
    value = torch.randn(40, 1, 32, device="cuda", dtype=dtype).repeat(4, 2, 1)
    zeros = torch.zeros_like(value)
    offsets = torch.arange(0, 161, 40, dtype=torch.int32, device="cuda")
    sequences = Sequences(offsets, (), torch.arange(4, device="cuda"), max_length=40)
    attended = attend_on_gpu(zeros[:n_queries], zeros, value, sequences, 0.5)
    first = attended.unflatten(0, (4, -1))[:, 0].flatten(0, 1)  # (sequences · heads, size)
    assert len(first.unique(dim=0)) == 8


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_fifty_steps_match_the_plain_loops_losses(architecture):
    """Most steps are replayed by graphs; the first of each size is not."""
    chosen, said = recipe(max_steps=50, learning_rate=1e-4), []
    losses: list[float] = []
    model = model_on_gpu(architecture, **without_dropout(architecture))
    pairs = encode(KIND, tiny_tokenizer(architecture), PAIRS, chosen.max_length)
    fine_tune(KIND, model, pairs, chosen, 1e-4, 2, FLOAT32, lambda: 0.5, into(losses), say=said.append)
    expected = plain_losses(model_on_gpu(architecture, **without_dropout(architecture)), chosen, seed=2, n_steps=50)
    assert said == []
    assert max(expected) - min(expected) > 0.1
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-4)


def test_replayed_steps_draw_new_dropout_each_time():
    """One batch, repeated at a learning rate of practically zero: only dropout makes its loss differ."""
    model, losses = model_on_gpu("bert", hidden_dropout_prob=0.3), []
    pairs = encode(KIND, tiny_tokenizer("bert"), PAIRS.first(8), MAX_LENGTH)
    fine_tune(KIND, model, pairs, recipe(max_steps=30, batch_size=8), 1e-30, 2, BFLOAT16, lambda: 0.5, into(losses))
    assert len(set(losses)) == 30


def test_non_finite_loss_is_reported_with_its_step():
    model, pairs = model_on_gpu("bert"), encode(KIND, tiny_tokenizer("bert"), PAIRS.first(8), MAX_LENGTH)
    with pytest.raises(TrainingError, match=r"^the loss became (nan|inf) at step \d+; [^\n]+$") as caught:
        fine_tune(KIND, model, pairs, recipe(max_steps=300, batch_size=8), 1e35, 2, FLOAT32, lambda: 0.5)
    assert " at step 1;" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="a single GPU")
def test_second_gpu_trains_as_the_first():
    """Although the first stays the current one, whose streams would record nothing of the second's work."""
    losses: dict[int, list[float]] = {0: [], 1: []}
    chosen, pairs = recipe(max_steps=20, learning_rate=1e-4), encode(KIND, tiny_tokenizer("bert"), PAIRS, 48)
    for number, own in losses.items():
        model = model_on_gpu("bert", **without_dropout("bert")).to(f"cuda:{number}")
        compute, said = Compute(torch.device("cuda", number), torch.float32), []
        fine_tune(KIND, model, pairs, chosen, 1e-4, 2, compute, lambda: 0.5, into(own), say=said.append)
        assert said == []
    assert torch.cuda.current_device() == 0
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("compute", [FLOAT32, BFLOAT16], ids=["float32", "bfloat16"])
def test_heads_of_26_numbers_are_those_of_the_padded_model(compute):
    """As in encoders with 12 heads of 312 numbers; attention kernels take multiples of 8."""
    # Weights as large as those of narrower tiny models would magnify what kernels round differently.
    sizes = {"hidden_size": 52, "num_attention_heads": 2, "initializer_range": 0.15} | without_dropout("bert")
    model, pairs = model_on_gpu("bert", **sizes).train(), pairs_for("bert")
    labels = torch.from_numpy(pairs.targets).cuda()
    expected = padded_logits(model, pairs, compute)
    torch.nn.functional.cross_entropy(expected, labels).backward()
    expected_gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    difference = np.abs(predict_logits(model, pairs, compute) - expected.detach().cpu().numpy()).max()
    assert difference < TOLERANCE[compute.dtype]
    model.zero_grad()
    with packed(model):
        resident = ResidentPairs(pairs, model.config, N_ROWS, compute.device)
        step_on_device(KIND, model, resident, torch.from_numpy(ROWS).cuda(), resident.n_tokens(ROWS), compute)
    gradients = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    assert (gradients - expected_gradients).norm() < (1e-5 if compute is FLOAT32 else 2e-2) * expected_gradients.norm()


def test_plan_leaves_the_memory_of_the_gpu_to_the_runs(mini, checkpoint_of, tmp_path):
    words = {"data": mini.data, "results": tmp_path / "results", "seeds": [1], "device": "cuda"}
    plan_grid(str(mini.task_file), [str(checkpoint_of("bert"))], **words)
    reserved = torch.cuda.memory_reserved()
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() == reserved
