"""Holds the files below ``deploy/`` against the tools made for them; 1 where one of them complains.

``scripts/system-packages deployment`` brings the tools that are no Python packages. Each check is a function that
gives what is wrong, one line each; :data:`CHECKS` names them all.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deployment_hosts import CHECKS as HOSTS

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana" / "fuagent.json"
TOOLS = ROOT / ".cache" / "tools"
"""Where ``scripts/system-packages`` puts what it takes out of a package that would run a service."""
_GRAFANA = {"$__rate_interval": "5m", "$__range": "1h"}
"""What Grafana puts in place of its own variables where PromQL has no text."""


class MissingToolError(Exception):
    """A tool that is not on this machine."""


def tool(name: str) -> str:
    """Where a command is.

    Raises:
        MissingToolError: nowhere.
    """
    own = TOOLS / name
    found = str(own) if own.exists() else shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is not here: run scripts/system-packages deployment")
    return found


def run(name: str, *arguments: str) -> Iterator[str]:
    """What a tool prints where it fails; nothing where it is content."""
    done = subprocess.run([tool(name), *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        yield from (f"{name}: {line}" for line in (done.stdout + done.stderr).splitlines() if line.strip())


# ---------------------------------------------------------------- Prometheus and Grafana


def promtool() -> Iterator[str]:
    """Alert rules are rules, do what their tests say, and every question of the dashboard is PromQL."""
    yield from run("promtool", "check", "rules", "--lint-fatal", "deploy/prometheus/alerts.yaml")
    yield from run("promtool", "test", "rules", "deploy/prometheus/alerts_test.yaml")
    with tempfile.TemporaryDirectory() as folder:
        # A dashboard is no rule file, but each of its questions could stand in one; JSON is YAML too.
        rules = [{"record": f"dashboard:{at}", "expr": one} for at, one in enumerate(questions())]
        path = Path(folder) / "dashboard.yaml"
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
        yield from run("promtool", "check", "rules", "--lint=none", str(path))


def questions(dashboard: Path = DASHBOARD) -> list[str]:
    """Every PromQL expression of the dashboard, with Grafana's variables as Grafana would fill them."""
    told = json.loads(dashboard.read_text(encoding="utf-8"))
    asked = [target["expr"] for panel in panels(told) for target in panel.get("targets", ())]
    asked += [one["expr"] for one in told["annotations"]["list"]]
    return [re.sub(r"\$__\w+", lambda match: _GRAFANA[match[0]], one) for one in asked]


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel, rows and what is folded away in them included."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (promtool, *HOSTS)


def main() -> int:
    """Run every check and print what is wrong."""
    wrong = 0
    for check in CHECKS:
        try:
            for line in check():
                wrong += 1
                print(line)
        except MissingToolError as error:
            wrong += 1
            print(error)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
