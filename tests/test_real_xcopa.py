"""The real XCOPA: in every language, each choice matches a plain transformers loop, in float32."""

import pytest
import torch
from transformers import AutoModelForMultipleChoice

from tests.helpers.checkpoints import ARCHITECTURES, tiny_tokenizer
from tests.helpers.plain_choices import plain_choices, tiny_choice_model
from xeval.data.model_files import find_checkpoint
from xeval.data.source import load_rows, open_source
from xeval.definitions.registry import get_task
from xeval.engine.devices import Compute
from xeval.engine.loading import load_fine_tuned
from xeval.engine.prediction import predict

pytestmark = pytest.mark.slow
CPU = Compute(torch.device("cpu"), torch.float32)
N_QUESTIONS = 24  # of each language


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_choice_matches_a_plain_loop(unpacked, tmp_path, architecture):
    task = get_task("xcopa").tested_on("dev")  # the English test file here has placeholders for labels
    kind, source = task.of_kind, open_source(task, unpacked("xcopa"), task.languages)
    rows_of = {language: load_rows(source, language, "test").first(N_QUESTIONS) for language in task.languages}
    texts = [
        text
        for rows in rows_of.values()
        for premise, question, choices in zip(*rows.texts.values(), strict=True)
        for text in (premise, question, *choices)
    ]
    tokenizer = tiny_tokenizer(architecture, texts)
    tiny_choice_model(architecture, len(tokenizer)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    ours = load_fine_tuned(find_checkpoint(str(tmp_path)), kind)
    plain, n_differences = AutoModelForMultipleChoice.from_pretrained(tmp_path).eval(), 0
    for rows in rows_of.values():
        encoded = kind.encode(tokenizer, rows, 128, lambda n: None)
        said = kind.answers(predict(ours, kind, encoded, CPU), encoded, rows)["prediction"].to_pylist()
        with torch.no_grad():
            expected = plain_choices(plain, tokenizer, rows).argmax(dim=1).tolist()
        n_differences += sum(one != other for one, other in zip(said, expected, strict=True))
    assert n_differences == 0, f"of {len(task.languages) * N_QUESTIONS}"
