"""The files below deploy/: what they say of the agent is true, and the guide speaks of each."""

import re
import subprocess
import sys

import pytest
import yaml

from fuagent import config, drivers, listen
from fuagent.config_keys import SyncKeys


@pytest.fixture
def deploy(root):
    return root / "deploy"


def manifests(deploy, name):
    """What one file of manifests holds, by kind."""
    text = (deploy / "kubernetes" / name).read_text(encoding="utf-8")
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def pods(deploy):
    """The pod of each way of running it in Kubernetes."""
    with_journal = manifests(deploy, "with-journal.yaml")["StatefulSet"]
    without = manifests(deploy, "without-journal.yaml")["Deployment"]
    return [one["spec"]["template"]["spec"] for one in (with_journal, without)]


def test_the_guide_speaks_of_every_file(deploy, page):
    """Each file for running an agent somewhere stands in the guide; what watches it stands in another."""
    text = page("docs/how-to/deploy.md")
    own = [
        path for room in ("systemd", "compose", "kubernetes") for path in (deploy / room).iterdir() if path.is_file()
    ]

    assert [
        path.name
        for path in [*own, *deploy.glob("Docker*")]
        if f"(../../{path.relative_to(deploy.parent)})" not in text
    ] == []


@pytest.mark.parametrize("place", ["compose", "kubernetes"])
def test_each_configuration_is_right(deploy, tmp_path, place):
    """With the secrets in their files it is read without an error; nothing in it is a secret itself."""
    path = deploy / place / "config.yaml"
    text = path.read_text(encoding="utf-8")
    text = yaml.safe_load(text)["data"]["config.yaml"] if place == "kubernetes" else text
    for name in ("shop_password", "service_key"):
        (tmp_path / name).write_text("a secret\n")
        (tmp_path / name).chmod(0o600)
    text = re.sub(r"/run/secrets(?:/fuagent)?/", f"{tmp_path}/", text)

    made = config.parse(text, environ={}, options=drivers.options)

    assert made.warnings == ()
    assert made.agent_id
    assert [one.credential().password.reveal() for one in made.sources.values()] == ["a secret"]
    assert [one.credential().key.reveal() for one in made.pushers.values()] == ["a secret"]


def test_the_two_ways_in_kubernetes_differ_in_the_volume_alone(deploy):
    """Whoever mends one mends both; one agent, and never two at once."""
    one, other = pods(deploy)
    other["volumes"] = [volume for volume in other["volumes"] if volume["name"] != "state"]
    stateful, single = manifests(deploy, "with-journal.yaml"), manifests(deploy, "without-journal.yaml")

    assert one == other
    assert stateful["Service"] == single["Service"]
    assert stateful["StatefulSet"]["spec"]["replicas"] == single["Deployment"]["spec"]["replicas"] == 1
    assert single["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
    [claim] = stateful["StatefulSet"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "state"


def test_a_pod_that_is_not_ready_is_replaced(deploy):
    """A halted sync makes it unready, and what mends that may be a new image or a restart: by default neither comes."""
    assert manifests(deploy, "with-journal.yaml")["StatefulSet"]["spec"]["podManagementPolicy"] == "Parallel"


@pytest.mark.fault("S44")
def test_the_pod_is_restricted(deploy):
    """What the Pod Security Standard of that name asks for, a read-only file system, and no token."""
    pod = pods(deploy)[0]
    [container] = pod["containers"]
    security = pod["securityContext"]

    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False


def test_probes_and_times_are_the_agents(deploy, page):
    """The pages that are asked for are there, at the port that is listened on; a drain has time to finish."""
    [container] = pods(deploy)[0]["containers"]
    variables = {one["name"]: one["value"] for one in container["env"]}
    asked = {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    compose = yaml.safe_load((deploy / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    drain = SyncKeys.model_fields["drain"].default

    assert [path for path in asked if f"`{path}`" not in page("docs/reference/metrics.md")] == []
    assert container["ports"] == [
        {"name": "metrics", "containerPort": listen.address(variables["FUAGENT_LISTEN"]).port}
    ]
    assert pods(deploy)[0]["terminationGracePeriodSeconds"] > drain
    assert int(compose["services"]["agent"]["stop_grace_period"].removesuffix("s")) > drain


def test_commands_and_variables_are_ones_there_are(deploy):
    """What is started takes these options, and reads these variables."""
    compose = yaml.safe_load((deploy / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    [receive] = re.findall(r"exec fuagent (.+)$", compose["services"]["service"]["command"][0])
    for command in (receive.split(), pods(deploy)[0]["containers"][0]["args"]):
        done = subprocess.run([sys.executable, "-m", "fuagent", *command, "--help"], check=False, capture_output=True)
        assert done.returncode == 0, command
    sources = "".join(path.read_text(encoding="utf-8") for path in deploy.parent.glob("src/fuagent/cli*.py"))
    known = set(re.findall(r'envvar="(FUAGENT_\w+)"', sources))
    told = "".join(
        path.read_text(encoding="utf-8")
        for path in deploy.rglob("*")
        if path.suffix in {"", ".yaml", ".service"} and path.is_file()
    )

    assert set(re.findall(r"FUAGENT_[A-Z_]+", told)) - known == set()
