"""Whether an event is what the service's document says about events: names and types, never a value.

What is read of a document is :class:`fuagent.model.EventSchema`: property types, required names,
whether others are allowed. What a document says beyond that is the service's own to refuse.
https://json-schema.org/draft/2020-12/json-schema-validation#section-6.1.1
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fuagent.contract.schema import json_type
from fuagent.contract.text import clean
from fuagent.model import EventSchema

_LONGEST = 120


def problems(schema: EventSchema, event: Mapping[str, object]) -> Iterator[str]:
    """What the document would have otherwise, one sentence each."""
    for name in sorted(schema.required - event.keys()):
        yield f'the property "{clean(name, _LONGEST)}" is required and missing'
    for name, value in event.items():
        wanted = schema.properties.get(name)
        if wanted is None:
            if schema.closed:
                yield f'the property "{clean(name, _LONGEST)}" is not allowed'
        elif wanted.types and not wanted.types & kinds(value):
            given = json_type(value)
            kinds_wanted = clean(" or ".join(sorted(wanted.types)), _LONGEST)
            yield f'the property "{clean(name, _LONGEST)}" is {given}, and the document wants {kinds_wanted}'


def kinds(value: object) -> frozenset[str]:
    """The JSON types a value is of: a number without fraction is an integer too."""
    name = json_type(value)
    whole = name == "integer" or (isinstance(value, float) and value.is_integer())
    return frozenset({"integer", "number"}) if whole else frozenset({name})
