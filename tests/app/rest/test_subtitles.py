import pytest

from app.rest.subtitles import Cue, srt, vtt

CUES = [Cue(0.0, 1.5, "Hello."), Cue(59.9996, 3_725.0421, "Good-bye.")]


def test_srt_numbers_its_cues_and_has_commas() -> None:
    assert srt(CUES) == ("1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n00:01:00,000 --> 01:02:05,042\nGood-bye.\n")


def test_vtt_has_a_header_and_points() -> None:
    assert vtt(CUES) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello.\n\n00:01:00.000 --> 01:02:05.042\nGood-bye.\n"
    )


def test_more_than_a_hundred_hours_are_written_out() -> None:
    assert "100:00:00,000 --> 101:00:00,250" in srt([Cue(360_000, 363_600.25, "Still here.")])


def test_no_cues() -> None:
    assert srt([]) == ""
    assert vtt([]) == "WEBVTT\n"


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a < b & c > d", "a &lt; b &amp; c > d"),
        ("<i>x</i>", "&lt;i>x&lt;/i>"),
        ("this --> that", "this --&gt; that"),
        ("&lt;", "&amp;lt;"),
    ],
)
def test_vtt_escapes_what_its_syntax_means_and_srt_does_not(text: str, escaped: str) -> None:
    assert vtt([Cue(0, 1, text)]).splitlines()[3] == escaped
    assert srt([Cue(0, 1, text)]).splitlines()[2] == text
