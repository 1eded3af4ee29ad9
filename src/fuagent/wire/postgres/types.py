"""Types as the catalogue ``pg_type`` tells of them, and the numbers of those that are built in.

Source: ``src/include/catalog/pg_type.dat``; these numbers never change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Type:
    """One type. ``kind`` is typtype: b base, c composite, d domain, e enum, m multirange, p pseudo, r range."""

    oid: int
    name: str
    kind: str = "b"
    category: str = "U"
    """typcategory: A for arrays."""
    element: int = 0
    """Of an array: the OID of its elements' type."""
    delimiter: str = ","
    """Of an array: what stands between its elements."""
    base: int = 0
    """Of a domain: the OID of what it narrows."""
    schema: str = "pg_catalog"


BOOL, BYTEA, CHAR, NAME = 16, 17, 18, 19
INT8, INT2, INT4, TEXT, OID = 20, 21, 23, 25, 26
JSON, FLOAT4, FLOAT8 = 114, 700, 701
BPCHAR, VARCHAR, DATE, TIME = 1042, 1043, 1082, 1083
TIMESTAMP, TIMESTAMPTZ, INTERVAL, NUMERIC = 1114, 1184, 1186, 1700
JSONB = 3802


def resolved(type_: Type, types: Mapping[int, Type]) -> Type:
    """The type itself, or what a domain over domains narrows in the end; a domain itself where that is not known."""
    for _ in range(len(types) + 1):
        if type_.kind != "d" or type_.base not in types:
            break
        type_ = types[type_.base]
    return type_
