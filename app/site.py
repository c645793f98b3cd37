"""The demo page and the JavaScript SDK that it uses: the files of `web/` at `/`, those of `sdk/js/` at `/sdk/`."""

import re
from pathlib import Path

from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_ROOT = Path(__file__).resolve().parents[1]
_API = re.compile(r"/v1(/|$)|/metrics$")
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "worker-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self)",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Nothing from elsewhere runs on the page, and nobody frames it."""


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response


class _Place(Mount):
    """Leaves the paths of the API alone, whatever the method."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        return super().matches(scope) if scope["type"] == "http" and is_public(scope) else (Match.NONE, {})


def is_public(scope: Scope) -> bool:
    """Whether an HTTP request is for one of these files, which are served without a key."""
    return scope["method"] in {"GET", "HEAD"} and not _API.match(scope["path"])


def site_routes() -> list[BaseRoute]:
    """They match every other path, so they come last."""
    return [
        _Place("/sdk", _Files(directory=_ROOT / "sdk" / "js")),
        _Place("/", _Files(directory=_ROOT / "web", html=True)),
    ]
