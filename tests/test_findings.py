"""How evidence is worded."""

import pytest

from xeval.support.findings import by_language


@pytest.mark.parametrize(
    ("shares", "as_text", "text"),
    [
        ({"el": 0.042, "th": 0.187}, "{:.1%}", "th 18.7 %, el 4.2 %"),
        ({"te": 0.021, "af": 0.0002, "zh": 0.0004}, "{:.1%}", "te 2.1 %, less in 2 more"),
        ({"te": 0.0003, "af": 0.0002}, "{:.1%}", "te 0.0 %, af 0.0 %"),
        ({"te": 0.21, "af": 0.0}, "{:.1%}", "te 21.0 %, af 0.0 %"),
        ({"en": 1.5, "de": -3.25}, "{:+.1f}", "en +1.5, de -3.2"),
        ({}, "{:.1%}", ""),
    ],
)
def test_the_largest_comes_first_and_what_rounds_to_nothing_is_counted(shares, as_text, text):
    assert by_language(shares, as_text) == text
