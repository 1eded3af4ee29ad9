"""What others wrote and we run: pinned to its bytes, under licences that somebody looked at, asked about vulnerabilities."""

import importlib
import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cyclonedx.schema
import jsonschema_rs
import pytest
from tree import ROOT

LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
SCHEMAS = Path(cyclonedx.schema.__file__).parent / "_res"


@pytest.fixture
def packages(monkeypatch):
    """scripts/packages.py as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("packages")


@pytest.fixture
def database():
    """A database of vulnerabilities, in the form of OSV: package to its entry; gives its address, and whom it was asked for."""
    known, asked = {}, []

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self):
            name = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["package"]["name"]
            asked.append(name)
            body = json.dumps({"vulns": [known[name]]} if name in known else {}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", known, asked
        server.shutdown()
        thread.join()


def audit(address):
    """Run scripts/audit.py against this database; gives its exit code and what it said."""
    command = [
        sys.executable,
        str(ROOT / "scripts" / "audit.py"),
        "--vulnerability-service=osv",
        f"--osv-url={address}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.fault("S43")
@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_package_is_pinned_to_its_bytes(lock, packages):
    """One version each, with hashes, and nothing in a lock that is no such line: no address, no file, no option."""
    text = lock.read_text(encoding="utf-8")
    found = packages.locked(lock)
    lines = sum(1 + len(package.hashes) for package in found)

    # The fuzzer alone, what makes a wheel alone, and what holds files against their tools.
    assert len(found) > {"fuzz": 0, "build": 5, "deploy": 10}.get(lock.stem, 20)
    assert [package.name for package in found if not package.hashes] == []
    assert lines == len(text.splitlines())


@pytest.mark.fault("S43")
def test_what_is_installed_is_what_is_locked(packages):
    """The .venv takes nothing without a hash; what runs is locked once, and tested in those very versions."""
    installs = [line for line in (ROOT / "scripts" / "venv").read_text().splitlines() if "pip install" in line]
    tested = {(one.name, one.version, one.hashes) for one in packages.locked(ROOT / "requirements" / "dev.lock")}

    assert installs
    assert [line for line in installs if not re.search("--require-hashes|--no-index", line)] == []
    assert {(one.name, one.version, one.hashes) for one in packages.locked()} <= tested
    assert set(packages.direct()) <= {package.name for package in packages.locked()}


@pytest.mark.fault("S43")
def test_a_known_vulnerability_fails(database):
    """Each package is asked about; the vulnerable one is named with the version to go to."""
    address, known, asked = database
    assert audit(address) == (0, "")
    assert {"aiohttp", "psycopg-binary", "jsonschema-rs"} <= set(asked)

    known["aiohttp"] = {
        "id": "EXAMPLE-1",
        "summary": "an example",
        "affected": [
            {
                "package": {"name": "aiohttp", "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.1"}]}],
            }
        ],
    }
    code, said = audit(address)

    assert code == 1
    assert re.search(r"aiohttp [0-9.]+ is vulnerable: EXAMPLE-1, mended in 99\.1\.", said)


def test_without_a_database_it_is_said_and_nothing_fails():
    """Nobody there to ask is no finding; an option that makes no sense is no answer."""
    code, said = audit("http://127.0.0.1:1")
    wrong = subprocess.run([sys.executable, str(ROOT / "scripts" / "audit.py"), "--no-such-option"], check=False)

    assert code == 0
    assert "Not audited" in said
    assert wrong.returncode == 1


def test_the_bill_of_materials_is_what_is_locked(packages):
    """Valid as CycloneDX 1.6; every package with each of its hashes, the same each time, and no address in it."""
    schema = json.loads((SCHEMAS / "bom-1.6.SNAPSHOT.schema.json").read_text())
    validator = jsonschema_rs.validator_for(
        schema, retriever=lambda uri: json.loads((SCHEMAS / uri.rpartition("/")[2]).read_text())
    )
    text = packages.bill()
    bill = json.loads(text)

    assert [error.message for error in validator.iter_errors(bill)] == []
    assert not validator.is_valid({**bill, "components": [{"type": "library"}]})
    assert [
        (one["name"], one["version"], tuple(each["content"] for each in one["hashes"])) for one in bill["components"]
    ] == [(one.name, one.version, one.hashes) for one in packages.locked()]
    assert {"aiohttp", "psycopg", "asyncmy"} <= {
        re.split("[/@]", ref)[1] for ref in bill["dependencies"][0]["dependsOn"]
    }
    assert "://" not in text
    assert packages.bill() == text


def test_a_licence_nobody_looked_at_stops_the_page(packages):
    """A package that is not installed and not known, and one whose licence would bind us."""
    new = packages.Package("no-such-package", "1", "", ())
    assert packages.licence(packages.Package("aiohttp", "1", "", ())) == "Apache-2.0 AND MIT"
    with pytest.raises(packages.UnknownLicenceError, match=r"no-such-package 1: .* scripts/packages.py"):
        packages.licence(new)

    packages.ELSEWHERE["no-such-package"] = "AGPL-3.0-only OR GPL-3.0-only"
    try:
        with pytest.raises(packages.UnknownLicenceError):
            packages.licence(new)
    finally:
        del packages.ELSEWHERE["no-such-package"]
