"""Attention whose queries, keys and values are layers that read one input."""

import torch


class Attention(torch.nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = (torch.nn.Linear(width, n) for n in (8, 8, 16))

    @property
    def layers(self) -> tuple[torch.nn.Linear, ...]:
        return self.query, self.key, self.value

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return (self.query(rows) @ self.key(rows).mT).softmax(-1).to(rows.dtype) @ self.value(rows).to(rows.dtype)
