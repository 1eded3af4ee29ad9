"""URLs as the contract uses them: joined under a base and compared by origin.

An origin is scheme, host and port (RFC 6454, https://www.rfc-editor.org/rfc/rfc6454);
references resolve as RFC 3986 section 5 says (https://www.rfc-editor.org/rfc/rfc3986).
"""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, quote, urljoin, urlsplit

_PORTS = {"http": 80, "https": 443}

# Everything RFC 3986 lets stand in a path or query, and % so that what is encoded stays so.
_KEPT = "/?%:@!$&'()*+,;=~-._"


def split(url: str) -> SplitResult | None:
    """The parts of an http(s) URL that names a host, None for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    known = parts.scheme in _PORTS and parts.hostname and port != 0
    return parts if known else None


def authority(url: str) -> str:
    """Host and, where it is not the scheme's own, port; empty for what is no http(s) URL."""
    parts = split(url)
    if parts is None or parts.hostname is None:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return host if parts.port in {None, _PORTS[parts.scheme]} else f"{host}:{parts.port}"


def origin(url: str) -> str:
    """``scheme://host[:port]`` in one spelling; empty for what is no http(s) URL."""
    place = authority(url)
    return f"{urlsplit(url).scheme}://{place}" if place else ""


def has_userinfo(url: str) -> bool:
    """True where a user or password is written into the URL itself."""
    parts = split(url)
    return parts is not None and "@" in parts.netloc


def is_file(endpoint: str) -> bool:
    """True for ``file:`` URLs and paths: anything that names no other scheme."""
    return endpoint.lower().startswith("file:") or "://" not in endpoint


def resolve(base: str, reference: str) -> str:
    """The reference as it reads from ``base``; empty where either cannot be read."""
    try:
        return urljoin(base, reference)
    except ValueError:
        return ""


def join(base: str, path: str) -> str:
    """``path`` placed under ``base``, whose own path stays: ``/v1`` and ``/x`` give ``/v1/x``."""
    return base.rstrip("/") + "/" + quote(path.lstrip("/"), safe=_KEPT)


def is_loopback(url: str) -> bool:
    """True where the host is this machine, whatever name resolution says."""
    parts = split(url)
    host = (parts.hostname or "") if parts else ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_plain(url: str) -> bool:
    """True for http without TLS."""
    parts = split(url)
    return parts is not None and parts.scheme == "http"
