"""The pages for browsers: the dashboard and the API's description. All assets are files here."""

from importlib.resources import files

from aiohttp import web

from streams.api.asking import Ask
from streams.api.context import Context
from streams.api.parameters import text
from streams.api.problems import not_found
from streams.api.routing import Handler, Route

HTML = "text/html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


def load_assets() -> dict[str, bytes]:
    """Read the files of the pages, by name."""
    folder = files("streams.api").joinpath("static")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _page(name: str) -> Handler:
    async def show(context: Context, _: Ask) -> web.Response:
        return _file(context, name)

    return show


async def _asset(context: Context, ask: Ask) -> web.Response:
    return _file(context, ask.path["file"])


def _file(context: Context, name: str) -> web.Response:
    body = context.assets.get(name)
    if body is None:
        raise not_found(f"there is no file {name[:200]} among the pages' files")
    return web.Response(
        body=body,
        content_type=_TYPES[name.rpartition(".")[2]],
        charset="utf-8",
        headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"},
    )


ROUTES = (
    Route("/", _page("dashboard.html"), "The dashboard", (HTML,), page=True, for_some=True),
    Route(
        "/docs", _page("docs.html"), "This description as a page", (HTML,), page=True, for_some=True
    ),
    Route(
        "/static/{file}",
        _asset,
        "The files of the pages",
        ("*/*",),
        (text("file", "A file's name."),),
        page=True,
        for_some=True,
    ),
)
