"""The OAuth2 access token in force: fetched when needed, kept until it ends or is dropped."""

from __future__ import annotations

import asyncio
import time

from fuagent.contract import oauth
from fuagent.model import Credential, Secret
from fuagent.pushers.client import Client, Reply
from fuagent.pushers.faults import Broken


class Tokens:
    """Tokens of one client at one token endpoint."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._token: oauth.Token | None = None

    def drop(self) -> None:
        """Forget the token: the service refused it, or the credential changed."""
        self._token = None

    async def current(self, credential: Credential, url: str, scopes: tuple[str, ...]) -> Secret:
        """The token to send now.

        Raises:
            TryAgainError: none is to be had now; also as UnauthorisedError and WrongAnswerError.
            HaltSyncError: the endpoint issues something else.
        """
        now = asyncio.get_running_loop().time()
        if self._token is None or not self._token.holds(now):
            self._token = await self._fetch(credential, url, scopes, now)
        return self._token.value

    async def _fetch(self, credential: Credential, url: str, scopes: tuple[str, ...], now: float) -> oauth.Token:
        reply = await self._ask(oauth.request(credential, url, scopes))
        if oauth.wants_body(reply.status, reply.body):
            reply = await self._ask(oauth.request(credential, url, scopes, in_body=True))
        return oauth.read(reply.status, reply.headers, reply.body, url=url, now=now, wall=time.time())

    async def _ask(self, request: oauth.TokenRequest) -> Reply:
        reply = await self._client.post(request.url, request.headers, request.body)
        if isinstance(reply, Broken):
            raise reply.error(request.url)
        return reply
