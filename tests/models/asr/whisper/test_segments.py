"""What a stream wants heard: following, requests, and what audio they need."""

from models.asr.whisper.segments import MAX_SEGMENTS, Listener, Request


def request(number: int, start: int, end: int) -> Request:
    return Request(number, start, end, None, (), words=False, slack_s=0.2)


def numbers(listener: Listener) -> list[int]:
    return [request.number for request in listener.requests]


def test_following_again_returns_to_the_agreed_text_and_withdraws_the_request() -> None:
    listener = Listener()
    listener.follow(1, 100, "en", (7,))
    assert listener.segment
    listener.segment.agreement.text = "so far"
    listener.request(request(1, 100, 200))
    listener.request(request(2, 200, 300))
    assert listener.segment is None

    listener.follow(1, 100, None, ())

    assert numbers(listener) == [2]
    assert listener.segment.agreement.text == "so far"
    assert listener.segment.language == "en"
    assert listener.segment.prompt == ()


def test_a_request_ends_the_following_of_its_own_segment_only() -> None:
    listener = Listener()
    listener.follow(2, 0, None, ())
    listener.request(request(1, 0, 100))
    assert listener.followed == 2
    listener.request(request(2, 0, 100))
    assert listener.followed is None


def test_a_later_request_for_a_segment_takes_the_place_of_the_earlier() -> None:
    listener = Listener()
    for asked in (request(1, 0, 100), request(2, 100, 200), request(1, 0, 300)):
        listener.request(asked)
    assert listener.requests == [request(2, 100, 200), request(1, 0, 300)]


def test_audio_is_needed_until_requests_are_answered() -> None:
    listener = Listener()
    listener.request(request(1, 100, 200))
    listener.release(200)
    assert listener.needed_from == 100
    listener.requests.clear()
    assert listener.needed_from == 200
    listener.release(150)
    assert listener.needed_from == 200


def test_release_ends_segments_that_began_earlier() -> None:
    listener = Listener()
    for number, start in ((1, 0), (2, 100), (3, 200)):
        listener.follow(number, start, None, ())
    listener.release(150)
    assert list(listener.segments) == [3]
    assert listener.followed == 3
    listener.release(250)
    assert listener.segment is None


def test_remembered_segments_are_bounded_and_the_followed_one_stays() -> None:
    listener = Listener()
    for number in [0, *range(1, MAX_SEGMENTS), 0, *range(MAX_SEGMENTS, MAX_SEGMENTS + 5)]:
        listener.follow(number, 0, None, ())
    assert len(listener.segments) == MAX_SEGMENTS
    assert 0 in listener.segments
    assert 1 not in listener.segments
    assert listener.followed == MAX_SEGMENTS + 4
