"""The files of `deploy/`, checked by the tools that read them; without its tool, a check is skipped and says so."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from starlette.testclient import TestClient

from jina_embeddings import JinaEmbeddings
from jina_embeddings.cli import app as commands
from jina_embeddings.engine.fake import FakeEngine
from served import app_of

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ["cpu", "gpu", "keda"]
# Kinds of operators; kubernetes-validate knows only those of Kubernetes itself.
CUSTOM = {"ScaledObject", "ServiceMonitor"}


def checked(tool: str, *arguments: object) -> str:
    """What the tool prints, which has to be content."""
    path = shutil.which(tool) or shutil.which(tool, path=str(Path(sys.executable).parent))
    if path is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@cache
def resources(overlay: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(checked("kubectl", "kustomize", DEPLOY / "kubernetes/overlays" / overlay)))


def containers(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in objects:
        if one["kind"] == "Deployment":
            yield from one["spec"]["template"]["spec"]["containers"]


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.cuda"])
def test_dockerfiles_are_clean(name: str) -> None:
    checked("hadolint", "--failure-threshold", "info", DEPLOY / "docker" / name)


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.cuda"])
def test_dockerfiles_copy_files_that_exist(name: str) -> None:
    for line in (DEPLOY / "docker" / name).read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            assert all((ROOT / source).exists() for source in line.split()[1:-1]), line


@pytest.mark.long
def test_overlays_are_valid_for_kubernetes(tmp_path: Path) -> None:
    files = []
    for overlay in OVERLAYS:
        own = [one for one in resources(overlay) if one["kind"] not in CUSTOM]
        assert {one["kind"] for one in own} == {"Deployment", "Service", "PodDisruptionBudget"}
        files.append(tmp_path / f"{overlay}.yaml")
        files[-1].write_text(yaml.safe_dump_all(own))
    checked("kubernetes-validate", "--strict", *files)


def test_a_misspelt_field_would_be_found(tmp_path: Path) -> None:
    (found,) = (deepcopy(one) for one in resources("gpu") if one["kind"] == "Deployment")
    found["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 90
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(AssertionError, match="terminationGracePeriodSecond"):
        checked("kubernetes-validate", "--strict", tmp_path / "all.yaml")


def test_scaling_keeps_a_replica_and_takes_missing_metrics_for_no_idleness() -> None:
    (scaled,) = (one for one in resources("keda") if one["kind"] == "ScaledObject")
    (deployment,) = (one for one in resources("keda") if one["kind"] == "Deployment")
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert scaled["spec"]["minReplicaCount"] >= 1
    assert "idleReplicaCount" not in scaled["spec"]
    (trigger,) = scaled["spec"]["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    # The scaler sets the number of replicas, so files that are applied again must not.
    assert "replicas" not in deployment["spec"]


def test_the_monitor_finds_the_service() -> None:
    found = {one["kind"]: one for one in resources("keda")}
    labels = found["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert labels.items() <= found["Service"]["metadata"]["labels"].items()
    ports = {port["name"] for port in found["Service"]["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in found["ServiceMonitor"]["spec"]["endpoints"]} <= ports


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_a_pod_has_the_time_that_its_server_takes_to_end(overlay: str) -> None:
    (pod,) = (one["spec"]["template"]["spec"] for one in resources(overlay) if one["kind"] == "Deployment")
    given = dict(argument.removeprefix("--").split("=") for argument in pod["containers"][0]["args"])
    assert pod["terminationGracePeriodSeconds"] > float(given["drain"]) + float(given["deadline"])


def options_in_use() -> Iterator[str]:
    for overlay in OVERLAYS:
        for container in containers(resources(overlay)):
            yield from (argument.partition("=")[0] for argument in container["args"])
    for name in ("docker/Dockerfile.cpu", "docker/Dockerfile.cuda", "systemd/jina-embeddings.service"):
        text = (DEPLOY / name).read_text().replace("\\\n", "")
        (line,) = re.findall(r"^(?:ENTRYPOINT|ExecStart=).*$", text, re.MULTILINE)
        yield from re.findall(r"--[a-z-]+", line)
    for name in ("skypilot.yaml", "modal_app.py"):
        text = (DEPLOY / "cloud" / name).read_text()
        yield from re.findall(r"--(?:model|host|port)\b", text)
    for service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values():
        if service["image"].startswith("jina-embeddings"):
            yield from (word for word in service["command"] if word.startswith("--"))


def test_the_command_has_every_option() -> None:
    known = {name for one in typer.main.get_command(commands).commands["serve"].params for name in one.opts}  # type: ignore[attr-defined]
    assert set(options_in_use()) <= known


def test_the_unit_is_valid_for_systemd(tmp_path: Path) -> None:
    unit = (DEPLOY / "systemd/jina-embeddings.service").read_text()
    command = Path(sys.executable).with_name("jina-embeddings")
    text = unit.replace("/opt/jina-embeddings/bin/jina-embeddings", str(command))
    (tmp_path / "jina-embeddings.service").write_text(text)
    checked("systemd-analyze", "verify", tmp_path / "jina-embeddings.service")


def test_compose_names_files_and_options_that_exist() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in compose["services"].values():
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        assert set(service.get("secrets", [])) <= set(compose["secrets"])


def test_examples_of_clouds_can_be_read() -> None:
    compile((DEPLOY / "cloud/modal_app.py").read_text(), "modal_app.py", "exec")
    task = yaml.safe_load((DEPLOY / "cloud/skypilot.yaml").read_text())
    assert task["service"]["readiness_probe"]["path"] == "/health/ready"
    assert f"--port {task['resources']['ports']}" in task["run"]


def test_prometheus_takes_its_rules_and_its_settings() -> None:
    checked("promtool", "check", "config", "--syntax-only", DEPLOY / "prometheus/prometheus.yaml")
    checked("promtool", "check", "rules", DEPLOY / "prometheus/alerts.yaml")


def test_alerts_fire_when_they_should() -> None:
    checked("promtool", "test", "rules", Path(__file__).with_name("alerts.yaml"))


def test_every_alert_has_a_case() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"][0]["rules"]
    cases = yaml.safe_load(Path(__file__).with_name("alerts.yaml").read_text())["tests"]
    tried = {case["alertname"] for one in cases for case in one["alert_rule_test"] if case["exp_alerts"]}
    assert tried == {rule["alert"] for rule in rules}


def queries() -> dict[str, str]:
    """All of PromQL in `deploy/`, by where it stands."""
    dashboard = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
    found = {
        f"dashboard: {panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    (variable,) = (one for one in dashboard["templating"]["list"] if one["type"] == "query")
    found["dashboard: job"] = re.sub(r"label_values\((\w+), \w+\)", r"\1", variable["query"]["query"])
    for group in yaml.safe_load((DEPLOY / "prometheus/alerts.yaml").read_text())["groups"]:
        found |= {rule["alert"]: rule["expr"] for rule in group["rules"]}
    scaled = yaml.safe_load((DEPLOY / "kubernetes/overlays/keda/scaledobject.yaml").read_text())
    found["keda"] = scaled["spec"]["triggers"][0]["metadata"]["query"]
    return found


def test_every_query_can_be_parsed(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries().values())
    ]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    checked("promtool", "check", "rules", tmp_path / "rules.yaml")


@pytest.fixture(scope="module")
def exposed() -> str:
    """`/metrics` of a server that has answered one request and refused another."""
    with JinaEmbeddings(engine=FakeEngine()) as model, TestClient(app_of(model).app) as client:
        assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
        assert client.post("/v1/embeddings", json={"input": ""}).status_code == 422
        return client.get("/metrics").text


def test_the_server_has_every_metric_that_is_asked_for(exposed: str) -> None:
    known = set(re.findall(r"^(\w+)(?:\{| )", exposed, re.MULTILINE))
    for place, query in queries().items():
        names = set(re.findall(r"\b(?:jina|process)_\w+", query))
        assert names or "up{" in query, place
        assert names <= known, place


def test_the_labels_that_are_asked_for_are_those_of_the_metric(exposed: str) -> None:
    # What Prometheus adds when it scrapes.
    added = {"job", "instance", "service"}
    for place, query in queries().items():
        for name, selector in re.findall(r"\b((?:jina|process)_\w+)\{([^}]*)\}", query):
            labels = set(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"', selector))
            sample = re.search(rf"^{name}(?:\{{(.*?)\}})? ", exposed, re.MULTILINE)
            assert sample is not None, place
            assert labels - added <= set(re.findall(r'(\w+)="', sample[1] or "")), place


def test_metrics_are_named_as_prometheus_wants_them(exposed: str, tmp_path: Path) -> None:
    path = shutil.which("promtool")
    if path is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run([path, "check", "metrics"], input=exposed, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
