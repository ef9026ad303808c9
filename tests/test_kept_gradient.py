"""An embedding that keeps its gradient's memory has the gradient of torch's own, bit for bit."""

import pytest
import torch

from xeval.engine.fast_path.kept_gradient import KeptGradient

IDS = torch.tensor([[3, 7, 3, 0, 1], [3, 9, 7, 1, 1]])


def embeddings(padding_idx: int | None) -> tuple[torch.nn.Embedding, KeptGradient]:
    torch.manual_seed(0)
    plain, kept = torch.nn.Embedding(12, 40, padding_idx), KeptGradient(12, 40, padding_idx)
    kept.load_state_dict(plain.state_dict())
    return plain, kept


def gradient(embedding: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    weights = torch.randn(*ids.shape, 40, generator=torch.Generator().manual_seed(1))
    (embedding(ids) * weights).sum().backward()
    return embedding.weight.grad


@pytest.mark.parametrize("padding_idx", [None, 0, 1])
def test_gradient_of_repeated_and_padding_ids(padding_idx):
    plain, kept = embeddings(padding_idx)
    assert torch.equal(kept(IDS), plain(IDS))
    assert torch.equal(gradient(kept, IDS), gradient(plain, IDS))


def test_gradients_of_parts_of_a_batch_add_up():
    plain, kept = embeddings(None)
    for part in IDS:
        expected, got = gradient(plain, part), gradient(kept, part)
    assert torch.equal(got, expected)


def test_next_step_starts_from_zero_in_the_same_memory():
    plain, kept = embeddings(None)
    first = gradient(kept, IDS).data_ptr()
    kept.zero_grad(set_to_none=True)
    assert torch.equal(gradient(kept, IDS[:, :2]), gradient(plain, IDS[:, :2]))
    assert kept.weight.grad.data_ptr() == first


def test_gradient_of_tied_weights():
    """A masked language model also multiplies by the embedding."""
    plain, kept = embeddings(None)
    for embedding in (plain, kept):
        (embedding(IDS) @ embedding.weight.T).square().sum().backward()
    torch.testing.assert_close(kept.weight.grad, plain.weight.grad, rtol=1e-5, atol=1e-5)


def test_frozen_embedding_gets_no_gradient():
    _, kept = embeddings(None)
    kept.weight.requires_grad_(False)
    assert not kept(IDS).requires_grad
