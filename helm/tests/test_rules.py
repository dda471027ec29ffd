"""What must hold of every release, whatever its values."""

import math

import pytest

from conftest import MINIMAL, merged

SERVICES = ("registry", "scorer", "trainer")


def selects(selector: dict, labels: dict) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def containers(pod: dict) -> list[dict]:
    return pod.get("initContainers", []) + pod["containers"]


def ports(pod: dict) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for one in containers(pod) for port in one.get("ports", [])}


def test_nobody_is_root_or_writes_to_an_image(example):
    for name, _, pod in example.pods():
        of_pod = pod["securityContext"]
        assert of_pod["runAsNonRoot"] and of_pod["runAsUser"] == 65532, name
        assert of_pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
        assert pod["automountServiceAccountToken"] is False, name
        for container in containers(pod):
            own = container["securityContext"]
            assert own["readOnlyRootFilesystem"] and not own["allowPrivilegeEscalation"], name
            assert own["capabilities"] == {"drop": ["ALL"]} and "privileged" not in own, name
            assert "runAsUser" not in own, name
    for account in example.of_kind("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


def test_every_container_has_limits_and_requests(example):
    for name, _, pod in example.pods():
        for container in containers(pod):
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) >= {"cpu", "memory"}, name


def test_variables_of_kubernetes_own_are_kept_out(example):
    """A Service decant-registry would make DECANT_REGISTRY_PORT."""
    assert all(pod["enableServiceLinks"] is False for _, _, pod in example.pods())


def test_selectors_find_the_pods_that_are_meant(example):
    labels = {labels["app.kubernetes.io/component"]: labels for _, labels, _ in example.pods()}
    for found in example.of_kind("PodDisruptionBudget", "Service", "NetworkPolicy"):
        spec = found["spec"]
        selector = spec.get("podSelector", spec.get("selector"))
        selector = selector.get("matchLabels", selector)
        component = found["metadata"]["labels"]["app.kubernetes.io/component"]
        assert [one for one in labels if selects(selector, labels[one])] == [component], found
    for found in example.workloads():
        template = found["spec"]["template"]["metadata"]["labels"]
        assert selects(found["spec"]["selector"]["matchLabels"], template)
        for spread in found["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            assert selects(spread["labelSelector"]["matchLabels"], template)


def test_ports_exist(example):
    pods = [(labels, ports(pod)) for _, labels, pod in example.pods()]
    for service in example.of_kind("Service"):
        (of_pod,) = [ports for labels, ports in pods if selects(service["spec"]["selector"], labels)]
        for port in service["spec"]["ports"]:
            assert of_pod[port["targetPort"]] == port["port"], service["metadata"]["name"]
    for policy in example.of_kind("NetworkPolicy"):
        spec = policy["spec"]
        (own,) = [ports for labels, ports in pods if selects(spec["podSelector"]["matchLabels"], labels)]
        named = [port["port"] for rule in spec["ingress"] for port in rule["ports"]]
        assert set(named) <= set(own), policy["metadata"]["name"]
        assert set(own) == set(named), "a port that nobody may reach"
        # Where a rule points to pods of the release, they must listen there.
        for rule in spec["egress"]:
            for peer in rule.get("to", []):
                selector = peer.get("podSelector", {}).get("matchLabels", {})
                if "app.kubernetes.io/component" in selector:
                    (theirs,) = [ports for labels, ports in pods if selects(selector, labels)]
                    assert {port["port"] for port in rule["ports"]} <= set(theirs.values())


def test_policies_cover_every_serving_pod_both_ways(render):
    values = {"etcd": {"bundled": {"enabled": True}}, "bundles": {"url": "s3://models"}, "networkPolicy": {"enabled": True}}
    rendered = render(values)
    covered = {policy["metadata"]["name"] for policy in rendered.of_kind("NetworkPolicy")}
    assert covered == {found["metadata"]["name"] for found in rendered.workloads()}
    assert all(policy["spec"]["policyTypes"] == ["Ingress", "Egress"] for policy in rendered.of_kind("NetworkPolicy"))
    etcd = rendered.one("NetworkPolicy", "decant-etcd")["spec"]["ingress"]
    (client,) = [rule for rule in etcd if rule["ports"] == [{"port": "client"}]]
    who = [peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] for peer in client["from"]]
    assert who == ["registry", "scorer"]


def test_volumes_and_mounts_belong_together(example):
    for name, _, pod in example.pods():
        mounted = {mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", [])}
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for found in example.workloads():
            if found["metadata"]["name"] == name:
                volumes |= {claim["metadata"]["name"] for claim in found["spec"].get("volumeClaimTemplates", [])}
        assert mounted == volumes, name


def test_secrets_and_config_maps_that_the_chart_makes_are_there(example):
    """A name that nobody gave must be that of an object of the release."""
    made = {found["metadata"]["name"] for found in example.of_kind("ConfigMap", "Secret")}
    made |= {found["spec"]["secretName"] for found in example.of_kind("Certificate")}
    for name, _, pod in example.pods():
        for volume in pod.get("volumes", []):
            used = volume.get("configMap", {}).get("name") or volume.get("secret", {}).get("secretName") or ""
            if used.startswith(("decant-", "recommender-")):
                assert used in made, f"{name} uses {used}"


@pytest.mark.parametrize("service", SERVICES)
def test_kubernetes_waits_longer_than_the_drain(service, render, refused):
    def patience(values: dict) -> int:
        found = [one for one in render(merged(MINIMAL, values)).workloads() if one["metadata"]["name"] == f"decant-{service}"]
        return found[0]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]

    for propagation, calls in [(0, 0), (5000, 20000), (1, 1000), (60000, 600000)]:
        drain = {"drain": {"propagation_millis": propagation, "patience_millis": calls}}
        assert patience({service: {"config": drain}}) == math.ceil((propagation + calls) / 1000) + 5
    drain = {"drain": {"propagation_millis": 7500, "patience_millis": 22001}}
    assert patience({service: {"config": drain, "terminationGracePeriodSeconds": 31}}) == 31
    error = refused({service: {"config": drain, "terminationGracePeriodSeconds": 30}})
    assert f"{service}.terminationGracePeriodSeconds: 30 is not above the 30 s" in error


def test_a_drain_is_told_to_those_who_balance(render):
    rendered = render(MINIMAL)
    for service in ("registry", "scorer"):
        assert "propagation_millis = 0\n" not in rendered.config(service)
    for name, _, pod in rendered.pods():
        assert all("lifecycle" not in one for one in containers(pod)), f"{name}: draining is the process's own work"


def test_probes_ask_the_health_service(render):
    def probes(values: dict, service: str) -> dict:
        ((_, _, pod),) = [pod for pod in render(merged(MINIMAL, values)).pods() if pod[0] == f"decant-{service}"]
        return {kind: pod["containers"][0][f"{kind}Probe"] for kind in ("startup", "liveness", "readiness")}

    plain = probes({}, "scorer")
    # Ready is who has loaded what was wanted at the start; alive is who answers at all.
    assert plain["readiness"]["grpc"] == {"port": 7430, "service": "decant.scorer.v1.ScorerService"}
    assert plain["liveness"]["grpc"] == plain["startup"]["grpc"] == {"port": 7430}
    assert probes({}, "registry")["readiness"]["grpc"] == {"port": 7420}
    secrets = {one: {"tls": {"existingSecret": one}} for one in (*SERVICES, "cli")}
    secure = probes({"tls": {"enabled": True}} | secrets, "scorer")
    assert not any("grpc" in probe for probe in secure.values())
    assert secure["readiness"]["httpGet"] == {"path": "/readyz?service=decant.scorer.v1.ScorerService", "port": "metrics"}
    assert secure["liveness"]["httpGet"] == {"path": "/healthz", "port": "metrics"}


def test_an_upgrade_keeps_every_scorer_until_another_is_ready(render):
    spec = render(MINIMAL).one("Deployment", "decant-scorer")["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_who_scales_says_how_many(render):
    autoscaling = {"scorer": {"autoscaling": {"enabled": True, "targetInFlight": 8}}}
    rendered = render(merged(MINIMAL, autoscaling))
    assert "replicas" not in rendered.one("Deployment", "decant-scorer")["spec"]
    scaler = rendered.one("HorizontalPodAutoscaler", "decant-scorer")["spec"]
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] >= 300
    assert [metric["type"] for metric in scaler["metrics"]] == ["Pods", "Resource"]
    assert scaler["metrics"][0]["pods"]["metric"]["name"] == "decant_scorer_in_flight"


def test_a_changed_configuration_is_a_changed_pod(render):
    def template(values: dict, service: str) -> dict:
        return render(merged(MINIMAL, values)).one("Deployment", f"decant-{service}")["spec"]["template"]

    changed = {"registry": {"config": {"registry": {"pushes": 9}}}}
    assert template({}, "registry") != template(changed, "registry")
    assert template({}, "scorer") == template(changed, "scorer")


def test_a_job_for_each_component_is_scraped_once(render):
    rendered = render(merged(MINIMAL, {"metrics": {"serviceMonitor": {"enabled": True}}}))
    (monitor,) = rendered.of_kind("ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"]
    (endpoint,) = monitor["spec"]["endpoints"]
    scraped = [
        service["metadata"]["labels"]["app.kubernetes.io/component"]
        for service in rendered.of_kind("Service")
        if selects(selector, service["metadata"]["labels"])
        and endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    ]
    assert sorted(scraped) == sorted(SERVICES)


def test_services_know_each_other_by_their_certificates(render):
    issuer = {"certManager": {"enabled": True, "issuerRef": {"name": "internal"}}}
    rendered = render(merged(MINIMAL, {"tls": {"enabled": True} | issuer, "auth": {"enabled": True}}))
    names = {one["metadata"]["name"]: one["spec"]["dnsNames"] for one in rendered.of_kind("Certificate")}
    assert set(names) == {"decant-registry", "decant-scorer", "decant-trainer", "decant-cli"}
    scorer = rendered.config("scorer")
    for service, role in [("registry", "viewer"), ("trainer", "publisher"), ("cli", "viewer")]:
        identity = f"decant-{service}.ranking.svc"
        assert identity in names[f"decant-{service}"]
        assert f'{{ identity = "dns:{identity}", name = "decant-{service}", role = "{role}" }}' in scorer
    # A registry calls scorers by their pods' addresses, and looks for a name that all their certificates hold.
    assert 'server_name = "decant-scorer.ranking.svc"' in rendered.config("registry")
    assert "decant-scorer.ranking.svc" in names["decant-scorer"]
