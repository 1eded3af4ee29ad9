"""Who may send and ask: keys, and users with passwords, each bound to tasks or free."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from fuagent.contract import auth
from fuagent.model import Credential, Secret

Keys = str | Iterable[str] | Mapping[str, Collection[str] | None]
"""One key, several, or several with the tasks each may be used for (None: all)."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request may do. ``tasks`` None: everything."""

    tasks: frozenset[str] | None = None

    def covers(self, task_id: str) -> bool:
        """Whether it may send or ask for this task."""
        return self.tasks is None or task_id in self.tasks


class Access:
    """The credentials of a receiver.

    Raises:
        ValueError: a key, user or password is empty.
    """

    def __init__(self, keys: Keys = (), users: Mapping[str, str] | None = None) -> None:
        named = [keys] if isinstance(keys, str) else keys
        bound: dict[str, Collection[str] | None] = dict(named) if isinstance(named, Mapping) else dict.fromkeys(named)
        self.has_keys = bool(bound)
        self.has_users = bool(users)
        self._known = [
            *((Credential(key=Secret(key)), _grant(tasks)) for key, tasks in bound.items()),
            *((Credential(user=user, password=Secret(word)), Grant()) for user, word in (users or {}).items()),
        ]
        if not all([*bound, *(users or {}), *(users or {}).values()]):
            raise ValueError("an empty key, user or password lets anybody in: is a variable of the environment unset?")

    def grant(self, headers: Mapping[str, str]) -> Grant | None:
        """What the headers (names in lower case) prove; None: nothing.

        Every credential is looked at, so that the time taken does not tell how far one got.
        """
        found = [grant for credential, grant in self._known if auth.accepts(credential, headers)]
        return found[0] if found else None


def _grant(tasks: Collection[str] | None) -> Grant:
    if isinstance(tasks, str):
        raise ValueError("the tasks of a key are a list, even if there is only one")  # noqa: TRY004 - as its like
    return Grant(None if tasks is None else frozenset(tasks))
