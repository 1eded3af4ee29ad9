"""How the console answers: with headers that leave a browser no room, in JSON or with the page's own files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath

import orjson
from aiohttp import web

from fuagent.console.access import RefusedError

HEADERS: Mapping[str, str] = {
    # Nothing but the page's own files is run, drawn or asked, and no other page may hold this one in a frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "fuagent",
}
"""On every answer."""
KEEP_NONE = {"Cache-Control": "no-store"}
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
"""What the page's files are, by how their names end; no other is served."""


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    kind: str
    tag: str


def page_files() -> dict[str, _File]:
    """The page's files, read once, by the path they are served at."""
    found = {}
    for one in (files("fuagent.console") / "assets").iterdir():
        kind = _KINDS.get(PurePath(one.name).suffix)
        if kind is not None:
            body = one.read_bytes()
            path = "/console/" if one.name == "index.html" else f"/console/{one.name}"
            found[path] = _File(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def file(request: web.BaseRequest, known: _File) -> web.Response:
    """One of them, or 304 to a browser that has it; it asks each time, so that an upgrade is seen at once."""
    headers = {"ETag": known.tag, "Cache-Control": "no-cache"}
    if request.headers.get("If-None-Match") == known.tag:
        return _closing(web.Response(status=304, headers={**HEADERS, **headers}))
    return _closing(web.Response(body=known.body, headers={**HEADERS, **headers, "Content-Type": known.kind}))


def moved(path: str) -> web.Response:
    """302 to a path of ours."""
    return _closing(web.Response(status=302, headers={**HEADERS, **KEEP_NONE, "Location": path}))


def json(value: object, status: int = 200) -> web.Response:
    """A value for the page."""
    headers = {**HEADERS, **KEEP_NONE, "Content-Type": "application/json"}
    return _closing(web.Response(status=status, body=orjson.dumps(value), headers=headers))


def refusal(error: RefusedError) -> web.Response:
    """Why not, and what to do."""
    response = json({"what": error.what, "where": error.where, "fix": error.fix}, error.status)
    if error.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="fuagent"'
    return response


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response
