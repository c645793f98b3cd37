"""Errors of the HTTP doors, in the shape that OpenAI clients expect."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from app.realtime.errors import BadEvent

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "server_error",
    500: "server_error",
}


class ApiError(Exception):
    """An HTTP error with a code and, where there is one, the request's field that caused it."""

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s


def error_body(error: ApiError) -> dict[str, Any]:
    """The JSON object that tells of an error."""
    kind = _TYPES.get(error.status, "invalid_request_error")
    return {"error": {"message": str(error), "type": kind, "param": error.param, "code": error.code}}


def error_response(error: ApiError) -> JSONResponse:
    """The response that tells of an error."""
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s is not None else None
    return JSONResponse(error_body(error), error.status, headers=headers)


async def on_api_error(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for ApiError."""
    assert isinstance(error, ApiError)
    return error_response(error)


async def on_bad_event(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for BadEvent: a session object that cannot be had."""
    assert isinstance(error, BadEvent)
    detail = error.detail
    return error_response(ApiError(400, detail.code, detail.message, detail.param))


async def on_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for what the framework raises: unknown paths, wrong methods, malformed forms."""
    assert isinstance(error, HTTPException)
    code = error.detail.lower().replace(" ", "_")[:64]
    return error_response(ApiError(error.status_code, code, error.detail))
