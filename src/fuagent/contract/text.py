"""Text from the other end made fit to be shown to a person.

What a server answers ends up on terminals and in logs. Control characters
could move the cursor or start a second log line there, bidirectional marks
could reorder what is read, and a URL may carry a password or a token.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

LIMIT = 200
"""Characters of a server's text that are worth showing."""


def clean(text: str, limit: int = LIMIT) -> str:
    """The text on one line, without control characters, at most ``limit`` characters long."""
    # A page of megabytes is not walked for the sake of its first line.
    shown = " ".join("".join(char if char.isprintable() else " " for char in text[: 8 * limit]).split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def address(url: str) -> str:
    """Scheme, host, port and path of a URL: the parts that cannot hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(unreadable URL)"
    host = parts.netloc.rpartition("@")[2]
    if "://" in url and parts.scheme:
        # The library leaves the slashes out where there is no host, as in sqlite:////srv/shop.db.
        return clean(f"{parts.scheme}://{host}{parts.path}")
    return clean(SplitResult(parts.scheme, host, parts.path, "", "").geturl())
