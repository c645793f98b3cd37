"""What is said for what is written, and where it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tts.normalise import normalise


def said(text: str) -> str:
    return " ".join(piece.spoken for piece in normalise(text))


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("3.14", "three point one four"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("It's -5 now", "It's minus five now"),
        ("007", "zero zero seven"),
        ("1st 22nd 103rd", "first twenty second one hundred third"),
        ("in 1999 and 2024", "in nineteen ninety nine and twenty twenty four"),
        ("the 1980s, the 90s", "the nineteen eighties , the nineties"),
        ("$3.50 £1 €20 $0.99", "three dollars and fifty cents one pound twenty euros ninety nine cents"),
        ("£2.5bn, $4 million", "two point five billion pounds , four million dollars"),
        ("25% of 10 km", "twenty five percent of ten kilometres"),
        ("1 kg at 60 mph and -3°C", "one kilogram at sixty miles per hour and minus three degrees Celsius"),
        ("10:30, 9:05 p.m., 12:00", "ten thirty , nine oh five P M , twelve o'clock"),
        ("7pm", "seven P M"),
        ("2024-03-05", "March fifth twenty twenty four"),
        ("Jan. 5th, not Jan.", "January fifth , not Jan ."),
        ("1/2, 3/4, 7/9", "one half , three quarters , seven slash nine"),
        ("10-20, 1990–1995", "ten to twenty , nineteen ninety to nineteen ninety five"),
        ("555-123-4567", "five five five one two three four five six seven"),
        ("v1.2.3", "v one point two point three"),
        ("#5, No. 7", "number five , number seven"),
        ("Dr. Who vs. Mrs. Smith, etc.", "doctor Who versus missus Smith , et cetera"),
        ("e.g. this, i.e. that", "for example this , that is that"),
        ("the U.S. and the U.K.", "the U S and the U K"),
        ("World War II", "World War two"),
        ("www.example.com", "w w w dot example dot com"),
        ("https://example.com/a-b.", "example dot com slash a dash b ."),
        ("me@example.org", "me at example dot org"),
        ("salt & pepper + 2 = 3", "salt and pepper plus two equals three"),
        ("3*4 × 2", "three times four times two"),
        ("**bold** _it_ `code`", "bold it code"),
        ("## Title", "Title"),
        ("see [here](http://x.y/z) now", "see here now"),
        ("```python", ""),
        ("“quoted” 'text'", "quoted text"),
        ("Well... yes — no", "Well … yes — no"),
        ("😀 👍🏽 ✨", ""),
        ("12345678901234567890", "one two three four five six seven eight nine zero " * 2),
    ],
)
def test_says(text: str, spoken: str) -> None:
    assert said(text) == spoken.strip()


def test_pieces_know_their_place() -> None:
    text = "Pay $3.14 to Dr. Who!"
    assert [(text[piece.start : piece.end], piece.spoken) for piece in normalise(text)] == [
        ("Pay", "Pay"),
        ("$3.14", "three dollars and fourteen cents"),
        ("to", "to"),
        ("Dr.", "doctor"),
        ("Who", "Who"),
        ("!", "!"),
    ]


@given(st.text(st.sampled_from("0123456789.,:-/$%°#@ aAbmpPkKs()'’*_\n½٣²"), max_size=60) | st.text(max_size=60))
def test_any_text_has_pieces_in_order(text: str) -> None:
    end = 0
    for piece in normalise(text):
        assert end <= piece.start < piece.end <= len(text)
        assert piece.spoken == piece.spoken.strip() != ""
        end = piece.end
