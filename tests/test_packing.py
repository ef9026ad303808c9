"""Packed computation is padded computation, without the padding."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer

import xeval
from tests.helpers.checkpoints import (
    ARCHITECTURES,
    KIND,
    labelled_pairs,
    make_pairs,
    tiny_model,
    tiny_tokenizer,
    without_dropout,
)
from xeval.engine.batches import collate
from xeval.engine.devices import Compute
from xeval.engine.encoding import encode
from xeval.engine.fast_path.forward import can_pack, logits_of, packed
from xeval.engine.fast_path.packed_attention import attend_by_length, attend_on_gpu, attend_padded
from xeval.engine.fast_path.packing import Sequences, pack
from xeval.engine.prediction import predict_logits
from xeval.kinds.encoded import Encoded
from xeval.kinds.tokenization import Tokenization
from xeval.support.progress import Silent

CPU = Compute(torch.device("cpu"), torch.float32)
ALL = np.arange(14)


def encoded_rows(architecture: str) -> Encoded:
    return encode(KIND, tiny_tokenizer(architecture), labelled_pairs("en", make_pairs("en", len(ALL))), 128)


def classifier(architecture: str) -> torch.nn.Module:
    """In float64, so that a remaining difference is not just rounding."""
    model = tiny_model(architecture, len(tiny_tokenizer(architecture)), **without_dropout(architecture))
    return model.double().eval()


def plain_logits(model: torch.nn.Module, pairs: Encoded, rows: np.ndarray) -> torch.Tensor:
    return model(**collate(pairs, rows, model.config, CPU.device)).logits


# ── the layout of packed rows ──


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.randoms(), st.sampled_from([0, 4, 32]))
def test_packed_rows_come_out_as_they_went_in(lengths, random, granule):
    n_tokens, offsets = sum(lengths), np.cumsum([0, *lengths])
    pairs = Encoded(
        np.array([random.randrange(5, 99) for _ in range(n_tokens)], dtype=np.int32),
        np.array([random.randrange(2) for _ in range(n_tokens)], dtype=np.uint8),
        offsets,
        np.arange(len(lengths)),
        np.zeros(len(lengths), dtype=np.int64),
        Tokenization(truncated_share=0.0, unknown_piece_share=0.0, pieces_per_word=None, pieces_per_row=0.0),
    )
    rows = np.array([random.randrange(len(lengths)) for _ in range(random.randrange(1, 15))])
    inputs, sequences = pack(pairs, rows, AutoConfig.for_model("bert"), CPU.device, granule)
    of_rows = sum(lengths[row] for row in rows)
    n_filling = granule - of_rows % granule if granule else 0
    assert {tuple(tensor.shape) for tensor in inputs.values()} == {(1, of_rows + n_filling)}
    assert sequences.max_length == torch.diff(sequences.offsets).max()
    for place, row in zip(sequences.places.tolist(), rows, strict=True):
        inside = slice(*sequences.offsets[place : place + 2].tolist())
        whole = slice(*offsets[row : row + 2])
        assert inputs["input_ids"][0, inside].tolist() == pairs.input_ids[whole].tolist()
        assert inputs["token_type_ids"][0, inside].tolist() == pairs.token_type_ids[whole].tolist()
        assert inputs["position_ids"][0, inside].tolist() == list(range(lengths[row]))
    in_order = [length for n, length in sequences.runs for _ in range(n)]
    assert in_order == torch.diff(sequences.offsets).tolist()
    longest_first = in_order[: len(rows)]
    assert longest_first == sorted(longest_first, reverse=True)
    assert in_order[len(rows) :] == ([n_filling] if granule else [])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_pieces_in_texts_get_the_models_positions(architecture):
    """A text with "[PAD]" or "<pad>" in it gets that piece, which XLM-R does not count."""
    model, pairs = classifier(architecture), encoded_rows(architecture)
    ids = pairs.input_ids.copy()
    ids[pairs.offsets[3] + 2] = ids[pairs.offsets[5] + 1] = model.config.pad_token_id
    pairs = replace(pairs, input_ids=ids)
    with torch.no_grad(), packed(model):
        got = logits_of(model, pairs, ALL, CPU)
    with torch.no_grad():
        np.testing.assert_allclose(got, plain_logits(model, pairs, ALL), rtol=0, atol=1e-9)


# ── sequences do not see their neighbours ──


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_do_not_depend_on_neighbouring_sequences(architecture):
    model, pairs = classifier(architecture), encoded_rows(architecture)
    ids = pairs.input_ids.copy()
    of_row_4 = slice(pairs.offsets[4] + 1, pairs.offsets[5])
    ids[of_row_4] = np.roll(ids[of_row_4], 3)
    with torch.no_grad(), packed(model):
        before = logits_of(model, pairs, ALL, CPU)
        after = logits_of(model, replace(pairs, input_ids=ids), ALL, CPU)
        alone = torch.cat([logits_of(model, pairs, ALL[row : row + 1], CPU) for row in ALL])
    assert not torch.allclose(before[4], after[4], atol=1e-3)
    others = ALL != 4
    torch.testing.assert_close(after[others], before[others], rtol=0, atol=0)
    torch.testing.assert_close(alone, before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_attention_would_see_across_sequences(architecture):
    """Hence our own attention: with transformers' attention, the same input silently gives other results."""
    model, pairs = classifier(architecture), encoded_rows(architecture)
    inputs, sequences = pack(pairs, ALL, model.config, CPU.device)
    with torch.no_grad():
        hidden = model.base_model(**inputs)[0][:, sequences.starts]  # (1, B, hidden)
        expected = model.base_model(**pack(pairs, ALL[:1], model.config, CPU.device)[0])[0][0, 0]
    assert (hidden[0, sequences.places[0]] - expected).abs().max() > 1e-3


def test_packed_model_refuses_input_without_sequences():
    model, pairs = classifier("bert"), encoded_rows("bert")
    with packed(model), pytest.raises(TypeError, match="sequences"):
        plain_logits(model, pairs, ALL)


# ── the implementations of attention ──

LENGTHS = (9, 7, 7, 3, 1)


def sequences_of(lengths: tuple[int, ...]) -> Sequences:
    offsets = torch.tensor(np.cumsum([0, *lengths]), dtype=torch.int32)
    runs = tuple((lengths.count(length), length) for length in dict.fromkeys(lengths))
    return Sequences(offsets, runs, torch.arange(len(lengths)), max(lengths))


def one_by_one(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Softmax of scaled products, one sequence at a time (Vaswani et al. 2017, equation 1)."""
    n_queries = LENGTHS if len(query) == len(key) else [1] * len(LENGTHS)
    parts = zip(query.split(n_queries), key.split(LENGTHS), value.split(LENGTHS), strict=True)
    attended = []
    for q, k, v in parts:
        shares = torch.einsum("qhd,khd->hqk", q, k).div(q.shape[-1] ** 0.5).softmax(-1)
        attended.append(torch.einsum("hqk,khd->qhd", shares, v))
    return torch.cat(attended)


def states(n_queries: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = (n_queries, sum(LENGTHS), sum(LENGTHS))
    return [torch.randn(n, 2, 8, dtype=torch.float64, generator=generator, requires_grad=True) for n in sizes]


@pytest.mark.parametrize("n_queries", [sum(LENGTHS), len(LENGTHS)], ids=["all tokens", "first tokens"])
def test_attention_and_gradient_match_sequence_by_sequence(n_queries):
    inputs = states(n_queries)
    got, expected = attend_by_length(*inputs, sequences_of(LENGTHS), 0.0), one_by_one(*inputs)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for mine, reference in zip(
        torch.autograd.grad((got * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, reference, rtol=0, atol=1e-12)
    with torch.no_grad():
        detached = [tensor.detach() for tensor in inputs]
        torch.testing.assert_close(
            attend_by_length(*detached, sequences_of(LENGTHS), 0.0), expected, rtol=0, atol=1e-12
        )


@pytest.mark.parametrize("n_queries", [sum(LENGTHS), len(LENGTHS)], ids=["all tokens", "first tokens"])
def test_dropout_changes_each_draw_and_not_the_mean(n_queries):
    torch.manual_seed(0)
    inputs = [tensor.detach() for tensor in states(n_queries)]
    draws = torch.stack([attend_by_length(*inputs, sequences_of(LENGTHS), 0.3) for _ in range(150)])
    expected = one_by_one(*inputs)
    assert (draws[0] - draws[1]).abs().max() > 0.1
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - expected).abs() < 5 * error + 1e-9).all()


@pytest.mark.parametrize("n_queries", [sum(LENGTHS), len(LENGTHS)], ids=["all tokens", "first tokens"])
def test_gradient_under_dropout_passes_gradcheck(n_queries):
    def attended(*inputs: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(0)  # the same draw each time
        return attend_by_length(*inputs, sequences_of(LENGTHS), 0.3)

    assert torch.autograd.gradcheck(attended, states(n_queries), fast_mode=True)


# ── the whole model ──


def gradients(model: torch.nn.Module, logits: torch.Tensor) -> dict[str, torch.Tensor]:
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(logits)) % 3)
    names, parameters = zip(*model.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_match_those_of_the_padded_model(architecture):
    """In float32, as in training; relative to the size of the whole gradient."""
    model, pairs = classifier(architecture).float().train(), encoded_rows(architecture)
    expected = gradients(model, plain_logits(model, pairs, ALL))
    with packed(model):
        got = gradients(model, logits_of(model, pairs, ALL, CPU))
    difference = torch.sqrt(sum(((got[name] - expected[name]) ** 2).sum() for name in expected))
    size = torch.sqrt(sum((gradient**2).sum() for gradient in expected.values()))
    assert difference < 1e-5 * size
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-5, atol=1e-5 * float(size), msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_layer_computes_the_first_tokens_only(architecture):
    model, pairs = classifier(architecture), encoded_rows(architecture)
    n_tokens = []
    for module in model.modules():
        if getattr(module, "out_features", 0) == 24:  # the first half of each layer's feed-forward block
            module.register_forward_hook(lambda _, inputs, __: n_tokens.append(inputs[0].shape[:-1].numel()))
    with torch.no_grad(), packed(model):
        logits_of(model, pairs, ALL, CPU)
    assert n_tokens == [pairs.lengths.sum(), len(ALL)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_model_is_restored_after_packing(architecture):
    model, pairs = classifier(architecture), encoded_rows(architecture)
    with torch.no_grad():
        before = plain_logits(model, pairs, ALL)
        with pytest.raises(ZeroDivisionError), packed(model), packed(model):
            assert not torch.equal(logits_of(model, pairs, ALL, CPU), before)
            raise ZeroDivisionError
        torch.testing.assert_close(plain_logits(model, pairs, ALL), before, rtol=0, atol=0)


# ── models not known to pack ──


@pytest.mark.parametrize(
    ("architecture", "settings"),
    [
        ("mpnet", {}),
        ("bert", {"is_decoder": True}),
        ("bert", {"chunk_size_feed_forward": 1}),
    ],
    ids=["another type", "a decoder", "feed-forward in chunks"],
)
def test_models_not_known_to_pack_are_padded(architecture, settings):
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = AutoConfig.for_model(
        architecture, vocab_size=len(tiny_tokenizer("bert")), num_labels=3, initializer_range=0.3, **sizes, **settings
    )
    torch.manual_seed(0)
    model, pairs = AutoModelForSequenceClassification.from_config(config).eval(), encoded_rows("bert")
    assert not can_pack(model)
    with torch.no_grad():
        expected = model(**collate(pairs, ALL, config, CPU.device)).logits
    np.testing.assert_allclose(predict_logits(model, pairs, CPU), expected, rtol=0, atol=1e-5)


class Notes(Silent):
    """A reporter that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("architecture", ["mpnet", "bert"])
def test_run_reports_when_it_pads(architecture, mini, checkpoint_of, tmp_path):
    folder = checkpoint_of("bert")
    if architecture != "bert":
        tokenizer = AutoTokenizer.from_pretrained(folder)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
        config = AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **sizes)
        folder = tmp_path / architecture
        AutoModel.from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    notes = Notes()
    options = {"data": mini.data, "results": tmp_path / "results", "device": "cpu", "dtype": "float32"}
    (record,) = xeval.run(
        str(mini.task_file), [str(folder)], languages=["en"], overrides={"epochs": 1.0}, reporter=notes, **options
    )
    assert record.status == "complete"
    told = [line for line in notes.lines if "padded batches" in line]
    assert len(told) == (architecture != "bert") and all("mpnet" in line for line in told)


SEQUENCES = Sequences(
    torch.tensor([0, 9, 16, 23, 26, 27], dtype=torch.int32),
    ((1, 9), (2, 7), (1, 3), (1, 1)),
    torch.arange(5),
    max_length=12,
)


def random_states(*n_tokens: int) -> list[torch.Tensor]:
    """float64 tensors of shape (n_tokens, 2, 8) that require gradients."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(n, 2, 8, generator=generator, dtype=torch.float64, requires_grad=True) for n in n_tokens]


@pytest.mark.parametrize(("n_queries", "window"), [(27, 1), (27, 4), (27, 100), (27, None), (5, None)])
def test_padded_attention_matches_attention_by_length(n_queries, window):
    """The padded form is for GPUs in float32 with dropout, and for tokens that see only nearby ones."""
    (query, key, value), sequences = random_states(n_queries, 27, 27), SEQUENCES
    outputs = [attend(query, key, value, sequences, 0.0, window) for attend in (attend_by_length, attend_padded)]
    gradients = [torch.autograd.grad((output**2).sum(), (query, key, value)) for output in outputs]
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("attend", [attend_by_length, attend_padded])
@pytest.mark.parametrize("n_queries", [27, 5], ids=["all tokens", "first tokens"])
def test_gradients_use_the_dropout_of_the_output(attend, n_queries):
    """The output is M · value, with M for what was not dropped, and the gradient Mᵀ · g, so ⟨g, M v⟩ = ⟨Mᵀ g, v⟩."""
    query, key, value, g = random_states(n_queries, 27, 27, n_queries)
    for _ in range(10):
        attended = attend(query, key, value, SEQUENCES, 0.5)
        [of_value] = torch.autograd.grad(attended, value, g)
        torch.testing.assert_close((of_value * value).sum(), (g * attended).sum())


class _KernelOfGpu(TorchDispatchMode):
    """Memory-efficient attention as its kernel computes it, with what that asks of its input."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is not torch.ops.aten._efficient_attention_forward.default:
            return func(*args, **(kwargs or {}))
        query, key, value, _, of_query, of_key, *_ = args
        assert query.shape[-1] % 8 == 0, "query is not correctly aligned (strideH)"
        parts, scale = [], (kwargs or {}).get("scale", query.shape[-1] ** -0.5)
        for number in range(len(of_key) - 1):
            q = query[0, of_query[number] : of_query[number + 1]].transpose(0, 1)
            k, v = (each[0, of_key[number] : of_key[number + 1]].transpose(0, 1) for each in (key, value))
            parts.append(((q @ k.mT * scale).softmax(-1) @ v).transpose(0, 1))
        return torch.cat(parts)[None], *[torch.empty(0)] * 3, 0, 0


@pytest.mark.parametrize("n_queries", [27, 5], ids=["all tokens", "first tokens"])
@pytest.mark.parametrize("size", [26, 32])
def test_kernels_are_given_heads_of_a_size_they_take(size, n_queries):
    """As in encoders with 12 heads of 312 numbers."""
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(n, 2, size, generator=generator) for n in (n_queries, 27, 27))
    with torch.no_grad(), _KernelOfGpu():
        attended = attend_on_gpu(query, key, value, SEQUENCES, 0.0)
    torch.testing.assert_close(attended, attend_by_length(query, key, value, SEQUENCES, 0.0))
