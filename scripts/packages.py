"""What fuagent stands on at run time, as requirements/run.lock pins it: packages, their licences, the bill of materials.

Run, it writes the bill as CycloneDX 1.6 into ``dist/``, with every hash that a package may have and no address.
It holds no date and no chance: the same lock gives the same bytes.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from fuagent.version import __version__

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "run.lock"
PLACE = ROOT / "dist" / f"fuagent-{__version__}.cdx.json"
SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "ISC License": "ISC",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Python Software Foundation License": "PSF-2.0",
}
"""Other spellings of a licence in the metadata of packages, and its identifier in the list of SPDX."""
ELSEWHERE = {"async-timeout": "Apache-2.0", "colorama": "BSD-3-Clause", "tzdata": "Apache-2.0"}
"""Licences of packages that only another Python or another system installs, from their own metadata."""
MAY_STAND_BESIDE_OURS = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unlicense"),
    # Of their own files and of changes to them alone; the library is imported, and can be exchanged for another.
    *("MPL-2.0", "LGPL-3.0-only"),
}
_PINNED = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?: ; ([^\\]+?))?(?: \\)?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Package:
    """One package of a lock; ``marker`` says where it is installed, empty for everywhere."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Its name for programs (package URL)."""
        return f"pkg:pypi/{self.name}@{self.version}"


class UnknownLicenceError(Exception):
    """A package that does not say what its licence is, or not in words known here."""


def locked(path: Path = LOCK) -> list[Package]:
    """Every package of a lock, as `scripts/lock` writes it."""
    found: list[tuple[re.Match[str], list[str]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if begun := _PINNED.match(line):
            found.append((begun, []))
        elif held := _HASH.search(line):
            found[-1][1].append(held[1])
    return [Package(head[1], head[2], head[3] or "", tuple(hashes)) for head, hashes in found]


def licence(package: Package) -> str:
    """The package's licence as an SPDX expression.

    Raises:
        UnknownLicenceError: it cannot be told.
    """
    try:
        told = metadata.metadata(package.name).json
    except metadata.PackageNotFoundError:
        told = {"license": ELSEWHERE.get(package.name, "")}
    kinds = [kind.rpartition(" :: ")[2] for kind in told.get("classifier", ()) if kind.startswith("License")]
    said = [str(told.get("license_expression", "")), str(told.get("license", "")), *kinds]
    for one in said:
        known = SPDX.get(one, one)
        if known and set(_words(known)) <= MAY_STAND_BESIDE_OURS:
            return known
    raise UnknownLicenceError(
        f"{package.name} {package.version}: its licence is none that is known to go with ours. "
        "Look at it, then add it to scripts/packages.py, or do without the package."
    )


def direct() -> dict[str, list[str]]:
    """Package to what asks for it: ``always``, or extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted: dict[str, list[str]] = {}
    for extra, lines in {"always": project["dependencies"], **project["optional-dependencies"]}.items():
        for line in lines:
            name = re.split(r"[\[<>=~!; ]", line, maxsplit=1)[0].lower().replace("_", "-")
            if name != "fuagent":
                wanted.setdefault(name, []).append(extra)
    return wanted


def bill() -> str:
    """The bill of materials."""
    packages, wanted = locked(), direct()
    ours = {"type": "application", "bom-ref": "fuagent", "name": "fuagent", "version": __version__}
    return json.dumps(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"component": {**ours, "licenses": [{"license": {"id": "Apache-2.0"}}]}},
            "components": [_component(package) for package in packages],
            "dependencies": [
                {"ref": "fuagent", "dependsOn": [package.purl for package in packages if package.name in wanted]}
            ],
        },
        indent=1,
    )


def _component(package: Package) -> dict[str, Any]:
    told = licence(package)
    single = len(_words(told)) == 1
    where = {"description": f"installed where {package.marker}"} if package.marker else {}
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        **where,
        "hashes": [{"alg": "SHA-256", "content": one} for one in package.hashes],
        "licenses": [{"license": {"id": told}} if single else {"expression": told}],
        "purl": package.purl,
    }


def _words(expression: str) -> list[str]:
    """The licences in an SPDX expression."""
    return [word for word in re.split(r"[\s()]+", expression) if word not in ("", "AND", "OR", "WITH")]


def main() -> None:
    """Write it."""
    PLACE.parent.mkdir(exist_ok=True)
    PLACE.write_text(bill(), encoding="utf-8")
    print(f"{PLACE.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
