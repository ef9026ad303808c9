"""The published values of a cell in every source, and which of them are suspicious."""

import json

import pytest

from xeval.definitions.reference import Reference
from xeval.definitions.registry import all_references
from xeval.judging.ledger import entries, suspicions

LANGUAGES = ("en", "de", "es", "fr", "ru", "zh")
VALUES = [80.1, 70.2, 75.3, 74.4, 68.5, 66.6]


def table(name: str, *rows: dict, languages=LANGUAGES, **changes) -> Reference:
    plain = {"name": "row", "model": "org/encoder", "how": "reported", "recipe": "hf-2019"}
    made = [plain | {"cells": dict(zip(languages, VALUES, strict=True))} | row for row in rows]
    fields = {"name": name, "title": name, "task": "xnli", "split": "test", "source_url": "https://example.org"}
    return Reference.model_validate_json(json.dumps(fields | {"languages": languages, "rows": made} | changes))


def cells(values) -> dict[str, float]:
    return dict(zip(LANGUAGES, values, strict=True))


def test_every_published_cell_is_found_again():
    tables = all_references().values()
    n = 0
    for one in tables:
        for row in one.rows:
            for language, value in row.cells.items():
                found = entries(tables, one.task, row.model, language)
                assert any((entry.value, entry.row, entry.table) == (value, row, one) for entry in found)
                n += 1
    assert n > 300


def test_mbert_german_cell_has_six_published_values():
    model = "google-bert/bert-base-multilingual-cased"
    found = entries(all_references().values(), "xnli", model, "de")
    # transformers' README, Conneau et al. 2020, Wu and Dredze 2019 twice, the card of DistilmBERT, the README of BERT
    assert [(entry.value, entry.row.protocol) for entry in found] == [
        (70.94, "zero-shot"), (71.1, "zero-shot"), (71.1, "zero-shot"), (72.0, "zero-shot"), (72.3, "zero-shot"),
        (75.9, "translate-train"),
    ]  # fmt: skip
    assert [entry.row.layers_frozen for entry in found] == [None, None, 0, 6, None, None]


def test_different_adaptations_are_not_contradictions():
    low, high = (
        {"name": name, "cells": cells([value + more for value in VALUES])} for name, more in (("a", 0), ("b", 9))
    )
    assert len(suspicions([table("one", low), table("other", high)])) == 1
    assert suspicions([table("one", low), table("other", high | {"layers_frozen": 6})]) == []
    assert suspicions([table("one", low), table("other", high | {"adaptation": "lora"})]) == []


def test_swapped_averages_are_detected():
    better = [value + 2 for value in VALUES]
    mean = round(sum(VALUES) / 6, 1)
    rows = [
        {"name": "a", "claimed_average": mean + 2, "average_note": "as printed"},
        {"name": "b", "cells": cells(better), "claimed_average": mean, "average_note": "as printed"},
    ]
    found = suspicions([table("swapped", *rows)])
    assert found[0] == "swapped: the averages of 'a' and 'b' are swapped"
    assert len(found) == 3  # and neither claimed average matches its row's own cells
    right = [{"name": "a", "claimed_average": mean}, {"name": "b", "cells": cells(better), "claimed_average": mean + 2}]
    assert suspicions([table("right", *right)]) == []


@pytest.mark.parametrize("shift", [1, 2, 5])
def test_rotated_columns_are_detected(shift):
    rotated = {"cells": cells([*VALUES[-shift:], *VALUES[:-shift]])}
    [found] = suspicions([table("one", {}), table("other", rotated)])
    assert found.endswith(f"their values agree if the columns of one are shifted by {shift}")


def test_sources_far_apart_are_reported_by_language():
    far = {"cells": cells([VALUES[0], VALUES[1] - 6, *VALUES[2:]])}
    [found] = suspicions([table("one", {}), table("other", far)])
    assert found.endswith("5 points or more apart in de 70.2 and 64.2")
    near = {"cells": cells([value + 1 for value in VALUES])}
    assert suspicions([table("one", {}), table("other", near)]) == []


@pytest.mark.parametrize("change", [{"task": "paws-x"}, {"metric": "f1"}])
def test_different_tasks_or_metrics_are_not_compared(change):
    far = {"cells": cells([value - 30 for value in VALUES])}
    assert suspicions([table("one", {}), table("other", far, **change)]) == []


def test_per_language_selection_is_reported():
    [found] = suspicions([table("swept", {"selection": "swept, and the best chosen for each language"})])
    assert found.startswith("swept: 'row' is the best of several for each language")


def test_a_chosen_recipe_is_not_called_unpublished(command):
    """Wu and Dredze 2019 publish a grid of recipes; the table's file chooses one of them."""
    code, out, _ = command("cell", "xnli", "mbert", "de")
    assert code == 0 and "recipe not published" not in out
    assert "recipe wu-dredze-2019-frozen-6, chosen by the table's file; selection the best of the grid" in out
    assert "recipe hf-2019; selection last checkpoint" in out


def test_two_rows_of_one_table_are_not_two_sources():
    rows = {"name": "first"}, {"name": "second", "cells": cells([value - 9 for value in VALUES])}
    assert suspicions([table("one", *rows)]) == []


def test_columns_with_equal_values_are_detected_as_rotated():
    values = [80.1, 70.2, 70.2, 70.2, 68.5, 66.6]
    tables = [table(name, {"cells": cells([*values[n:], *values[:n]])}) for name, n in (("one", 0), ("other", 1))]
    [found] = suspicions(tables)
    assert found.endswith("their values agree if the columns of one are shifted by 5")


def test_swapped_pairs_and_equal_rows_are_not_called_rotated():
    pairs = {"one": {"en": 80.1, "de": 70.2}, "other": {"en": 70.2, "de": 80.1}}
    [found] = suspicions([table(name, {"cells": pair}) for name, pair in pairs.items()])
    assert found.endswith("5 points or more apart in en 80.1 and 70.2, de 70.2 and 80.1")
    assert suspicions([table(name, {"cells": cells([100.0] * 6)}) for name in pairs]) == []


def test_one_copied_average_is_not_a_swap():
    mean, note = round(sum(VALUES) / 6, 1), "as printed"
    better, best = (cells([value + more for value in VALUES]) for more in (2, 4))
    rows = [
        {"name": "a", "claimed_average": mean + 2, "average_note": note},
        {"name": "b", "cells": better, "claimed_average": mean + 4, "average_note": note},
        {"name": "c", "cells": best, "claimed_average": mean + 4},
    ]
    found = suspicions([table("copied", *rows)])
    assert [line.split(" where")[0] for line in found] == [
        f"copied: {name!r} claims an average of {claimed:g}" for name, claimed in (("a", mean + 2), ("b", mean + 4))
    ]
