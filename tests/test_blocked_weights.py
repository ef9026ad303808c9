"""Weights laid out once for an evaluation give the same products as autocast."""

import pytest
import torch
from torch.profiler import profile

from tests.helpers.attention import Attention
from xeval.engine.devices import Compute
from xeval.engine.fast_path.blocked_weights import blocked_weights
from xeval.engine.fast_path.half_products import half_products

CPU = torch.device("cpu")
IN_BFLOAT16 = Compute(CPU, torch.bfloat16)
supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
pytestmark = pytest.mark.skipif(not supported(), reason="oneDNN has no bfloat16 on this processor")


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = (torch.nn.Linear(72, 130), torch.nn.GELU(), torch.nn.LayerNorm(130), torch.nn.Linear(130, 3, bias=False))
    return torch.nn.Sequential(*layers).eval()


def rows(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 72, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def output(model: torch.nn.Module, compute: Compute, *shape: int) -> torch.Tensor:
    with blocked_weights(model, compute), compute.autocast():
        return model(rows(*shape))


@pytest.mark.parametrize("shape", [(1,), (7,), (1, 4_096), (3, 50), (0,)])
def test_products_are_those_of_autocast(shape: tuple[int, ...]):
    model = network()
    with torch.no_grad(), IN_BFLOAT16.autocast():
        expected = model(rows(*shape))
    got = output(model, IN_BFLOAT16, *shape)
    assert got.dtype == expected.dtype == torch.bfloat16 and got.shape == expected.shape
    torch.testing.assert_close(got, expected, rtol=2**-7, atol=2**-8)


def test_weights_changed_between_evaluations_are_used():
    model = network()
    before = output(model, IN_BFLOAT16, 20)
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    assert not torch.equal(output(model, IN_BFLOAT16, 20), before)


@torch.no_grad()
def test_weights_are_laid_out_once_for_all_batches():
    model = network()
    with blocked_weights(model, IN_BFLOAT16), IN_BFLOAT16.autocast():
        first = model(rows(20))
        model[0].weight.mul_(2.0)
        assert torch.equal(model(rows(20)), first)


def learnt(model: torch.nn.Module, steps: int = 3) -> list[float]:
    """The losses of these steps of gradient descent."""
    optimizer, losses = torch.optim.SGD(model.parameters(), lr=0.1), []
    for _ in range(steps):
        loss = (model(rows(20)) - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_model_learns_after_an_evaluation_as_without_one():
    model, plain = network(), network()
    output(model, IN_BFLOAT16, 20)
    losses = learnt(model)
    assert losses == learnt(plain) == sorted(losses, reverse=True)
    assert set(model.state_dict()) == set(plain.state_dict())
    assert all(torch.equal(weight, plain.state_dict()[name]) for name, weight in model.state_dict().items())


def test_float32_stays_exact():
    model, in_float32 = network(), Compute(CPU, torch.float32)
    with torch.no_grad():
        assert torch.equal(output(model, in_float32, 20), model(rows(20)))


@torch.no_grad()
def test_layers_of_one_input_are_one_product():
    model = Attention(72).eval()
    with blocked_weights(model, IN_BFLOAT16), IN_BFLOAT16.autocast():
        expected = model(rows(20))
    with blocked_weights(model, IN_BFLOAT16, [model.layers]), IN_BFLOAT16.autocast(), profile() as profiler:
        got = model(rows(20))
    torch.testing.assert_close(got, expected, rtol=2**-7, atol=2**-8)
    assert [event.name for event in profiler.events()].count("mkldnn::_linear_pointwise") == 1


@torch.no_grad()
def test_half_products_evaluate_with_blocked_weights():
    """A checkpoint is chosen in the middle of a training run."""
    model = network()
    expected = output(model, IN_BFLOAT16, 20)
    with half_products(model), IN_BFLOAT16.autocast():
        in_training = model.train()(rows(20))
        assert torch.equal(output(model.eval(), IN_BFLOAT16, 20), expected)
        assert torch.equal(model.train()(rows(20)), in_training)
