"""Who may ask what of the console.

On the loopback address anybody on the machine may look, as with the metrics, and elsewhere only who
holds the token. Whoever wants something done needs it on the loopback too: every program and every web
page on the machine can reach that. The token stands in a header, where no link, form or picture of a
foreign page can put it; what a browser says about where a request comes from is held against it besides.
https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from hmac import compare_digest

from aiohttp import web

from fuagent.errors import FuagentError

PENALTY = 0.5
"""Seconds a wrong token waits for its answer."""
_OWN = {"same-origin", "none"}
_LINK = "`fuagent console` prints the link with the token; it is new each time the agent starts."


class RefusedError(FuagentError):
    """A request that is not answered; ``status`` says why to programs, the text to people."""

    def __init__(self, status: int, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status


def make_token() -> str:
    """256 bits of chance, as text for a URL."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class Access:
    """The one token, and whether it is needed for looking too."""

    token: str
    looking_is_free: bool

    async def holds(self, request: web.BaseRequest) -> bool:
        """Whether the request carries the token; a wrong one is made to wait.

        Compared as bytes and in constant time, whatever letters were sent.
        """
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return False
        right = compare_digest(given.strip().encode("utf-8", "surrogateescape"), self.token.encode())
        if not right:
            await asyncio.sleep(PENALTY)
        return right

    async def may_look(self, request: web.BaseRequest) -> bool:
        """Let the request look; gives whether it could act too.

        Raises:
            RefusedError: it may not.
        """
        _from_here(request)
        holds = await self.holds(request)
        if not holds and not self.looking_is_free:
            raise RefusedError(401, "looking at this agent needs its token.", fix=_LINK)
        return holds

    async def may_act(self, request: web.BaseRequest) -> None:
        """Let the request do something.

        Raises:
            RefusedError: it may not.
        """
        _from_here(request)
        if not await self.holds(request):
            raise RefusedError(401, "an action needs the agent's token.", fix=_LINK)
        if request.content_type != "application/json":
            raise RefusedError(415, "an action is asked for in JSON.", fix="Send Content-Type: application/json.")


def _from_here(request: web.BaseRequest) -> None:
    """Refuse what a browser sends on behalf of another page; programs say nothing of it."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    host = request.headers.get("Host", "")
    foreign = site is not None and site not in _OWN
    if foreign or (origin is not None and origin not in {f"http://{host}", f"https://{host}"}):
        raise RefusedError(403, "another page asks for this.", fix="Use the console's own page.")
