import random
from collections import Counter

import pytest

from models.tts.normalise import normalise
from training.asr.everyday import everyday
from training.asr.sources import sentences
from training.asr.texts import MAX_WORDS, Text, clean, collect, is_held_out, mix, spoken


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Yes, please!", "yes please"),
        ("It's 5:30 pm on May 3rd.", "it's five thirty p m on may third"),
        ("That is $3.50 - roughly 1/2.", "that is three dollars and fifty cents roughly one half"),
        ("Mr. Smith's U.S. visa", "mister smith's u s visa"),
        ("Ends at κ", None),
        ("...", None),
    ],
)
def test_a_target_is_what_the_voice_says(text: str, target: str | None) -> None:
    assert spoken(text) == target


@pytest.mark.parametrize(
    "raw", ["see <this>", "a {link}", "x = y", "NASA and ESA", "http://a.b", "(open", "word" * 60, "camelCase here"]
)
def test_what_is_no_prose_is_left_out(raw: str) -> None:
    assert clean(raw) is None


def test_prose_is_folded_to_ascii() -> None:
    assert clean("  the café’s\n naïve “cook”, ") == 'The cafe\'s naive "cook"'


def test_sentences_are_too_long_beyond_a_number_of_words() -> None:
    long = " ".join(["go"] * (MAX_WORDS + 1))
    assert [text.text for text in collect("test", [long, long[3:]])] == ["G" + long[4:]]


def test_a_title_or_an_initial_ends_no_sentence() -> None:
    assert list(sentences("Dr. Who met J. Smith.\nHe left! Why?")) == ["Dr. Who met J. Smith.", "He left!", "Why?"]


def test_the_split_depends_on_the_words_only_and_holds_few_out() -> None:
    targets = [f"sentence number {number}" for number in range(20_000)]
    held_out = sum(map(is_held_out, targets))
    assert 200 < held_out < 400
    assert is_held_out(targets[0]) == is_held_out("sentence number 0")


def test_every_beginning_of_the_mix_has_the_shares_while_they_last() -> None:
    pools = {
        name: [Text(f"{name} {number}", "", name, heldout=False) for number in range(size)]
        for name, size in (("often", 3000), ("seldom", 1000), ("short", 50))
    }
    mixed = list(mix(pools, {"often": 3, "seldom": 1, "short": 1}, seed=7))
    assert len(mixed) == 4050
    counts = Counter(text.source for text in mixed[:200])
    assert counts["often"] == pytest.approx(120, abs=6)
    assert counts["short"] == pytest.approx(40, abs=4)


def test_everyday_sentences_are_the_same_again_and_can_all_be_said() -> None:
    made = everyday(2000, seed=3)
    assert made == everyday(2000, seed=3)
    assert made != everyday(2000, seed=4)
    assert all("{" not in text and spoken(text) for text in made)
    assert any(len(list(normalise(text))) == 2 for text in made)
    assert random.Random(1).sample(made, 5)
