"""Documents of the public, as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fuagent.contract import document, operation, security, spec, urls
from fuagent.contract.spec import Settings

FOLDER = Path(os.environ.get("FUAGENT_FIXTURES", Path(__file__).parents[4] / "shared" / "fixtures")) / "openapi"
EXPECTED = FOLDER / "expected.json"
if not EXPECTED.is_file():
    pytest.skip(f"recorded documents are not at {FOLDER} (set FUAGENT_FIXTURES)", allow_module_level=True)

RECORD = json.loads(EXPECTED.read_text())
URL = RECORD["document_url_used_for_relative_servers"]
DOCUMENTS = {entry["file"]: entry for entry in RECORD["documents"]}


@pytest.fixture(params=DOCUMENTS)
def entry(request):
    """What is known about one document."""
    return DOCUMENTS[request.param]


@pytest.fixture
def found(entry):
    """The document, read."""
    return document.read((FOLDER / entry["file"]).read_bytes(), URL)


def test_version(entry, found):
    """Every version is recognised."""
    assert found.version == entry["version"]


def test_base(entry, found):
    """The service is where the document says."""
    base = entry["base_urls"][0]
    hosts = tuple({urls.authority(url) for url in entry["base_urls"]})

    assert spec.service(found, Settings(allowed_hosts=hosts)).base_url == base


def test_operations(entry, found):
    """Every POST is found under its own path, with its JSON body; all other methods are none."""
    for expected in entry["operations"]:
        here = operation.find(found, expected["path"])
        if expected["method"] != "POST":
            assert expected["method"] in operation.methods(found, expected["path"])
            continue
        assert here is not None
        accepted = expected["request_body"] or []
        assert here.path == expected["path"]
        has_json = any(kind in {"application/json", "(body parameter)"} for kind in accepted)
        assert (here.body is not None) is (has_json and accepted != "unresolvable")


def test_schemes(entry, found):
    """Every security scheme is known by its name."""
    assert sorted(scheme.name for scheme in security.schemes(found)) == sorted(entry["security_schemes"])
