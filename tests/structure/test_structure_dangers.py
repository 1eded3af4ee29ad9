"""What the program never does, whoever asks it to: read code out of data, start another program, go without proof."""

import ast
import re

import pytest
from tree import ROOT, SOURCE, imports, modules, parse

CODE_IN_DATA = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
OTHER_PROGRAMS = {"subprocess", "multiprocessing", "pty", "os.system", "os.popen", "os.fork", "os.forkpty"}
STARTS = re.compile(r"\bos\.(?:system|popen|fork|forkpty|exec\w+|spawn\w+|posix_spawn\w*)\b|create_subprocess")
UNPROVEN = re.compile(r"CERT_NONE|check_hostname = False|_create_unverified_context|verify_ssl|ssl=False")


@pytest.fixture(scope="module")
def known():
    return modules()


def lines(pattern, known):
    """Module and text of every line of ours that a pattern is found in."""
    return {
        (module, line.strip())
        for module, path in known.items()
        for line in path.read_text(encoding="utf-8").splitlines()
        if pattern.search(line)
    }


@pytest.mark.fault("S42")
def test_no_state_is_code(known):
    """Nothing that is read back can run: no module knows a format that holds code, and YAML is read by our own reader."""
    found = [str(one) for one in imports(known) if one.target.partition(".")[0] in CODE_IN_DATA]
    loads = lines(re.compile(r"yaml\.(?:unsafe_|full_)?load\w*\(|UnsafeLoader|FullLoader"), known)

    assert found == []
    assert loads == set()


@pytest.mark.fault("S08")
def test_an_agent_starts_no_other_program(known):
    """Its environment, with secrets in it, is handed on to nobody; only the demonstration has children."""
    found = {one.module.partition(".")[0] for one in imports(known) if one.target in OTHER_PROGRAMS}

    assert found == {"demo"}
    assert {module.partition(".")[0] for module, _ in lines(STARTS, known)} <= {"demo"}


@pytest.mark.fault("S03")
def test_nothing_goes_without_proof_but_what_says_so(known):
    """One place leaves a certificate unproven: a database with tls: prefer or require. No key of a service's does."""
    places = {module for module, _ in lines(UNPROVEN, known)}
    schema = (ROOT / "docs" / "reference" / "config.schema.json").read_text(encoding="utf-8")

    assert places == {"sources.address"}
    assert re.findall(r'"(?:\w*insecure\w*|\w*verify\w*|skip_\w+|no_tls\w*)": \{', schema) == []


def test_text_becomes_code_in_few_places(known):
    """eval and exec stand where a function is made of our own text, with names that came through a gate."""
    found = {
        module
        for module, path in known.items()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec")
    }

    assert SOURCE.is_dir()
    assert found == {"encode.compile", "encode.templates", "wire.mysql.images", "wire.postgres.rows"}
