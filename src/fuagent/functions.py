"""``package.module:function`` to the function itself, out of an installed package.

The directory fuagent is started in is no place to import from: the console script's
path does not hold it, and whoever may write there must not decide what runs here.
"""

from __future__ import annotations

import importlib
import inspect
from typing import NoReturn

from fuagent.errors import ConfigError
from fuagent.model import Finding, Level, Transform


def transform(name: str, where: str) -> Transform:
    """The function behind ``name``.

    Args:
        name: ``package.module:function``.
        where: The config path that names it.

    Raises:
        ConfigError: it is not there, cannot be imported, or is no plain function.
    """
    module, _, path = name.partition(":")
    try:
        found: object = importlib.import_module(module)
        for step in path.split("."):
            found = getattr(found, step)
    except Exception as error:
        _refuse(name, where, f"cannot be imported: {type(error).__name__}: {error}", error)
    if not callable(found) or inspect.iscoroutinefunction(found):
        _refuse(name, where, "is no plain function that takes a row and gives one")
    return Transform(name, found)


def _refuse(name: str, where: str, what: str, cause: Exception | None = None) -> NoReturn:
    text = "".join(character if character.isprintable() else " " for character in f"{name} {what}")[:300]
    fix = "Install its package into the environment fuagent runs in, and write package.module:function."
    raise ConfigError(text, (Finding(Level.ERROR, where, text, fix),), where=where) from cause
