"""MariaDB's login by signature: Ed25519 (RFC 8032), with the password where the private key stands.

A library signs with keys of 32 bytes alone, and a password may have any length. One login signs
once, so plain integers are fast enough (milliseconds).
https://mariadb.com/kb/en/authentication-plugin-ed25519/
"""

from __future__ import annotations

from hashlib import sha512

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
_Y = 4 * pow(5, -1, _P) % _P
_BASE = (_X, _Y, 1, _X * _Y % _P)

_Point = tuple[int, int, int, int]
"""Extended coordinates (X, Y, Z, T): x = X/Z, y = Y/Z, xy = T/Z."""


def signature(password: bytes, scramble: bytes) -> bytes:
    """The 64 bytes that answer a server's scramble."""
    half, seed = _halves(password)
    public = _packed(_times(half))
    once = _number(seed + scramble)
    point = _packed(_times(once))
    return point + ((once + _number(point + public + scramble) * half) % _ORDER).to_bytes(32, "little")


def _halves(password: bytes) -> tuple[int, bytes]:
    digest = sha512(password).digest()
    clamped = int.from_bytes(digest[:32], "little") & ((1 << 254) - 8) | (1 << 254)
    return clamped, digest[32:]


def _number(data: bytes) -> int:
    return int.from_bytes(sha512(data).digest(), "little") % _ORDER


def _sum(left: _Point, right: _Point) -> _Point:
    a = (left[1] - left[0]) * (right[1] - right[0]) % _P
    b = (left[1] + left[0]) * (right[1] + right[0]) % _P
    c = 2 * left[3] * right[3] * _D % _P
    d = 2 * left[2] * right[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(factor: int) -> _Point:
    done, step = (0, 1, 1, 0), _BASE
    while factor:
        if factor & 1:
            done = _sum(done, step)
        step = _sum(step, step)
        factor >>= 1
    return done


def _packed(point: _Point) -> bytes:
    inverse = pow(point[2], -1, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")
