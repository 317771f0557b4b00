#!/usr/bin/env python3
"""Checks what is deployed without deploying it: the chart against Kubernetes' schemas, the compose file against its
own, and the command lines of both against the binary and against each other.

    check.py --sarsen BINARY --helm BINARY --compose-schema FILE

Needs the Python packages kubernetes-validate, jsonschema and PyYAML; `make test-deploy` installs all of it.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).resolve().parent
CHART = HERE / "helm" / "sarsen"
KUBERNETES = "1.30.0"
ROLES = ["overlord", "controller", "worker", "gateway"]

# Values that take every branch of the templates at least once.
VALUES = {
    "defaults": {},
    "outside services": {
        "etcd": {"bundled": False, "endpoints": "etcd://a:2379,b:2379/sarsen"},
        "postgresql": {"bundled": False, "existingSecret": "database"},
        "tls": {"existingSecretPrefix": "nodes"},
        "auth": {"existingSecret": "admin"},
        "deepStorage": {"existingSecret": "bucket", "s3": {"endpoint": "http://s3:7070", "pathStyle": True}},
        "externAllow": ["s3://lake/", "https://example.org/"],
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/sarsen"}},
    },
    "everything": {
        "fullnameOverride": "druid-like",
        "worker": {"autoscaling": {"enabled": True}, "spill": {"storageClass": "fast"}, "tolerations": [{"operator": "Exists"}]},
        "gateway": {
            "tlsSecret": "https",
            "ingress": {"enabled": True, "className": "nginx", "hosts": ["sarsen.example.org"],
                        "tls": [{"secretName": "https", "hosts": ["sarsen.example.org"]}]},
        },
        "networkPolicy": {"gatewayFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "metricsFrom": [{"podSelector": {}}]},
        "otlpEndpoint": "http://otel:4317",
        "imagePullSecrets": [{"name": "registry"}],
        "podAnnotations": {"a": "b"},
        "etcd": {"storageClass": "fast"},
        "postgresql": {"storageClass": "fast"},
    },
    "open": {"tls": {"enabled": False}, "auth": {"enabled": False}, "networkPolicy": {"enabled": False},
             "serviceAccount": {"create": False}},
}

# Values that must be refused.
REFUSED = [
    {"worker": {"slotz": 3}},
    {"worker": {"slots": "many"}},
    {"deepStorage": {"url": "ftp://somewhere"}},
    {"etcd": {"bundled": False}},
    {"postgresql": {"bundled": False}},
]

faults = []


def fault(text):
    faults.append(text)
    print(f"FAIL {text}")


def helm(arguments, values):
    command = [options.helm, *arguments, str(CHART), "--values", "-"]
    return subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True)


def rendered(name, values):
    arguments = ["template", "rel", "--kube-version", KUBERNETES, "--namespace", "data"]
    if values.get("podMonitor"):
        arguments += ["--api-versions", "monitoring.coreos.com/v1"]
    result = helm(arguments, values)
    if result.returncode:
        fault(f"chart ({name}): {result.stderr}")
        return []
    return [document for document in yaml.safe_load_all(result.stdout) if document]


def check_chart():
    """Every object of every set of values is valid, and belongs together."""
    for name, values in VALUES.items():
        linted = helm(["lint", "--strict", "--kube-version", KUBERNETES], values)
        if linted.returncode:
            fault(f"helm lint ({name}): {linted.stdout}")
        objects = rendered(name, values)
        for found in objects:
            what = f"chart ({name}): {found['kind']} {found['metadata']['name']}"
            try:
                kubernetes_validate.validate(found, "1.30", strict=True)
            except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
                fault(f"{what}: {error.message}")
        check_references(name, objects)
        print(f"ok   chart ({name}): {len(objects)} objects")
    for values in REFUSED:
        if helm(["template", "rel", "--kube-version", KUBERNETES], values).returncode == 0:
            fault(f"the chart takes {values}")


def check_references(name, objects):
    """Pods are found by their services, disruption budgets and policies, and mount what is there."""
    pods = [found["spec"]["template"]["metadata"]["labels"] for found in objects if found["kind"] in ("StatefulSet", "Deployment")]
    made = {(found["kind"], found["metadata"]["name"]) for found in objects}
    for found in objects:
        kind, spec = found["kind"], found.get("spec", {})
        selector = {
            "Service": lambda: spec["selector"],
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
        }.get(kind)
        if selector and not any(selector().items() <= labels.items() for labels in pods):
            fault(f"chart ({name}): {kind} {found['metadata']['name']} selects no pod")
        if kind in ("StatefulSet", "Deployment"):
            pod = spec["template"]["spec"]
            volumes = {volume["name"] for volume in pod.get("volumes", [])}
            volumes |= {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
            for container in pod["containers"]:
                for mount in container.get("volumeMounts", []):
                    if mount["name"] not in volumes:
                        fault(f"chart ({name}): {found['metadata']['name']} mounts {mount['name']}, which is no volume")
        if kind == "StatefulSet" and ("Service", spec["serviceName"]) not in made:
            fault(f"chart ({name}): {found['metadata']['name']} names no service")


def check_compose():
    """The compose file is valid by its schema; its services need, mount and join what is there."""
    compose = yaml.safe_load((HERE / "docker-compose.yml").read_text())
    schema = json.loads(pathlib.Path(options.compose_schema).read_text())
    for error in jsonschema.Draft7Validator(schema).iter_errors(compose):
        fault(f"docker-compose.yml: {'/'.join(map(str, error.path))}: {error.message}")
    for name, service in compose["services"].items():
        for needed in service.get("depends_on", {}):
            if needed not in compose["services"]:
                fault(f"docker-compose.yml: {name} depends on {needed}, which is not there")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            there = (HERE / source).exists() if source.startswith(".") else source in compose["volumes"]
            if not there:
                fault(f"docker-compose.yml: {name} mounts {source}, which is not there")
    print(f"ok   docker-compose.yml: {len(compose['services'])} services")
    return compose


def settings_of(role, arguments, environment):
    """What the binary makes of a command line, as it prints it."""
    expanded = {key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for key, value in environment.items()}
    known = {key: value for key, value in expanded.items() if key.startswith("SARSEN_")}
    result = subprocess.run([options.sarsen, "config", "print", *arguments], env=known, capture_output=True, text=True)
    if result.returncode:
        fault(f"{role}: {' '.join(arguments)}: {result.stderr}")
        return {}
    lines = [line.split(" = ", 1) for line in result.stdout.splitlines() if " = " in line and not line.startswith("#")]
    printed = {name: value.split(" # ")[0].strip() for name, value in lines}
    variables = {line.split("environment ")[1].strip() for line in result.stdout.splitlines() if "# environment " in line}
    for variable in known.keys() - variables:
        if variable not in shared_variables:
            fault(f"{role}: {variable} is no setting of it")
    return {name: value for name, value in printed.items() if f" # default" not in result.stdout.split(f"\n{name} = ")[-1].split("\n")[0]}


def check_commands(compose):
    """Both run each role with the same settings, addresses and secrets apart."""
    objects = rendered("commands", {"tls": {"enabled": False}, "auth": {"enabled": False},
                                    "externAllow": ["s3://sarsen/", "https://"],
                                    "deepStorage": {"s3": {"endpoint": "http://s3:7070", "pathStyle": True}}})
    shared = next(found["data"] for found in objects if found["kind"] == "ConfigMap")
    for role in ROLES:
        service = next(value for name, value in compose["services"].items() if name.rstrip("0123456789") == role)
        composed = settings_of(role, service["command"], service["environment"])
        found = next(f for f in objects if f["kind"] in ("StatefulSet", "Deployment") and f["metadata"]["name"].endswith(f"-{role}"))
        container = found["spec"]["template"]["spec"]["containers"][0]
        environment = dict(shared)
        environment.update({e["name"]: e.get("value", "postgres://u:p@h/d") for e in container["env"]})
        charted = settings_of(role, container["args"], environment)
        # Where they differ on purpose: names, and what only one of the two has.
        own = {"advertise", "etcd", "overlord", "metadata", "drain-seconds", "spill-dir", "tasks", "log", "auth", "slots", "extern-allow" if role == "overlord" else ""}
        for setting in (composed.keys() | charted.keys()) - own:
            if composed.get(setting) != charted.get(setting):
                fault(f"{role}: {setting} is {composed.get(setting)} in compose and {charted.get(setting)} in the chart")
        print(f"ok   {role}: {' '.join(service['command'])}")


def check_dashboard():
    """The dashboard asks for metrics that exist."""
    documented = set(re.findall(r"^\| `(\w+)`", (HERE.parent / "docs" / "metrics.md").read_text(), re.M))
    dashboard = json.loads((HERE / "grafana" / "dashboards" / "sarsen.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            for name in re.findall(r"\b(?:druid|sarsen)_\w+", target["expr"]):
                if re.sub("_bucket$", "", name) not in documented:
                    fault(f"dashboard, {panel['title']}: {name} is not in docs/metrics.md")
    print(f"ok   dashboard: {len(dashboard['panels'])} panels")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sarsen", required=True)
parser.add_argument("--helm", required=True)
parser.add_argument("--compose-schema", required=True)
options = parser.parse_args()
all_settings = subprocess.run([options.sarsen, "config", "docs"], capture_output=True, text=True).stdout
# Settings that some role has: a process of another role passes over them.
shared_variables = set(re.findall(r"`(SARSEN_\w+)`", all_settings))
check_chart()
check_commands(check_compose())
check_dashboard()
sys.exit(f"{len(faults)} faults" if faults else 0)
