"""Which service is judged, and as whom."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import quote

from fuagent.contract.auth import COVER
from fuagent.contract.spec import Settings
from fuagent.model import Credential, Secret


@dataclass(frozen=True, slots=True)
class Target:
    """One service: the URL or file of its document, or its own URL.

    ``key``, or ``user`` and ``password``, or none of them. ``task_id`` None: every probe has a task of its
    own that nobody has seen before; else all have this one, for a service that knows its tasks beforehand, and
    where a probe is about two tasks there are two agents instead.
    Each probe's agent id is ``agent_id``, a random part and the probe's name. ``rows`` is the size of the large batch,
    ``timeout`` the seconds one request may take.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    batch_endpoint: str = "/ingest-batch"
    status_endpoint: str | None = None
    base_url: str | None = None
    task_id: str | None = None
    agent_id: str | None = None
    rows: int = 5000
    timeout: float = 30.0

    @property
    def has_credential(self) -> bool:
        """Whether there is anything to prove."""
        return self.key is not None or self.user is not None

    def credential(self) -> Credential | None:
        """The credential as the agent would have it."""
        if not self.has_credential:
            return None
        key, password = (None if one is None else Secret(one) for one in (self.key, self.password))
        return Credential(key=key, user=self.user, password=password)

    def settings(self) -> Settings:
        """How the document is to be read."""
        return Settings(self.batch_endpoint, self.status_endpoint, self.base_url)

    def covered(self, text: str) -> str:
        """The text with every spelling of the secrets covered, the longest first."""
        pair = b64encode(f"{self.user}:{self.password}".encode()).decode() if self.password else ""
        spelled = {one for secret in (self.key, self.password) if secret for one in (secret, quote(secret, safe=""))}
        for secret in sorted({*spelled, pair} - {""}, key=len, reverse=True):
            text = text.replace(secret, COVER)
        return text
