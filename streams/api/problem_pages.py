"""Problems as pages, for people who open one in a browser and may not see it."""

from base64 import b64encode
from hashlib import sha256
from html import escape

from aiohttp import web

from streams.api.pages import HTML
from streams.api.problems import CONTENT_TYPE, ProblemError
from streams.api.representations import choose
from streams.api.routing import Route

_STYLE = """
body { max-width: 40rem; margin: 15vh auto; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif; }
p { overflow-wrap: anywhere; }
"""
_DIGEST = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <title>campaign-streams: {title}</title>
  <style>{style}</style>
</head>
<body>
  <h1>{title}</h1>
  <p>{detail}.</p>
  <p>campaign-streams answered this with status {status}.</p>
</body>
</html>
"""


def response_to(problem: ProblemError, route: Route | None, accept: str) -> web.Response:
    """Return a problem as a page where a browser asks for one, and as JSON elsewhere.

    Args:
        problem: what went wrong.
        route: that was asked for; null for a path that has none.
        accept: the request's `Accept`.
    """
    response = problem.response()
    if route is None or not route.page or not _is_browser(accept):
        return response
    page = _PAGE.format(
        title=escape(problem.status.phrase),
        style=_STYLE,
        detail=escape(problem.detail.encode(errors="replace").decode()),
        status=problem.status.value,
    )
    response.body = page.encode()
    response.headers["Content-Type"] = f"{HTML}; charset=utf-8"
    response.headers["Content-Security-Policy"] = _POLICY
    return response


def _is_browser(accept: str) -> bool:
    try:
        return choose(accept, (CONTENT_TYPE, HTML)) == HTML
    except ProblemError:
        return False
