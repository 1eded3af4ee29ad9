"""Names to drivers, through the entry points of the installed packages.

A driver is one line in the packaging of whoever wrote it, under the group
``fuagent.sources`` or ``fuagent.pushers``; ours are no exception
(https://packaging.python.org/specifications/entry-points/). Listing reads the
packages' metadata and imports nothing; a driver is imported when it is used,
so that one with a missing library is no trouble to anybody else.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import NoReturn, cast

from pydantic import BaseModel

from fuagent.errors import ConfigError
from fuagent.interfaces import Pusher, PusherContext, Source, SourceContext
from fuagent.model import Finding, Level

SOURCES = "fuagent.sources"
PUSHERS = "fuagent.pushers"

_KINDS = {SOURCES: "source", PUSHERS: "pusher"}
_EXTRAS = {(SOURCES, "mysql"): "mysql", (SOURCES, "postgres"): "postgres"}
"""Drivers whose libraries come with an extra of fuagent."""
_SPELLINGS = {"mariadb": "mysql", "postgresql": "postgres", "pg": "postgres", "sqlite3": "sqlite", "http": "openapi"}
_OURS = "fuagent"
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Driver:
    """One installed driver, not imported: its name, and the package it comes from."""

    group: str
    name: str
    package: str
    target: str
    """``module:Class``."""


def known(group: str) -> tuple[Driver, ...]:
    """The drivers of a group by name; nothing is imported."""
    return tuple(sorted({_driver(group, entry) for entry in entry_points(group=group)}, key=_order))


def load_source(name: str) -> Callable[[SourceContext], Source]:
    """The class behind a source driver's name.

    Raises:
        ConfigError: there is none of that name, or it cannot be used.
    """
    return cast("Callable[[SourceContext], Source]", _load(SOURCES, name))


def load_pusher(name: str) -> Callable[[PusherContext], Pusher]:
    """The class behind a pusher driver's name; raises as :func:`load_source`."""
    return cast("Callable[[PusherContext], Pusher]", _load(PUSHERS, name))


def options(group: str, name: str) -> type[BaseModel]:
    """The model a driver reads its driver_params with; raises as :func:`load_source`."""
    return cast("type[BaseModel]", _load(group, name).Options)  # type: ignore[attr-defined]


def summary(group: str, name: str) -> str:
    """The first line of a driver's docstring; raises as :func:`load_source`."""
    lines = (_load(group, name).__doc__ or "").strip().splitlines()
    return _clean(lines[0]) if lines else ""


def _driver(group: str, entry: EntryPoint) -> Driver:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
    return Driver(group, entry.name, package, entry.value)


def _order(driver: Driver) -> tuple[str, str, str]:
    return driver.name, driver.package, driver.target


def _load(group: str, name: str) -> type:
    found = [entry for entry in entry_points(group=group) if entry.name == name]
    if not found:
        _unknown(group, name)
    if len({entry.value for entry in found}) > 1:
        packages = " and ".join(sorted({_driver(group, entry).package for entry in found}))
        _refuse(f"the {_KINDS[group]} driver {_clean(name)} is there twice: in {packages}", "Uninstall one of them.")
    return _checked(_imported(group, found[0]), group, found[0])


def _unknown(group: str, name: str) -> NoReturn:
    names = sorted({driver.name for driver in known(group)})
    what = f"there is no {_KINDS[group]} driver {_clean(name)}"
    extra = _EXTRAS.get((group, name))
    if extra:
        _refuse(what, _install(extra))
    possible = sorted({*names, *(other for of, other in _EXTRAS if of == group)})
    close = (
        [_SPELLINGS[name]] if _SPELLINGS.get(name) in possible else difflib.get_close_matches(name, possible, 2, 0.7)
    )
    if close:
        _refuse(what, f"Did you mean {' or '.join(close)}?")
    _refuse(what, f"Installed are: {', '.join(names) or 'none'}.")


def _imported(group: str, entry: EntryPoint) -> object:
    """The object behind the entry point. Whatever an import raises is that package's fault, not ours."""
    extra = _EXTRAS.get((group, entry.name))
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if extra and missing and missing != _OURS:
            what = (
                f"the {_KINDS[group]} driver {entry.name} needs the package {_clean(missing)}, which is not installed"
            )
            _refuse(what, _install(extra), error)
        _broken(group, entry, f"{type(error).__name__}: {error}", error)
    except Exception as error:
        _broken(group, entry, f"{type(error).__name__}: {error}", error)


def _checked(found: object, group: str, entry: EntryPoint) -> type:
    """A driver is a class with ``Options``: a frozen model that refuses unknown keys."""
    if not isinstance(found, type):
        _broken(group, entry, "it is not a class")
    model = getattr(found, "Options", None)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        _broken(group, entry, "it has no Options model")
    if model.model_config.get("extra") != "forbid" or not model.model_config.get("frozen"):
        _broken(group, entry, "its Options model must be frozen and forbid extra keys")
    return found


def _broken(group: str, entry: EntryPoint, reason: str, cause: Exception | None = None) -> NoReturn:
    driver = _driver(group, entry)
    what = f"the {_KINDS[group]} driver {_clean(driver.name)} of the package {driver.package} cannot be used"
    fix = f"Update or reinstall {driver.package.rpartition(' ')[0]}, or tell its authors."
    _refuse(f"{what}: {_clean(reason)}", fix, cause)


def _install(extra: str) -> str:
    return f"pip install '{_OURS}[{extra}]'"


def _refuse(what: str, fix: str, cause: Exception | None = None) -> NoReturn:
    raise ConfigError(what, (Finding(Level.ERROR, "", what, fix),)) from cause


def _clean(text: str) -> str:
    """Names and errors of other packages, fit for one line."""
    return "".join(character if character.isprintable() else " " for character in text)[:_SHOWN]
