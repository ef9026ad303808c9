"""Dropout masks have the right rate, are independent, and are the same for the same seed."""

import pytest
import torch

from xeval.engine.fast_path.dropout import faster_dropout, scaled_mask


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_dropout_follows_its_rate_and_seed(rate):
    module, ones = torch.nn.Sequential(torch.nn.Dropout(rate)), torch.ones(1001, 999)
    with faster_dropout(module):
        torch.manual_seed(0)
        first, second = module(ones), module(ones)
        torch.manual_seed(0)
        torch.testing.assert_close(module(ones), first, rtol=0, atol=0)
    dropped = first == 0
    assert abs(float(dropped.double().mean()) - rate) < 5 * (rate * (1 - rate) / ones.numel()) ** 0.5
    torch.testing.assert_close(first[~dropped], torch.full_like(first[~dropped], 1 / (1 - rate)))
    for other in (second == 0, dropped.roll(1, 0), dropped.roll(1, 1)):  # independent of the next draw and neighbours
        both = float((dropped & other).double().mean())
        assert abs(both - rate**2) < 5 * (rate**2 / ones.numel()) ** 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("rate", [0.0, 2**-16, 0.1, 0.5, 0.99])
def test_mask_holds_two_values(rate, dtype):
    mask = scaled_mask(torch.Size([7, 1001]), rate, dtype)
    assert mask.shape == (7, 1001) and mask.dtype == dtype
    kept = torch.ones((), dtype=dtype).mul_(1 / (1 - rate))
    assert set(mask.unique().tolist()) - {0.0} == {kept.item()}


def test_dropout_is_restored_after_an_error():
    module = torch.nn.Sequential(torch.nn.Dropout(0.5))
    with pytest.raises(ZeroDivisionError), faster_dropout(module):
        raise ZeroDivisionError
    assert type(module[0]) is torch.nn.Dropout
