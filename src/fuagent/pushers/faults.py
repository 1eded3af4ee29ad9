"""What the HTTP library raises, as the contract's faults: one mapping, nowhere else.

The library puts TLS failures into several of its errors, depending on when they are
noticed (a service that demands a client certificate says so only after the handshake),
so the chain of causes is searched for one first.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp

from fuagent.contract.outcome import Fault, fault
from fuagent.contract.text import address, clean
from fuagent.errors import TryAgainError
from fuagent.pushers import tls


@dataclass(frozen=True, slots=True)
class Broken:
    """An attempt that got no whole answer, and why; without secrets."""

    fault: Fault
    detail: str = ""

    def error(self, url: str) -> TryAgainError:
        """The same as an error, for questions that are not batches."""
        told = fault(self.fault, self.detail)
        return TryAgainError(told.reason, where=address(url), fix=told.fix)


# What it was asked for stands in the first column; the first row that fits counts.
_KINDS: tuple[tuple[type[BaseException], Fault, str], ...] = (
    (aiohttp.ClientConnectorDNSError, Fault.DNS, ""),
    (aiohttp.ClientProxyConnectionError, Fault.CONNECT, "the proxy cannot be reached"),
    (aiohttp.ClientHttpProxyError, Fault.PROXY, ""),
    (aiohttp.ClientConnectorError, Fault.CONNECT, ""),
    (aiohttp.ServerDisconnectedError, Fault.RESET, "closed without an answer"),
    (aiohttp.ClientPayloadError, Fault.RESET, "in the middle of the answer's body"),
    (aiohttp.ClientResponseError, Fault.RESET, "the answer is not HTTP"),
    (aiohttp.InvalidURL, Fault.CONNECT, "the URL cannot be used"),
    (aiohttp.ClientError, Fault.RESET, ""),
    (OSError, Fault.RESET, ""),
)

RAISED = (aiohttp.ClientError, OSError)
"""Everything a request may raise that is a fault of the wire."""


def read(error: BaseException) -> Broken:
    """The fault an error of the library stands for."""
    for cause in _chain(error):
        # The library's own certificate error is an SSLError too, but an empty one.
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, aiohttp.ClientError):
            return Broken(Fault.TLS, tls.explained(cause))
    for kind, found, detail in _KINDS:
        if isinstance(error, kind):
            return Broken(found, detail or _reason(error))
    raise error


def _reason(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answers {error.status}"
    # Only the system's own words: the libraries' texts repeat the URL, or the address as Python writes it.
    for cause in _chain(error):
        text = getattr(cause, "strerror", None)
        if isinstance(text, str) and isinstance(cause, OSError) and not isinstance(cause, aiohttp.ClientError):
            return clean(os.strerror(cause.errno).lower() if cause.errno and cause.errno > 0 else text)
    return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it."""
    seen: list[BaseException] = []
    waiting: list[object] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [getattr(one, "certificate_error", None), getattr(one, "os_error", None)]
            waiting += [one.__cause__, one.__context__]
            yield one
