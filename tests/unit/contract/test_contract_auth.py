from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuagent.contract import auth
from fuagent.contract.security import Scheme, Way
from fuagent.errors import HaltSyncError
from fuagent.model import Credential, Secret

KEY = Credential(key=Secret("k3y"))
BASIC = Credential(user="ann", password=Secret("pä:ss"))
CLIENT = Credential(client_id="id", client_secret=Secret("cs"))
WRITABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text == text.strip())


def key_in(place: str, name: str) -> Scheme:
    return Scheme("s", Way.API_KEY, "apiKey", place, name)


def encoded(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def test_key():
    """An API key is sent in both headers, exactly as the contract writes them."""
    assert auth.access(KEY).headers == (("x-api-key", "k3y"), ("Authorization", "Bearer k3y"))


def test_basic():
    """User and password are sent as Basic, in UTF-8."""
    assert (("Authorization", "Basic " + encoded("ann", "pä:ss")),) == auth.access(BASIC).headers
    assert (("Authorization", "Basic " + encoded("ann", "")),) == auth.access(Credential(user="ann")).headers


def test_nothing():
    """Without a credential nothing is sent, whatever is demanded."""
    assert auth.Access() == auth.access(None, ((key_in("header", "X"),),))


def test_token():
    """An access token is the bearer; a key beside it still goes into its own header."""
    token = Secret("t0k")

    assert auth.access(CLIENT, (), token).headers == (("Authorization", "Bearer t0k"),)
    both = Credential(key=Secret("k3y"), client_id="id", client_secret=Secret("cs"))
    assert dict(auth.access(both, (), token).headers) == {"x-api-key": "k3y", "Authorization": "Bearer t0k"}


@pytest.mark.parametrize(
    ("schemes", "headers", "query"),
    [
        ([key_in("header", "X-Own-Key")], {"X-Own-Key": "k3y"}, ""),
        ([key_in("header", "X-API-KEY")], {}, ""),
        ([key_in("header", "authorization")], {}, ""),
        ([key_in("query", "api key")], {}, "api%20key=k3y"),
        ([key_in("query", "a"), key_in("query", "b")], {}, "a=k3y&b=k3y"),
        ([key_in("cookie", "sid"), key_in("cookie", "two")], {"Cookie": "sid=k3y; two=k3y"}, ""),
        ([Scheme("s", Way.BEARER)], {}, ""),
        ([Scheme("s", Way.OAUTH2)], {}, ""),
    ],
)
def test_demands_on_top(schemes, headers, query):
    """What the document demands is sent beside the contract's own headers, never in their place."""
    found = auth.access(KEY, (tuple(schemes),))

    assert {"x-api-key": "k3y", "Authorization": "Bearer k3y"} | headers == dict(found.headers)
    assert query == found.query
    assert len(found.headers) == len({name.lower() for name, _ in found.headers})


def test_first_alternative_that_can_be_met():
    """Of several alternatives the first one the credential can meet is met."""
    alternatives = ((Scheme("b", Way.BASIC),), (key_in("query", "q"),), (key_in("query", "r"),))

    assert auth.access(KEY, alternatives).query == "q=k3y"
    assert auth.unmet(KEY, alternatives) == ()


def test_key_and_basic():
    """Where the document demands basic beside a key, Authorization is the basic one."""
    both = Credential(key=Secret("k3y"), user="ann", password=Secret("pw"))

    assert dict(auth.access(both).headers)["Authorization"] == "Bearer k3y"
    found = dict(auth.access(both, ((Scheme("b", Way.BASIC), key_in("header", "X-K")),)).headers)
    assert {"x-api-key": "k3y", "Authorization": "Basic " + encoded("ann", "pw"), "X-K": "k3y"} == found


@pytest.mark.parametrize(
    ("credential", "scheme", "told"),
    [
        (None, key_in("header", "X"), "credential.key"),
        (BASIC, key_in("header", "X"), "credential.key"),
        (KEY, key_in("header", "Host"), "cannot carry it"),
        (KEY, key_in("header", "task-id"), "cannot carry it"),
        (KEY, key_in("header", "a b\r\n"), "cannot carry it"),
        (KEY, Scheme("s", Way.BASIC), "credential.user"),
        (BASIC, Scheme("s", Way.BEARER), "credential.key"),
        (BASIC, Scheme("s", Way.OAUTH2), "credential.client_id"),
        (CLIENT, Scheme("s", Way.OAUTH2), "token URL"),
        (KEY, Scheme("s", Way.MUTUAL_TLS), "credential.cert_file"),
        (KEY, Scheme("s\x1b", Way.UNKNOWN, "http digest"), "not supported (http digest)"),
    ],
)
def test_unmet(credential, scheme, told):
    """What cannot be met is said, with what to set; nothing of it is sent."""
    (reason,) = auth.unmet(credential, ((scheme,),))

    assert told in reason
    assert "\x1b" not in reason
    assert auth.access(credential) == auth.access(credential, ((scheme,),))


@pytest.mark.parametrize(
    ("credential", "scheme"),
    [
        (CLIENT, Scheme("s", Way.OAUTH2, token_url="/t")),
        (Credential(client_id="i", client_secret=Secret("s"), token_url="https://h/t"), Scheme("s", Way.OAUTH2)),
        (CLIENT, Scheme("s", Way.BEARER)),
        (KEY, Scheme("s", Way.OAUTH2)),
        (BASIC, Scheme("s", Way.BASIC)),
        (Credential(cert_file="c.pem"), Scheme("s", Way.MUTUAL_TLS)),
    ],
)
def test_met(credential, scheme):
    """Every way has a credential that meets it."""
    assert auth.unmet(credential, ((scheme,),)) == ()


def test_no_demands():
    """Where nothing is demanded nothing is unmet."""
    assert auth.unmet(None, ()) == ()


@pytest.mark.parametrize(
    "value",
    ["canary\r\nx: y", "canary\nb", "canary\x00", "canary\x7f", " canary", "canary ", "canary\t", "canary\ud800"],
)
@pytest.mark.fault("S18")
def test_header_values(value):
    """What could begin another header, or would not arrive as it is, is refused without being shown."""
    with pytest.raises(HaltSyncError, match=r"credential\.key cannot be sent") as caught:
        auth.access(Credential(key=Secret(value)))

    assert "canary" not in str(caught.value)


@pytest.mark.fault("S18")
def test_values_that_cannot_stand_where_they_have_to():
    """A colon in a user and a cookie's own signs in a key are refused."""
    with pytest.raises(HaltSyncError, match="colon"):
        auth.access(Credential(user="a:b", password=Secret("p")))
    for name, key in (("sid", "a;b"), ("sid", "ü"), ("s id", "k")):
        with pytest.raises(HaltSyncError, match="cookie"):
            auth.access(Credential(key=Secret(key)), ((key_in("cookie", name),),))


def test_never_shown():
    """Headers and query of a request do not show what they carry."""
    assert "k3y" not in repr(auth.access(KEY, ((key_in("query", "q"),),)))


def arrived(credential: Credential, encoding: str) -> dict[str, str]:
    """The headers as a framework gives them that decodes header bytes so."""
    return {name.lower(): value.encode().decode(encoding) for name, value in auth.access(credential).headers}


@given(WRITABLE, st.sampled_from(["latin-1", "utf-8"]))
def test_round_trip_of_keys(key, encoding):
    """What one end sends the other end accepts, in either header, however headers are decoded."""
    credential = Credential(key=Secret(key))
    headers = arrived(credential, encoding)

    assert auth.accepts(credential, headers)
    assert auth.accepts(credential, {"x-api-key": headers["x-api-key"]})
    assert auth.accepts(credential, {"authorization": headers["authorization"]})
    assert not auth.accepts(Credential(key=Secret(key + "x")), headers)


@given(WRITABLE.filter(lambda user: ":" not in user), st.text(st.characters(exclude_categories=["Cs"])))
def test_round_trip_of_passwords(user, password):
    """User and password arrive whole, whatever they hold."""
    credential = Credential(user=user, password=Secret(password))

    assert auth.accepts(credential, arrived(credential, "latin-1"))
    assert not auth.accepts(Credential(user=user, password=Secret(password + "x")), arrived(credential, "latin-1"))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-api-key": ""},
        {"x-api-key": "wrong"},
        {"x-api-key": "ключ"},
        {"x-api-key": "\udcff"},
        {"authorization": "k3y"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic k3y"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic ключ"},
        {"authorization": "Digest k3y"},
    ],
)
def test_refused(headers):
    """Anything but the right value is refused, and no odd value makes the check fail."""
    assert not auth.accepts(KEY, headers)
    assert not auth.accepts(BASIC, headers)
    assert not auth.accepts(Credential(), headers)
    assert not auth.accepts(Credential(key=Secret("")), headers)


def test_accepts_either_spelling():
    """Scheme names know no case, and the other header may be wrong or gone."""
    assert auth.accepts(KEY, {"authorization": "bearer  k3y"})
    assert auth.accepts(KEY, {"x-api-key": "k3y", "authorization": "Basic other"})
    assert auth.accepts(BASIC, {"authorization": "BASIC " + encoded("ann", "pä:ss")})


@pytest.mark.fault("S35")
def test_how_much_of_a_secret_is_right_is_not_told_by_the_time(monkeypatch):
    """Every comparison with a secret is one that takes as long whatever the bytes are, and it decides."""
    compared = []

    def recorded(one, other):
        compared.append((one, other))
        return True

    monkeypatch.setattr(auth.hmac, "compare_digest", recorded)

    assert auth.accepts(KEY, {"x-api-key": "wrong"})
    assert auth.accepts(BASIC, {"authorization": "Basic " + encoded("ann", "wrong")})
    assert (b"k3y", b"wrong") in compared
    assert all(isinstance(one, bytes) for pair in compared for one in pair)


@given(st.dictionaries(st.sampled_from(["x-api-key", "authorization"]), st.text()))
def test_any_headers(headers):
    """Whatever is sent gives yes or no."""
    assert auth.accepts(KEY, headers) in {True, False}
    assert auth.accepts(BASIC, headers) in {True, False}


def test_what_is_shown_of_it_holds_no_secret():
    """Names of headers and parameters, and the scheme before a value, are told; every value is covered."""
    demands = [[key_in("header", "k-header"), key_in("query", "k-query"), key_in("cookie", "k-cookie")]]

    assert auth.covered(auth.access(KEY, demands)) == auth.Access(
        (
            ("x-api-key", "***"),
            ("Authorization", "Bearer ***"),
            ("k-header", "***"),
            ("Cookie", "***"),
        ),
        "k-query=***",
    )
    assert auth.covered(auth.access(BASIC)) == auth.Access((("Authorization", "Basic ***"),), "")
    assert auth.covered(auth.Access((), "a=1&b&c=2=3")) == auth.Access((), "a=***&b=***&c=***")
