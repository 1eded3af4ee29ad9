"""How a MySQL server lets a client in: the handshake, and passwords by two methods."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from harness.mysql_wire import (
    AUTOCOMMIT,
    CONNECT_ATTRS,
    CONNECT_WITH_DB,
    LENENC_AUTH,
    PLUGIN_AUTH,
    SSL,
    UTF8MB4,
    Wire,
)

NATIVE, SHA2 = "mysql_native_password", "caching_sha2_password"
FAST, FULL, PUBLIC_KEY = b"\x01\x03", b"\x01\x04", b"\x02"
SALT = bytes(range(33, 53))


@dataclass
class Login:
    """What a client said when it came, and how its password was seen."""

    user: str
    capabilities: int
    database: str = ""
    plugin: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    secure: bool = False
    switched: bool = False
    """It offered another method first."""
    how: str = ""
    """``fast``, ``full`` or ``rsa``; the native method is always fast."""
    granted: bool = False
    response: bytes = field(default=b"", repr=False)


def greeting(version: str, capabilities: int, plugin: str, number: int) -> bytes:
    """Protocol::HandshakeV10."""
    low, high = capabilities & 0xFFFF, capabilities >> 16
    return b"".join(
        (
            b"\x0a" + version.encode() + b"\0",
            struct.pack("<I", number) + SALT[:8] + b"\0",
            struct.pack("<HBHHB10x", low, UTF8MB4, AUTOCOMMIT, high, len(SALT) + 1),
            SALT[8:] + b"\0" + plugin.encode() + b"\0",
        )
    )


def wants_tls(payload: bytes) -> bool:
    """Whether this is an SSLRequest: a login cut off before the user's name."""
    return len(payload) == 32 and bool(int.from_bytes(payload[:4], "little") & SSL)


def parse(payload: bytes, offered: int) -> Login:
    """Protocol::HandshakeResponse41."""
    [capabilities] = struct.unpack_from("<I", payload)
    user, _, rest = payload[32:].partition(b"\0")
    login = Login(user.decode(), capabilities & offered)
    # Both ways to say a length agree below 251 bytes, and no response is longer.
    assert capabilities & LENENC_AUTH or rest[0] < 251
    login.response, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
    if login.capabilities & CONNECT_WITH_DB:
        name, _, rest = rest.partition(b"\0")
        login.database = name.decode()
    if login.capabilities & PLUGIN_AUTH:
        name, _, rest = rest.partition(b"\0")
        login.plugin = name.decode()
    if login.capabilities & CONNECT_ATTRS and rest:
        login.attributes = _attributes(rest)
    return login


def _attributes(rest: bytes) -> dict[str, str]:
    words, at = [], 1 if rest[0] < 251 else 3
    while at < len(rest):
        words.append(rest[at + 1 : at + 1 + rest[at]].decode())
        at += 1 + rest[at]
    return dict(zip(words[::2], words[1::2], strict=True))


async def check(wire: Wire, login: Login, plugin: str, password: str, *, cached: bool) -> None:
    """Ask for the password as ``plugin`` does; fills in how, and whether it was right."""
    if login.plugin != plugin:
        login.switched = True
        await wire.write(b"\xfe" + plugin.encode() + b"\0" + SALT + b"\0")
        login.response = await wire.read()
    login.plugin, login.how = plugin, "fast"
    if not password:
        login.granted = login.response in (b"", b"\0")
    elif plugin == NATIVE:
        login.granted = login.response == native(password)
    elif cached and login.response == sha2(password):
        login.granted = True
        await wire.write(FAST)
    else:
        await wire.write(FULL)
        login.granted = await _full(wire, login) == password.encode() + b"\0"


async def _full(wire: Wire, login: Login) -> bytes:
    """The password itself: as it is inside TLS, otherwise by the server's RSA key."""
    login.how = "full" if wire.secure else "rsa"
    said = await wire.read()
    if wire.secure:
        return said
    if said == PUBLIC_KEY:
        await wire.write(b"\x01" + public_key())
        said = await wire.read()
    try:
        plain = _key().decrypt(said, padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None))
    except ValueError:
        return b""
    return _xor(plain, SALT * (len(plain) // len(SALT) + 1))


def native(password: str) -> bytes:
    """What ``mysql_native_password`` makes of a password and our salt."""
    once = hashlib.sha1(password.encode()).digest()
    return _xor(once, hashlib.sha1(SALT + hashlib.sha1(once).digest()).digest())


def sha2(password: str) -> bytes:
    """What ``caching_sha2_password`` makes of a password and our salt."""
    once = hashlib.sha256(password.encode()).digest()
    # XOR(SHA256(password), SHA256(SHA256(SHA256(password)), salt)), as the manual writes it
    return _xor(once, hashlib.sha256(hashlib.sha256(once).digest() + SALT).digest())


def public_key() -> bytes:
    """The server's public key, as PEM."""
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    return _key().public_key().public_bytes(serialization.Encoding.PEM, kind)


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=False))
