"""Modules of a loaded model that compute in another way for a while."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def acting_as(
    replacement: type[torch.nn.Module], modules: Mapping[torch.nn.Module, Mapping[str, Any]]
) -> Iterator[None]:
    """While this lasts, each of `modules` is a `replacement`, a subclass of what it is, with these attributes more."""
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
