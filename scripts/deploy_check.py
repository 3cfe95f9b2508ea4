"""Holds what is in deploy/ and docker-compose.yml to the sources and to each other: python3 deploy_check.py ROOT

Every metric, and every label, that an alert or a dashboard asks for is declared in a crate's metrics.rs; every alert says
how bad it is and what to do; Grafana's files name each other rightly. Needs PyYAML. Prints what is wrong, one a line, and
ends with 1 if anything is.
"""

import json
import re
import sys
from pathlib import Path

import yaml

# What the Prometheus library says of every process.
PROCESS = {
    f"process_{name}"
    for name in ("cpu_seconds_total", "open_fds", "max_fds", "resident_memory_bytes", "start_time_seconds", "threads")
}
# What Prometheus itself adds.
PROMETHEUS = {"up"}
PROMETHEUS_LABELS = {"instance", "job", "le"}
SEVERITIES = {"page", "ticket", "note"}


class Sources:
    """The names in all metrics.rs: metrics and labels are string literals there."""

    def __init__(self, root):
        text = "\n".join(path.read_text() for path in root.glob("crates/*/src/**/metrics.rs"))
        self.literals = set(re.findall(r'"([a-z][a-z0-9_]*)"', text))

    def knows(self, metric):
        if metric in PROCESS | PROMETHEUS:
            return True
        name = metric.removeprefix("gateway_")
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        return name != metric and (name in self.literals or plain in self.literals)

    def faults_of(self, expression, place):
        bare = re.sub(r'"[^"]*"', '""', expression)
        for metric in sorted(set(re.findall(r"\b(?:(?:gateway|process)_\w+|up)\b(?=\s*[{\[)]|\s|$)", bare))):
            if not self.knows(metric):
                yield f"{place}: no crate has a metric {metric}"
        labels = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", bare))
        for group in re.findall(r"\b(?:by|on|without)\s*\(([^)]*)\)", bare):
            labels |= {label.strip() for label in group.split(",")}
        for label in sorted(labels - PROMETHEUS_LABELS - self.literals):
            yield f"{place}: no crate has a label {label}"


def check_alerts(root, sources):
    groups = yaml.safe_load((root / "deploy/alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    tested = (root / "deploy/alerts_test.yml").read_text()
    for rule in rules:
        name = rule["alert"]
        yield from sources.faults_of(rule["expr"], f"alert {name}")
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"alert {name}: severity is one of {', '.join(sorted(SEVERITIES))}"
        for annotation in ("summary", "runbook"):
            if not rule.get("annotations", {}).get(annotation):
                yield f"alert {name}: has no {annotation}"
        for metric in re.findall(r"\bgateway_\w+", " ".join(rule.get("annotations", {}).values())):
            if not sources.knows(metric):
                yield f"alert {name}: its text speaks of {metric}, which no crate has"
        if f'alertname="{name}"' not in tested:
            yield f"alert {name}: is not in alerts_test.yml"
    if not rules:
        yield "alerts.yml: has no alerts"


def check_grafana(root, sources):
    grafana = root / "deploy/grafana"
    datasources = yaml.safe_load((grafana / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    known = {source["uid"] for source in datasources}
    providers = yaml.safe_load((grafana / "provisioning/dashboards/gateway.yml").read_text())["providers"]
    services = yaml.safe_load((root / "docker-compose.yml").read_text())["services"]
    mounts = {volume.split(":")[1]: volume.split(":")[0] for volume in services["grafana"]["volumes"]}
    for provider in providers:
        folder = mounts.get(provider["options"]["path"])
        if folder is None or not (root / folder).is_dir():
            yield f"grafana: dashboards are read from {provider['options']['path']}, where nothing is mounted"
    for source in datasources:
        if re.match(r"http://([^:/]+)", source["url"])[1] not in services:
            yield f"grafana: {source['url']} is no service of docker-compose.yml"
    dashboards = sorted((grafana / "dashboards").glob("*.json"))
    for path in dashboards:
        dashboard = json.loads(path.read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        if len(ids) != len(set(ids)):
            yield f"{path.name}: two panels have the same id"
        for panel in dashboard["panels"]:
            place = f"{path.name}, {panel['title']}"
            if panel["type"] != "row" and panel["datasource"]["uid"] not in known:
                yield f"{place}: no datasource {panel['datasource']['uid']}"
            for target in panel.get("targets", []):
                yield from sources.faults_of(target["expr"].replace("$__rate_interval", "1m"), place)
    if not dashboards:
        yield "grafana: there is no dashboard"


def main(root):
    sources = Sources(root)
    faults = [*check_alerts(root, sources), *check_grafana(root, sources)]
    print("\n".join(faults) or "alerts and dashboards ask for what the crates have")
    return 1 if faults else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
