from __future__ import annotations

import pytest

from fuagent.contract import urls


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://API.Example.test/v1?x=1#y", "https://api.example.test"),
        ("HTTPS://api.example.test:443/", "https://api.example.test"),
        ("http://api.example.test:80", "http://api.example.test"),
        ("http://api.example.test:8080/a", "http://api.example.test:8080"),
        ("https://user:secret@api.example.test/", "https://api.example.test"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://[::1/", ""),
        ("http://host:99999/", ""),
        ("http://host:0/", ""),
        ("http:///path", ""),
        ("ftp://host/", ""),
        ("file:///etc/x", ""),
        ("/path", ""),
    ],
)
def test_origin(url, expected):
    """An origin is scheme, host and port in one spelling; what is no http URL has none."""
    assert expected == urls.origin(url)


@pytest.mark.parametrize(
    ("base", "path", "expected"),
    [
        ("https://h/v1", "/x", "https://h/v1/x"),
        ("https://h/v1/", "x", "https://h/v1/x"),
        ("https://h/", "//evil.test/x", "https://h/evil.test/x"),
        ("https://h", "/a b/ü?c=d e", "https://h/a%20b/%C3%BC?c=d%20e"),
        ("https://h", "/a%2Fb", "https://h/a%2Fb"),
    ],
)
def test_join(base, path, expected):
    """A path lands under the base's own path, on the base's host, and percent-encoded once."""
    assert expected == urls.join(base, path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost:1/", True),
        ("http://app.localhost/", True),
        ("http://127.9.9.9/", True),
        ("http://[::1]/", True),
        ("http://10.0.0.1/", False),
        ("http://localhost.example.test/", False),
        ("http://example.test/", False),
        ("nothing", False),
    ],
)
def test_loopback(url, expected):
    """Only names and addresses that always mean this machine are loopback."""
    assert expected is urls.is_loopback(url)


def test_small_questions():
    """Plain http, userinfo, files and unreadable references are told apart."""
    assert tuple(map(urls.is_plain, ("http://h/", "https://h/", "x"))) == (True, False, False)
    assert tuple(map(urls.has_userinfo, ("http://u@h/", "http://h/@", "u@h"))) == (True, False, False)
    assert tuple(map(urls.is_file, ("file:///a", "FILE:a", "a/b.json", "http://h/a"))) == (True, True, True, False)
    assert urls.resolve("http://h/", "http://[::1") == ""
    assert urls.resolve("http://h/a/c", "/b") == "http://h/b"
