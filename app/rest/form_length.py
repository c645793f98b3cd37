"""The length of a form, which is known before any of it is read."""

from starlette.requests import Request

from app.errors import ApiError

FORM_OVERHEAD_BYTES = 64 * 1024
"""What a form may have besides its largest field."""


def check_length(request: Request, limit: int, field: str) -> None:
    """Raises ApiError if `field` of the form could have more than `limit` bytes."""
    length = request.headers.get("content-length", "")
    if not length.isdigit():
        raise ApiError(411, "length_required", "the request needs a content-length")
    if int(length) > limit + FORM_OVERHEAD_BYTES:
        raise ApiError(413, f"{field}_too_large", f"{field}: at most {limit} bytes are taken", field)
