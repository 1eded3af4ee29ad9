"""What a document demands of a caller: its security schemes, as frozen values.

OpenAPI lists alternatives, of which one has to be met, and in each alternative schemes,
all of which have to be met; an operation's own list takes the place of the document's,
and an empty alternative lets anyone in.
https://spec.openapis.org/oas/v3.1.1.html#security-requirement-object
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from fuagent.contract.document import Document, Node, array, resolve, table, words


class Way(Enum):
    """How a scheme wants to be met."""

    API_KEY = "apiKey"
    BASIC = "http basic"
    BEARER = "http bearer"
    OAUTH2 = "oauth2"
    MUTUAL_TLS = "mutualTLS"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One scheme; ``place`` and ``parameter`` count for API keys, ``token_url`` and ``scopes`` for OAuth2.

    ``token_url`` is as the document writes it, perhaps relative, and empty where there
    is no client credentials flow. ``spoken`` is the document's own word for the way.
    """

    name: str
    way: Way
    spoken: str = ""
    place: str = ""
    parameter: str = ""
    token_url: str = ""
    scopes: tuple[str, ...] = ()


Alternative = tuple[Scheme, ...]

_KEY_PLACES = frozenset({"header", "query", "cookie"})


def alternatives(document: Document, operation: dict[str, Node]) -> tuple[Alternative, ...]:
    """What has to be met to call the operation; empty where nothing is demanded."""
    demanded = operation["security"] if "security" in operation else document.tree.get("security")
    found = [_alternative(document, table(one)) for one in array(demanded)]
    return () if () in found else tuple(found)


def schemes(document: Document) -> tuple[Scheme, ...]:
    """Every scheme the document defines, demanded or not."""
    return tuple(_scheme(document, name, ()) for name in _defined(document))


def _defined(document: Document) -> dict[str, Node]:
    inside = table(document.tree.get("components")).get("securitySchemes")
    return table(inside if inside is not None else document.tree.get("securityDefinitions"))


def _alternative(document: Document, demanded: dict[str, Node]) -> Alternative:
    return tuple(_scheme(document, name, _texts(scopes)) for name, scopes in demanded.items())


def _scheme(document: Document, name: str, scopes: tuple[str, ...]) -> Scheme:
    node = resolve(document, _defined(document).get(name))
    kind = words(node.get("type"))
    spoken = words(node.get("scheme")).lower()
    match kind, spoken:
        case "apiKey", _ if words(node.get("in")) in _KEY_PLACES and words(node.get("name")):
            return Scheme(name, Way.API_KEY, kind, words(node.get("in")), words(node.get("name")))
        case ("basic", _) | ("http", "basic"):
            return Scheme(name, Way.BASIC, "http basic")
        case "http", "bearer":
            return Scheme(name, Way.BEARER, "http bearer")
        case (("oauth2" | "openIdConnect"), _):
            return Scheme(name, Way.OAUTH2, kind, token_url=_token_url(node), scopes=scopes)
        case "mutualTLS", _:
            return Scheme(name, Way.MUTUAL_TLS, kind)
        case _:
            return Scheme(name, Way.UNKNOWN, f"{kind} {spoken}".strip() or "not defined")


def _token_url(node: dict[str, Node]) -> str:
    flow = table(table(node.get("flows")).get("clientCredentials"))
    swagger = words(node.get("tokenUrl")) if node.get("flow") == "application" else ""
    return words(flow.get("tokenUrl")) or swagger


def _texts(node: Node) -> tuple[str, ...]:
    return tuple(filter(None, map(words, array(node))))
