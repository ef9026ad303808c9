"""Products in bfloat16 with copied weights match those of autocast, forward and backward."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.attention import Attention
from xeval.engine.fast_path import onednn
from xeval.engine.fast_path.half_products import half_products


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    layers = (torch.nn.Linear(24, 32), torch.nn.GELU(), torch.nn.LayerNorm(32), torch.nn.Linear(32, 3, bias=False))
    return torch.nn.Sequential(*layers)


def gradients(model: torch.nn.Module, rows: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.autocast(rows.device.type, dtype=torch.bfloat16):
        output = model(rows)
    (output.float() ** 2).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()} | {"rows": rows.grad}


def compute_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any processor compute as one with AMX, and every product as one that would leave a thread idle."""
    monkeypatch.setattr(onednn, "has_amx", onednn.is_supported)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(onednn, "leaves_a_thread_idle", lambda n_rows, n_outputs: True)


def rows(device: str = "cpu") -> torch.Tensor:
    return torch.randn(2, 50, 24, generator=torch.Generator().manual_seed(1)).to(device).requires_grad_()


@pytest.mark.parametrize("means", ["torch", "oneDNN", "oneDNN, in halves"])
def test_gradients_match_autocast_up_to_rounding(monkeypatch, means):
    if means == "torch":
        monkeypatch.setattr(onednn, "is_supported", lambda: False)
    if means == "oneDNN, in halves":
        compute_in_halves(monkeypatch)
    plain, half = network(), network()
    expected = gradients(plain, rows())
    with half_products(half):
        got = gradients(half, rows())
    for name, gradient in expected.items():
        assert got[name].dtype == torch.float32
        assert (got[name] - gradient).norm() < 1e-2 * gradient.norm(), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="a processor rounds as autocast does")
def test_rounding_error_is_smaller_than_autocasts():
    exact, plain, half = (network().cuda() for _ in range(3))
    (exact(rows("cuda")) ** 2).sum().backward()
    expected = {name: parameter.grad for name, parameter in exact.named_parameters()}
    of_autocast = gradients(plain, rows("cuda"))
    with half_products(half):
        of_half = gradients(half, rows("cuda"))

    def error(got: dict[str, torch.Tensor]) -> float:
        return float(sum((got[name] - gradient).norm() ** 2 for name, gradient in expected.items()))

    assert error(of_half) < error(of_autocast)


@pytest.mark.parametrize("in_halves", [False, True])
def test_refresh_copies_changed_weights(monkeypatch, in_halves):
    if in_halves:
        compute_in_halves(monkeypatch)
    model, x = network(), rows()
    with half_products(model) as weights, torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(x)
        with torch.no_grad():
            model[0].weight.mul_(2)
        assert torch.equal(model(x), before)
        weights.refresh()
        after = model(x)
        assert not torch.equal(after, before)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(model(x), after, rtol=2**-7, atol=2**-7)


@pytest.mark.parametrize("is_training", [True, False])
def test_model_is_restored_afterwards(is_training):
    model, x = network().train(is_training), rows()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model(x)
        with half_products(model):
            torch.testing.assert_close(model(x), before, rtol=0, atol=0)
        assert [type(layer) for layer in model] == [type(layer) for layer in network()]
        assert torch.equal(model(x), before)


def test_merged_layers_keep_their_gradients():
    plain, half = Attention(24), Attention(24)
    expected = gradients(plain, x := rows()) | {"rows": x.grad}
    with half_products(half, [half.layers]):
        got = gradients(half, x := rows()) | {"rows": x.grad}
    for name, gradient in expected.items():
        assert (got[name] - gradient).norm() < 2e-2 * gradient.norm(), name


class Multiplications(TorchDispatchMode):
    """Counts products with weights."""

    n = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.n += str(function.overloadpacket) in ("aten.mm", "aten.addmm", "aten.linear", "mkldnn._linear_pointwise")
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize(("is_merged", "n_expected"), [(True, 1), (False, 3)])
def test_merged_layers_are_one_product(is_merged, n_expected):
    model = Attention(24)
    groups = [model.layers] if is_merged else []
    with half_products(model, groups), torch.autocast("cpu", dtype=torch.bfloat16), Multiplications() as counted:
        model(rows())
    assert counted.n == n_expected


def test_merged_layers_do_not_mix_inputs():
    model = Attention(24)
    with half_products(model, [(model.key, model.value)]), torch.autocast("cpu", dtype=torch.bfloat16):
        some, other = rows(), rows() * 2
        model.key(some)  # value(some) is never requested
        keys, values = model.key(other), model.value(other)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(keys, model.key(other)) and torch.equal(values, model.value(other))
