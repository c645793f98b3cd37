import msgspec
import pytest

from pipelines.turns import (
    ASK_AGAIN_SAMPLES,
    FRAME_SAMPLES,
    NOISE_SAMPLES,
    PAUSE_SAMPLES,
    SAMPLE_RATE_HZ,
    WORDLESS_SAMPLES,
    Asked,
    Detection,
    Eagerness,
    Paused,
    Resumed,
    SemanticVad,
    ServerVad,
    Started,
    Stopped,
    TurnDetector,
    TurnEvent,
    TurnState,
)


class Frames:
    """A detector fed frame by frame; methods return the events of the frames they add."""

    def __init__(self, detection: Detection) -> None:
        self.detector = TurnDetector(detection)
        self.now = 0

    def hear(self, *probabilities: float) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        for probability in probabilities:
            self.now += FRAME_SAMPLES
            events += self.detector.frame(self.now, probability)
        return events

    def silence(self, seconds: float) -> list[TurnEvent]:
        return self.hear(*[0.01] * round(seconds * SAMPLE_RATE_HZ / FRAME_SAMPLES))

    def judge(self, pts: int, probability: float) -> list[TurnEvent]:
        return self.detector.judged(pts, probability, self.now)


def whole_frames(milliseconds: int) -> int:
    """Samples of the frames that it takes to hear so much."""
    return -(-milliseconds * SAMPLE_RATE_HZ // 1_000 // FRAME_SAMPLES) * FRAME_SAMPLES


def speaking(detection: Detection) -> Frames:
    frames = Frames(detection)
    assert frames.hear(0.9, 0.9) == [Started(0)]
    return frames


def test_an_onset_needs_two_frames_and_begins_with_the_first() -> None:
    frames = Frames(ServerVad())
    assert frames.hear(0.1, 0.1, 0.9) == []
    assert frames.hear(0.9) == [Started(2 * FRAME_SAMPLES)]


def test_a_click_is_no_onset() -> None:
    assert Frames(ServerVad()).hear(0.1, 0.99, 0.1, 0.99, 0.49, 0.99, 0.1) == []


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_an_onset_reaches_the_threshold(threshold: float) -> None:
    detection = ServerVad(threshold=threshold)
    assert Frames(detection).hear(threshold - 0.01, threshold - 0.01, threshold - 0.01) == []
    assert Frames(detection).hear(threshold, threshold) == [Started(0)]


def test_speech_goes_on_while_the_probability_is_a_little_below_the_threshold() -> None:
    frames = speaking(ServerVad(silence_duration_ms=0))
    assert frames.hear(*[0.36] * 100) == []
    assert frames.hear(0.34) == [Stopped(frames.now)]


@pytest.mark.parametrize("threshold", [0, 0.1, 0.15])
def test_however_low_the_threshold_a_turn_ends_in_silence(threshold: float) -> None:
    frames = Frames(ServerVad(threshold=threshold, silence_duration_ms=32))
    assert frames.hear(0.2, 0.2) == [Started(0)]
    assert frames.hear(0.02, 0.005) == [Stopped(4 * FRAME_SAMPLES)]


@pytest.mark.parametrize("silence_ms", [0, 32, 33, 100, 199, 200, 201, 500, 1_000, 10_000])
def test_a_turn_ends_with_the_first_frame_that_completes_the_silence(silence_ms: int) -> None:
    frames = speaking(ServerVad(silence_duration_ms=silence_ms))
    began = frames.now
    stops = [event.pts for event in frames.silence(11) if isinstance(event, Stopped)]
    assert stops == [began + max(FRAME_SAMPLES, whole_frames(silence_ms))]


def test_silences_are_not_added_up() -> None:
    frames = speaking(ServerVad(silence_duration_ms=320))
    for _ in range(5):
        assert not any(isinstance(event, Stopped) for event in frames.hear(*[0.1] * 9, 0.9))
    assert frames.hear(*[0.1] * 10)[-1] == Stopped(frames.now)


def test_a_pause_is_told_once_and_so_is_its_end() -> None:
    frames = speaking(ServerVad(silence_duration_ms=1_000))
    began = frames.now
    (pause,) = frames.silence(0.5)
    assert isinstance(pause, Paused)
    assert PAUSE_SAMPLES <= pause.pts - began < PAUSE_SAMPLES + FRAME_SAMPLES
    assert frames.hear(0.9, 0.9) == [Resumed()]


def test_a_turn_shorter_than_a_pause_has_none() -> None:
    assert speaking(ServerVad(silence_duration_ms=100)).hear(*[0.1] * 4) == [Stopped(6 * FRAME_SAMPLES)]


def test_turns_follow_each_other() -> None:
    frames = speaking(ServerVad(silence_duration_ms=64))
    assert frames.hear(0.1, 0.1) == [Stopped(4 * FRAME_SAMPLES)]
    assert frames.hear(0.9, 0.9) == [Started(4 * FRAME_SAMPLES)]


def test_semantic_asks_at_the_pause_and_again_once_answered() -> None:
    frames = speaking(SemanticVad())
    paused, first = frames.silence(0.256)
    assert isinstance(first, Asked)
    assert paused == Paused(first.pts)
    assert frames.judge(first.pts, 0.1) == []
    (second,) = frames.silence(0.32)
    assert isinstance(second, Asked)
    assert 0 <= second.pts - first.pts - ASK_AGAIN_SAMPLES < FRAME_SAMPLES
    assert frames.judge(second.pts, 0.9) == [Stopped(frames.now)]


def test_semantic_waits_for_an_answer_that_is_slower_than_its_questions() -> None:
    frames = speaking(SemanticVad())
    (_, asked), later = frames.silence(0.256), frames.silence(1)
    assert isinstance(asked, Asked)
    assert later == []
    assert frames.judge(asked.pts, 0.9) == [Stopped(frames.now)]


@pytest.mark.parametrize(("eagerness", "threshold"), [("low", 0.8), ("medium", 0.5), ("high", 0.3), ("auto", 0.5)])
def test_eagerness_sets_how_sure_the_judgement_must_be(eagerness: Eagerness, threshold: float) -> None:
    for probability, ends in [(threshold - 0.01, False), (threshold, True)]:
        frames = speaking(SemanticVad(eagerness))
        (_, asked) = frames.silence(0.256)
        assert isinstance(asked, Asked)
        assert frames.judge(asked.pts, probability) == ([Stopped(frames.now)] if ends else [])


@pytest.mark.parametrize(("eagerness", "longest_s"), [("low", 8), ("medium", 4), ("high", 2), ("auto", 4)])
def test_eagerness_sets_the_longest_silence(eagerness: Eagerness, longest_s: int) -> None:
    frames = speaking(SemanticVad(eagerness))
    began = frames.now
    stops = [event.pts for event in frames.silence(9) if isinstance(event, Stopped)]
    assert stops == [began + whole_frames(longest_s * 1_000)]


def test_a_judgement_is_stale_once_speech_resumed() -> None:
    frames = speaking(SemanticVad())
    (_, asked) = frames.silence(0.256)
    assert isinstance(asked, Asked)
    assert frames.hear(0.9) == [Resumed()]
    assert frames.judge(asked.pts, 1.0) == []
    (_, again) = frames.silence(0.256)
    assert isinstance(again, Asked)
    assert frames.judge(asked.pts, 1.0) == []
    assert frames.judge(again.pts, 1.0) == [Stopped(frames.now)]


def test_a_judgement_after_the_turn_is_ignored() -> None:
    frames = speaking(SemanticVad("high"))
    (_, asked) = frames.silence(0.256)
    assert isinstance(asked, Asked)
    assert isinstance(frames.silence(2)[-1], Stopped)
    assert frames.judge(asked.pts, 1.0) == []


def test_server_vad_asks_nobody_and_heeds_no_judgement() -> None:
    frames = speaking(ServerVad(silence_duration_ms=5_000))
    (paused,) = frames.silence(1)
    assert isinstance(paused, Paused)
    assert frames.judge(paused.pts, 1.0) == []


def test_a_detector_goes_on_from_a_serialised_state() -> None:
    probabilities = [0.9, 0.9, 0.9, *[0.1] * 9, 0.9, *[0.1] * 40, 0.6, 0.9, 0.2]
    whole, moved = Frames(SemanticVad("high")), Frames(SemanticVad("high"))
    for probability in probabilities:
        state = msgspec.msgpack.decode(msgspec.msgpack.encode(moved.detector.state), type=TurnState)
        moved.detector = TurnDetector(moved.detector.detection, state)
        assert moved.hear(probability) == whole.hear(probability)


@pytest.mark.parametrize(("detection", "silence_s"), [(ServerVad(), 0.5), (SemanticVad(), 4), (SemanticVad("high"), 2)])
def test_noise_without_words_ends_a_turn(detection: Detection, silence_s: float) -> None:
    frames = speaking(detection)
    frames.hear(*[0.9] * 300)
    long = round(silence_s * SAMPLE_RATE_HZ) + WORDLESS_SAMPLES
    assert frames.detector.wordless(long - 1, frames.now) == []
    assert frames.detector.wordless(long, frames.now) == [Stopped(frames.now)]
    assert frames.detector.wordless(long, frames.now) == []


def test_noise_that_ended_a_turn_begins_another_only_after_a_while() -> None:
    frames = speaking(ServerVad())
    frames.detector.wordless(10**6, frames.now)
    deaf = NOISE_SAMPLES // FRAME_SAMPLES
    assert frames.hear(*[0.9] * deaf) == []
    assert [type(event) for event in frames.hear(*[0.9] * 3)] == [Started]


def test_speech_after_noise_that_ended_a_turn_begins_another() -> None:
    frames = speaking(ServerVad())
    frames.detector.wordless(10**6, frames.now)
    assert frames.hear(0.9, 0.9, 0.4, 0.9, 0.9) == [Started(frames.now - 2 * FRAME_SAMPLES)]
