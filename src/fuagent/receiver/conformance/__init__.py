"""The judge of a live service: what the contract asks, asked over HTTP, in whatever language it is written.

``fuagent conformance URL`` is its command; a service written in Python can ask from its own tests::

    from fuagent.receiver.conformance import Target, judge

    async def test_keeps_the_contract(service_url):
        report = await judge(Target(f"{service_url}/openapi.json", key="secret", rows=100))

        assert report.failed() == ()

Rows are really sent: use a service whose data may be thrown away.
"""

from fuagent.receiver.conformance.findings import About, Finding, Grade, Left, Report, Result
from fuagent.receiver.conformance.judging import judge
from fuagent.receiver.conformance.target import Target

__all__ = ["About", "Finding", "Grade", "Left", "Report", "Result", "Target", "judge"]
