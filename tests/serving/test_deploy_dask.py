"""The files of serving/deploy/dask/: each valid by its schema, and all of one mind. Nothing is deployed here."""

from __future__ import annotations

import copy
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

DASK = Path(__file__).parents[2] / "serving" / "deploy" / "dask"
MANIFESTS = {
    path.stem: yaml.safe_load(path.read_text()) for path in DASK.iterdir() if path.name != "kustomization.yaml"
}
SCHEDULER, WORKERS, SERVICE = (MANIFESTS[name] for name in ("scheduler", "workers", "service"))
PODS = {name: MANIFESTS[name]["spec"]["template"] for name in ("scheduler", "workers")}
CONTAINERS = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_is_valid(name, version):
    assert version.startswith(kubernetes_validate.validate(MANIFESTS[name], version, strict=True))


def test_a_mistake_would_be_seen():
    broken = copy.deepcopy(WORKERS)
    broken["spec"]["template"]["spec"]["containers"][0]["readOnlyRootFilesystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, kubernetes_validate.latest_version(), strict=True)


def test_kustomization_has_every_manifest():
    kustomization = yaml.safe_load((DASK / "kustomization.yaml").read_text())
    assert sorted(kustomization["resources"]) == sorted(f"{name}.yaml" for name in MANIFESTS)


def test_selectors_meet_and_workers_find_the_scheduler():
    for name, pod in PODS.items():
        assert MANIFESTS[name]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    chosen = SERVICE["spec"]["selector"].items()
    assert chosen <= PODS["scheduler"]["metadata"]["labels"].items()
    assert not chosen <= PODS["workers"]["metadata"]["labels"].items()
    (port,) = SERVICE["spec"]["ports"]
    assert f"--port={port['port']}" in CONTAINERS["scheduler"]["args"]
    assert CONTAINERS["workers"]["args"][0] == f"tcp://{SERVICE['metadata']['name']}:{port['port']}"
    policy = MANIFESTS["networkpolicy"]["spec"]["podSelector"]["matchLabels"].items()
    assert all(policy <= pod["metadata"]["labels"].items() for pod in PODS.values())


@pytest.mark.parametrize("name", CONTAINERS)
def test_arguments_are_dask_s(name):
    """Parsed by the command that is started."""
    pytest.importorskip("distributed", reason="needs the extra scale")
    from distributed.cli import dask_scheduler, dask_worker

    command = {"scheduler": dask_scheduler, "workers": dask_worker}[name].main
    command.make_context(name, list(CONTAINERS[name]["args"]))


@pytest.mark.parametrize("name", CONTAINERS)
def test_pods_meet_the_restricted_standard_and_workers_only_read(name):
    pod, container = PODS[name]["spec"], CONTAINERS[name]
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(mount.get("readOnly") or mount["mountPath"] == "/tmp" for mount in container["volumeMounts"])


def test_threads_are_as_many_as_the_cpus_requested():
    worker = CONTAINERS["workers"]
    given = {variable["name"]: variable["value"] for variable in worker["env"]}
    assert set(given.values()) == {worker["resources"]["requests"]["cpu"]}
