from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs

import pytest

from fuagent.contract import oauth
from fuagent.errors import HaltSyncError, TryAgainError, UnauthorisedError, WrongAnswerError
from fuagent.model import Credential, Secret

URL = "https://login.example.test/token?tenant=canary"
CLIENT = Credential(client_id="my client", client_secret=Secret("s:cret&ü"))


def read(status: int, body: object, headers: dict[str, str] | None = None) -> oauth.Token:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return oauth.read(status, headers or {}, data, url=URL, now=100.0, wall=0.0)


def test_request_with_header():
    """Id and secret go form-encoded into the Authorization header, and the secret is never shown."""
    request = oauth.request(CLIENT, URL, ("a", "b"))

    headers = dict(request.headers)
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == "my+client:s%3Acret%26%C3%BC"
    assert parse_qs(request.body.decode()) == {"grant_type": ["client_credentials"], "scope": ["a b"]}
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert "cret" not in repr(request)


def test_request_with_form():
    """After a refusal id and secret stand in the form, and the header is gone."""
    request = oauth.request(CLIENT, URL, (), in_body=True)

    assert "Authorization" not in dict(request.headers)
    assert parse_qs(request.body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["my client"],
        "client_secret": ["s:cret&ü"],
    }


def test_scopes_of_the_credential_win():
    """Scopes the operator names take the place of the document's."""
    request = oauth.request(Credential(scopes=("mine",)), URL, ("theirs",))

    assert parse_qs(request.body.decode())["scope"] == ["mine"]


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, b"", True),
        (400, b'{"error": "invalid_client"}', True),
        (400, b'{"error": "invalid_request"}', True),
        (400, b'{"error": "invalid_scope"}', False),
        (400, b"[]", False),
        (200, b"{}", False),
    ],
)
def test_wants_body(status, body, expected):
    """Only a refusal that may be about the header is asked again with the form."""
    assert expected is oauth.wants_body(status, body)


@pytest.mark.parametrize(
    ("expires", "until"),
    [
        (3600, 100.0 + 3570),
        (40, 100.0 + 20),
        ("3600", 100.0 + 3570),
        (None, None),
        (0, None),
        (-5, None),
        ("soon", None),
        ("1e999", None),
        ([1], None),
    ],
)
def test_lifetime(expires, until):
    """A token is given up a little before its end; without a readable end it lives until refused."""
    token = read(200, {"access_token": "t", "token_type": "Bearer", "expires_in": expires})

    assert until == token.until
    assert token.value.reveal() == "t"
    assert token.holds(100.0)
    assert token.holds(10_000.0) is (until is None)


@pytest.mark.parametrize(
    ("status", "body", "kind", "told"),
    [
        (401, {"error": "invalid_client", "error_description": "canary"}, UnauthorisedError, "401, invalid_client"),
        (400, b"nothing", UnauthorisedError, "(400)"),
        (403, {"error": 5}, UnauthorisedError, "(403)"),
        (500, b"", TryAgainError, "500"),
        (429, b"", TryAgainError, "429"),
        (200, {"token": "t"}, WrongAnswerError, "without an access token"),
        (200, {"access_token": ""}, WrongAnswerError, "without an access token"),
        (200, b"<html>", WrongAnswerError, "with a page"),
        (302, b"", WrongAnswerError, "302"),
        (200, {"access_token": "t", "token_type": "mac"}, HaltSyncError, "bearer"),
        (200, {"access_token": "t\r\nx: y"}, HaltSyncError, "control character"),
    ],
)
def test_no_token(status, body, kind, told):
    """Every other answer says what it was, with the address but no secret and no free text."""
    with pytest.raises(kind) as caught:
        read(status, body, {"retry-after": "7"})

    assert kind is type(caught.value)
    assert told in str(caught.value)
    assert "canary" not in str(caught.value)
    assert getattr(caught.value, "retry_after", 7) == 7
