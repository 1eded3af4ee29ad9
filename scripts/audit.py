"""Looks for known vulnerabilities in what fuagent runs on, as requirements/run.lock pins it; 1 where there is one.

The database of vulnerabilities is asked over the network. Where it cannot be, that is said and nothing fails: what
could not be looked up is no finding. Options go to pip-audit, which does the asking.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements" / "run.lock"
OPTIONS = ("--require-hashes", "--disable-pip", "--progress-spinner=off", "--format=json", "--timeout=10")
NOBODY = re.compile(r"(Connect\w*|Service|HTTP|Timeout|SSL|Proxy|Decode)Error|\w*Timeout\b")
"""How pip-audit and what it stands on say that the database did not answer, or not as it should."""


def main(*options: str) -> int:
    """Ask, print, and judge."""
    command = [sys.executable, "-m", "pip_audit", *OPTIONS, "--requirement", str(LOCK), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if not NOBODY.search(last):
            print(f"pip-audit failed: {last}")
            return 1
        print(f"Not audited: the database of vulnerabilities does not answer ({last[:200]}).")
        return 0
    return _judged(packages)


def _judged(packages: list[dict[str, object]]) -> int:
    """Print what was found; 1 where a package is vulnerable."""
    unknown = [str(one["name"]) for one in packages if "skip_reason" in one]
    if unknown:
        print(
            f"Not audited, unknown to the database of vulnerabilities here: {len(unknown)} of {len(packages)} packages."
        )
    found = [(one, vulnerability) for one in packages for vulnerability in one.get("vulns", [])]  # type: ignore[attr-defined]
    for one, vulnerability in found:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version as yet"
        print(f"{one['name']} {one['version']} is vulnerable: {vulnerability['id']}, mended in {fixed}.")
    if found:
        print("Run scripts/lock --upgrade, and commit the locks.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
