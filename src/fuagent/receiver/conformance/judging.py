"""The judge: finds the document, plays every probe, and reports."""

from __future__ import annotations

import secrets

from fuagent.contract import auth
from fuagent.contract.text import address
from fuagent.receiver.conformance import discovery
from fuagent.receiver.conformance.findings import Finding, Left, Report, Result
from fuagent.receiver.conformance.link import Link
from fuagent.receiver.conformance.player import Player
from fuagent.receiver.conformance.probes import PROBES
from fuagent.receiver.conformance.rows import Maker
from fuagent.receiver.conformance.target import Target


async def judge(target: Target) -> Report:
    """Ask a live service everything the contract says of it, with rows of fresh tasks and agents.

    Raises:
        TryAgainError: nobody answers there, or the document's file cannot be read.
        HaltSyncError: the credential cannot be sent in a header.
    """
    token = secrets.token_hex(4)
    fresh = f"fuagent-conformance-{token}"
    # A second run as the same agent must not meet the checkpoints of the first.
    task, agent = target.task_id or fresh, f"{target.agent_id}-{token}" if target.agent_id else fresh
    async with Link(target.timeout) as link:
        proof = dict(auth.access(target.credential()).headers)
        found = await discovery.find(link, target.url, target.settings(), task, proof)
        if found.service is None:
            reason = "nobody says where the service is"
            skipped = (Finding(probe.about, Result.SKIPPED, reason) for probe in PROBES)
            return Report(found.where, "", "", (*found.findings, *skipped), Left())
        player = Player(link, target, found.service, Maker(found.service.document, found.items), task, agent)
        findings = [*found.findings, *[await player.play(probe) for probe in PROBES]]
        batch_url, status_url = address(found.service.batch_url(task)), address(found.service.status_url or "")
        return Report(found.where, batch_url, status_url, tuple(findings), player.left)
