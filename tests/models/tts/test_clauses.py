"""Cutting a stream of text into clauses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.tts.clauses import MAX_CLAUSE_CHARS, STAGES, ClauseSplitter

WORDS = [
    *(
        "Dr.",
        "Who",
        "U.S.",
        "3.14",
        "and",
        "because",
        "yes,",
        "stop.",
        "really?",
        '"Go!"',
        "—",
        "1.",
        "😀",
        "\n",
        "\n\n",
    ),
    *("  ", "e.g.", "(so)", "x" * 50, "https://example.com/a.b", "ok;", "...", "I.", "she"),
]
PROSE = st.lists(st.sampled_from(WORDS), max_size=60).map(" ".join)


def split(*pieces: str) -> list[str]:
    splitter = ClauseSplitter()
    return [clause for piece in pieces for clause in splitter.push(piece)] + splitter.flush()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Hello. How are you?", ["Hello.", " How are you?"]),
        ("Dr. Who met Mr. J. R. Smith.", ["Dr. Who met Mr. J. R. Smith."]),
        ("Pi is 3.14, not 3. Sure?", ["Pi is 3.14,", " not 3.", " Sure?"]),
        ("Use fruit, e.g. apples, now.", ["Use fruit,", " e.g. apples, now."]),
        ("The U.S. team won.", ["The U.S. team won."]),
        ("Come at 10:30 to www.example.com.", ["Come at 10:30 to www.example.com."]),
        ('"Stop!" she said. "No."', ['"Stop!" she said.', ' "No."']),
        ("Wait... what?", ["Wait... what?"]),
        ("Wait, what?", ["Wait, what?"]),
        ("1. Eggs\n2. Milk", ["1. Eggs", "\n2. Milk"]),
        ("A title\n\nthen text.", ["A title", "\n\nthen text."]),
        ("wrapped\nlines go on", ["wrapped\nlines go on"]),
        ("It was I. Then she left.", ["It was I.", " Then she left."]),
        ("Great! 😀 Next one.", ["Great!", " 😀 Next one."]),
        ("  \n ", ["  \n "]),
        ("", []),
    ],
)
def test_ends_clauses_where_a_speaker_would(text: str, clauses: list[str]) -> None:
    assert split(text) == clauses


def test_a_clause_leaves_as_soon_as_it_is_certain() -> None:
    splitter = ClauseSplitter()
    assert splitter.push("Well, I think so.") == []
    assert splitter.push(" ") == []
    assert splitter.push("B") == ["Well, I think so."]
    assert splitter.push("ut then, he") == []
    assert splitter.push(" said, n") == [" But then, he said,"]


def test_the_first_clauses_are_short() -> None:
    words = "one two three four five six seven eight nine ten " * 10
    counts = [len(clause.split()) for clause in split(words)]
    assert counts[:3] == [stage.most for stage in STAGES]
    assert max(counts[3:]) == STAGES[-1].most


def test_waits_a_little_for_punctuation() -> None:
    assert split("one two three four five six, seven")[0] == "one two three four five six,"
    late = " ".join(["word"] * (STAGES[0].most + STAGES[0].reach + 1)) + ", more"
    assert len(split(late)[0].split()) == STAGES[0].most


def test_cuts_in_front_of_a_linking_word() -> None:
    assert split("I would like to go there with my very good old friend")[0] == "I would like"
    assert split("The largest ocean on earth is the Pacific Ocean.")[0] == "The largest ocean on earth"
    assert split("The dog ran around because cats were in the garden today")[0] == "The dog ran around"


@given(PROSE, st.data())
def test_however_the_text_arrives_its_clauses_are_the_same(prose: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(prose)), max_size=8)))
    pieces = [prose[start:end] for start, end in zip([0, *cuts], [*cuts, len(prose)], strict=True)]
    assert split(*pieces) == split(prose) == split(*prose)


@given(st.one_of(PROSE, st.text(max_size=500)))
def test_clauses_are_the_text_and_bounded(text: str) -> None:
    clauses = split(text)
    assert "".join(clauses) == text
    assert all(0 < len(clause) <= MAX_CLAUSE_CHARS for clause in clauses)


@pytest.mark.parametrize(
    "text", ["x" * 50_000, "word " * 10_000, " " * 50_000, "word" + " " * 50_000, "a, " * 15_000, "日本" * 25_000]
)
def test_holds_little_of_endless_text(text: str) -> None:
    splitter = ClauseSplitter()
    clauses = splitter.push(text)
    assert len(splitter.text) <= MAX_CLAUSE_CHARS
    assert "".join([*clauses, *splitter.flush()]) == text


@given(PROSE, st.integers(0, 200))
def test_goes_on_in_another_splitter(prose: str, at: int) -> None:
    first = ClauseSplitter()
    clauses = first.push(prose[:at])
    second = ClauseSplitter(first.text, first.emitted)
    assert clauses + second.push(prose[at:]) + second.flush() == split(prose)
