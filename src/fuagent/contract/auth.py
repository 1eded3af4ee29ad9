"""A credential as it goes onto the wire, and as the other end checks it.

The contract's own headers are always sent as it writes them: an API key as ``x-api-key``
*and* as ``Authorization: Bearer``, user and password as ``Authorization: Basic``
(RFC 7617, UTF-8). What the service's document demands comes on top, never instead.

Both ends are here so that they cannot drift apart. The checking end compares bytes in
constant time, and takes any text a server framework may make of a header: some decode
header bytes as Latin-1, some as UTF-8, and a comparison must not fail on either.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from fuagent.contract.security import Alternative, Scheme, Way
from fuagent.contract.text import clean
from fuagent.errors import HaltSyncError
from fuagent.model import Credential, Secret

KEY_HEADER = "x-api-key"
COVER = "***"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Only these are taken off a header's ends; a key's last byte may look like a Latin-1 no-break space.
_BLANKS = " \t"
_COOKIE = re.compile(r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")

# Written by the request itself; a document must not put a key in their place.
_TAKEN = frozenset(
    {"host", "content-length", "content-type", "content-encoding", "transfer-encoding", "connection", "te", "upgrade"}
    | {"expect", "accept-encoding", "user-agent", "task-id", "idempotency-key", "cookie"}
)


@dataclass(frozen=True, slots=True)
class Access:
    """What a request carries to be let in. Secret, so never shown."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    query: str = field(default="", repr=False)
    """Percent-encoded, without a leading ``?``."""


def header_value(value: str, what: str) -> str:
    """The value, if a header can carry it.

    Raises:
        HaltSyncError: it has line ends or other control characters, which could begin
            another header, or blanks at an end, which the wire would take off.
    """
    if _CONTROL.search(value) or value != value.strip(_BLANKS):
        fix = f"remove line ends, blanks at the ends and control characters from {what}"
        raise HaltSyncError(f"{what} cannot be sent in a header: it holds a control character or a blank end", fix=fix)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise HaltSyncError(f"{what} cannot be sent in a header: it is not Unicode text", fix=f"mend {what}") from None
    return value


def access(
    credential: Credential | None, alternatives: Sequence[Alternative] = (), token: Secret | None = None
) -> Access:
    """The headers and query a credential gives.

    Args:
        credential: The credential; None sends nothing.
        alternatives: What the document demands; the first one that can be met is.
        token: The OAuth2 access token in force, where one is used.

    Raises:
        HaltSyncError: a value cannot stand where it has to.
    """
    if credential is None:
        return Access()
    headers = _own(credential, token)
    query: list[str] = []
    cookies: list[str] = []
    for scheme in _chosen(credential, alternatives):
        if scheme.way is Way.API_KEY and credential.key is not None:
            key = header_value(credential.key.reveal(), "credential.key")
            if scheme.place == "query":
                query.append(f"{quote(scheme.parameter, safe='')}={quote(key, safe='')}")
            elif scheme.place == "cookie":
                cookies.append(_cookie(scheme.parameter, key))
            else:
                headers.setdefault(scheme.parameter.lower(), (scheme.parameter, key))
        elif scheme.way is Way.BASIC and credential.user is not None:
            headers["authorization"] = ("Authorization", _basic(credential))
    if cookies:
        headers["cookie"] = ("Cookie", "; ".join(cookies))
    return Access(tuple(headers.values()), "&".join(query))


def covered(found: Access) -> Access:
    """The same with ``***`` for every value: names and the scheme before a value are no secret."""
    headers = tuple((name, _covered(value)) for name, value in found.headers)
    query = "&".join(f"{part.partition('=')[0]}={COVER}" for part in found.query.split("&") if part)
    return Access(headers, query)


def _covered(value: str) -> str:
    scheme = value.partition(" ")[0]
    return f"{scheme} {COVER}" if scheme in {"Bearer", "Basic"} else COVER


def unmet(credential: Credential | None, alternatives: Sequence[Alternative]) -> tuple[str, ...]:
    """Why no alternative can be met, one reason per alternative; empty where one can."""
    reasons = [_missing(credential or Credential(), alternative) for alternative in alternatives]
    return () if "" in reasons else tuple(reasons)


def accepts(credential: Credential, headers: Mapping[str, str]) -> bool:
    """Whether a request's headers (names in lower case) prove this key or this user and password.

    Either of the two headers of a key is enough: a gateway in between may have used up
    ``Authorization``. Neither the time taken nor an odd value tells anything.
    """
    kind, _, value = headers.get("authorization", "").strip(_BLANKS).partition(" ")
    bearer = value.strip(_BLANKS) if kind.lower() == "bearer" else ""
    basic = value.strip(_BLANKS) if kind.lower() == "basic" else ""
    proven = False
    if credential.key is not None:
        proven |= _same(credential.key, headers.get(KEY_HEADER, "").strip(_BLANKS)) | _same(credential.key, bearer)
    if credential.user is not None and credential.password is not None:
        proven |= _same_bytes(f"{credential.user}:{credential.password.reveal()}".encode(), [_decoded(basic)])
    return proven


def _own(credential: Credential, token: Secret | None) -> dict[str, tuple[str, str]]:
    """The contract's own headers, by lower-case name."""
    headers: dict[str, tuple[str, str]] = {}
    if credential.user is not None:
        headers["authorization"] = ("Authorization", _basic(credential))
    if credential.key is not None:
        key = header_value(credential.key.reveal(), "credential.key")
        headers[KEY_HEADER] = (KEY_HEADER, key)
        headers["authorization"] = ("Authorization", f"Bearer {key}")
    if token is not None:
        bearer = header_value(token.reveal(), "the access token")
        headers["authorization"] = ("Authorization", f"Bearer {bearer}")
    return headers


def _basic(credential: Credential) -> str:
    user = header_value(credential.user or "", "credential.user")
    if ":" in user:
        fix = "use a user name without a colon; the header ends the name there"
        raise HaltSyncError("credential.user holds a colon", fix=fix)
    password = credential.password.reveal() if credential.password is not None else ""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _chosen(credential: Credential, alternatives: Sequence[Alternative]) -> Alternative:
    return next((one for one in alternatives if not _missing(credential, one)), ())


def _missing(credential: Credential, alternative: Alternative) -> str:
    lacks = [_lack(credential, scheme) for scheme in alternative]
    return ", ".join(filter(None, lacks))


def _lack(credential: Credential, scheme: Scheme) -> str:
    name = f"'{clean(scheme.name, 60)}'"
    has_client = credential.client_id is not None and credential.client_secret is not None
    match scheme.way:
        case Way.API_KEY if scheme.place == "header" and not _may_carry(scheme.parameter):
            return f"{name} wants the key in a header that cannot carry it ({clean(scheme.parameter, 60)})"
        case Way.API_KEY:
            return "" if credential.key is not None else f"{name} wants credential.key"
        case Way.BEARER:
            return "" if credential.key is not None or has_client else f"{name} wants credential.key (a bearer token)"
        case Way.BASIC:
            return "" if credential.user is not None else f"{name} wants credential.user and credential.password"
        case Way.OAUTH2 if has_client and not (credential.token_url or scheme.token_url):
            return f"{name} names no token URL for client credentials: set credential.token_url"
        case Way.OAUTH2:
            met = has_client or credential.key is not None
            return "" if met else f"{name} wants credential.client_id and credential.client_secret"
        case Way.MUTUAL_TLS:
            return "" if credential.cert_file is not None else f"{name} wants credential.cert_file"
        case _:
            return f"{name} is of a kind that is not supported ({clean(scheme.spoken, 60)})"


def _may_carry(name: str) -> bool:
    return _TOKEN.fullmatch(name) is not None and name.lower() not in _TAKEN


def _cookie(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name) or not _COOKIE.fullmatch(value):
        fix = "use a key of letters, digits and -._~, or let the service take it in a header"
        raise HaltSyncError(f"credential.key cannot be sent in the cookie '{clean(name, 60)}'", fix=fix)
    return f"{name}={value}"


def _same(secret: Secret, given: str) -> bool:
    return _same_bytes(secret.reveal().encode(), [_bytes(given, "latin-1"), _bytes(given, "utf-8")])


def _bytes(text: str, encoding: str) -> bytes:
    try:
        return text.encode(encoding)
    except UnicodeEncodeError:
        return b""


def _same_bytes(wanted: bytes, given: Sequence[bytes]) -> bool:
    found = False
    for one in given:
        found |= hmac.compare_digest(wanted, one)
    return found & bool(wanted)


def _decoded(basic: str) -> bytes:
    try:
        return base64.b64decode(_bytes(basic, "ascii"), validate=True)
    except binascii.Error:
        return b""
