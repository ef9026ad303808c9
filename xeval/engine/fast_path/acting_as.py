"""Temporary replacement of a loaded model's modules by ones that compute in another way."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def acting_as(
    replacement: type[torch.nn.Module], modules: Mapping[torch.nn.Module, Mapping[str, Any]]
) -> Iterator[None]:
    """While this lasts, make each of `modules` a `replacement`, a subclass of its class, with extra attributes."""
    usual = {module: type(module) for module in modules}
    for module, attributes in modules.items():
        module.__class__ = replacement
        vars(module).update(attributes)
    try:
        yield
    finally:
        for module, attributes in modules.items():
            module.__class__ = usual[module]
            for name in attributes:
                del vars(module)[name]
