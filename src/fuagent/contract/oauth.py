"""OAuth2 client credentials: the token request, and its answer read.

RFC 6749 section 4.4 (https://www.rfc-editor.org/rfc/rfc6749#section-4.4). The client
proves itself in the ``Authorization`` header, as section 2.3.1 demands every server to
take; servers that only know the form's fields are asked that way after a refusal.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode

import orjson

from fuagent.contract import retry_after
from fuagent.contract.auth import header_value
from fuagent.contract.outcome import is_page
from fuagent.contract.text import address
from fuagent.errors import MENDED_CREDENTIAL, HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import Credential, Secret

_ERRORS = frozenset(
    {
        *("invalid_request", "invalid_client", "invalid_grant", "invalid_scope"),
        *("unauthorized_client", "unsupported_grant_type"),
    }
)
"""Codes of a refusal (RFC 6749 section 5.2)."""
_FIX = "check credential.client_id, credential.client_secret and credential.token_url"
_EARLY = 30.0
"""Seconds before its end at which a token counts as used up: a request takes time."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One POST to the token endpoint. Secret, so never shown."""

    url: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and the moment (on the caller's clock) from which it is not used any more."""

    value: Secret
    until: float | None = None

    def holds(self, now: float) -> bool:
        """Whether it may still be used."""
        return self.until is None or now < self.until


def request(credential: Credential, url: str, scopes: tuple[str, ...], *, in_body: bool = False) -> TokenRequest:
    """The request for a token; ``in_body`` puts id and secret into the form instead of the header."""
    name = credential.client_id or ""
    secret = credential.client_secret.reveal() if credential.client_secret is not None else ""
    form = {"grant_type": "client_credentials"}
    wanted = " ".join(credential.scopes or scopes)
    if wanted:
        form["scope"] = wanted
    headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json")]
    if in_body:
        form |= {"client_id": name, "client_secret": secret}
    else:
        pair = f"{quote_plus(name)}:{quote_plus(secret)}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    return TokenRequest(url, tuple(headers), urlencode(form).encode())


def wants_body(status: int, body: bytes) -> bool:
    """Whether this refusal may only mean that the header is not understood."""
    return status == 401 or (status == 400 and _answer(body).get("error") in {"invalid_client", "invalid_request"})


def read(status: int, headers: Mapping[str, str], body: bytes, *, url: str, now: float, wall: float) -> Token:
    """Read the answer to a token request.

    Args:
        status: The status code as it came.
        headers: The answer's headers, names in lower case.
        body: The answer's body.
        url: Where it was asked, for messages.
        now: The moment on the clock ``Token.until`` is measured on.
        wall: Unix time, to read a date in ``Retry-After``.

    Raises:
        UnauthorisedError: the client is refused.
        TryAgainError: anything else that is no token; also as WrongAnswerError.
        HaltSyncError: a token that is no bearer token.
    """
    where = address(url)
    answer = _answer(body)
    wait = retry_after.seconds(headers.get("retry-after"), wall)
    if status in {400, 401, 403}:
        # What is not on the list may be anything, even the secret; the description is free text and stays unread.
        code = answer.get("error")
        reason = f", {code}" if isinstance(code, str) and code in _ERRORS else ""
        what = f"the token endpoint refuses the client ({status}{reason})"
        raise UnauthorisedError(what, where=where, fix=f"{_FIX}; {MENDED_CREDENTIAL}", retry_after=wait)
    if status >= 500 or status in {408, 425, 429}:
        raise TryAgainError(f"the token endpoint answers {status}", where=where, retry_after=wait)
    value = answer.get("access_token")
    if status != 200 or not isinstance(value, str) or not value:
        kind = "with a page" if is_page(headers, body) else "without an access token"
        raise WrongAnswerError(f"the token endpoint answers {status} {kind}", where=where, fix=_FIX, retry_after=wait)
    if str(answer.get("token_type", "bearer")).lower() != "bearer":
        fix = "let the authorisation server issue bearer tokens"
        raise HaltSyncError("the token endpoint issues tokens that are not bearer tokens", where=where, fix=fix)
    return Token(Secret(header_value(value, "the access token")), _until(answer.get("expires_in"), now))


def _answer(body: bytes) -> dict[str, object]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _until(spoken: object, now: float) -> float | None:
    try:
        seconds = float(spoken) if isinstance(spoken, int | float | str) else 0.0
    except ValueError:
        seconds = 0.0
    # Without an end, or with one that makes no sense, it is used until it is refused.
    if not 0 < seconds < float("inf"):
        return None
    return now + max(seconds - _EARLY, seconds / 2)
