"""How speech is to be heard, as the protocol wants it."""

from typing import Any

import pytest

from millstream.hearing import hearing


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((None, None, ()), {}),
        (("", None, ()), {"language": ""}),
        (("de", 0, ()), {"language": "de", "delay": "minimal"}),
        ((None, 1_040, ("Dashwood",)), {"delay": "high", "keywords": ["Dashwood"]}),
    ],
)
def test_only_what_is_given_is_told(given: Any, told: dict[str, Any]) -> None:
    assert hearing(*given) == told
