"""What every file of the stack is held to, as functions that return a line for each breach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Yaml = Mapping[str, Any]

SECRET = re.compile(r"PASSWORD|SECRET|TOKEN$|PRIVATE|CREDENTIAL|API_?KEY|_KEY$")
"""In a variable's name: what it holds is not for `docker inspect` to show."""
_VARIABLE = re.compile(r"(?<!\$)\$\{(\w+)(?::?-([^}]*))?\}")
_COMPILERS = re.compile(r"\b(gcc|g\+\+|build-essential|clang|make|cargo|rustc|golang)\b")

# https://grafana.com/docs/grafana/latest/administration/provisioning/ names these, and no others
DATASOURCES = {"apiVersion", "prune", "deleteDatasources", "datasources"}
DATASOURCE = {
    *("name", "type", "access", "orgId", "uid", "url", "user", "database", "basicAuth", "basicAuthUser"),
    *("withCredentials", "isDefault", "jsonData", "secureJsonData", "version", "editable"),
}
PROVIDERS = {"apiVersion", "providers"}
PROVIDER = {
    *("name", "orgId", "folder", "folderUid", "type", "disableDeletion", "updateIntervalSeconds", "allowUiUpdates"),
    "options",
}
PROVIDER_OPTIONS = {"path", "foldersFromFilesStructure"}
# …/datasources/prometheus/configure/ and …/alertmanager/ name these
JSON_DATA = {
    "prometheus": {
        *("httpMethod", "timeInterval", "queryTimeout", "manageAlerts", "allowAsRecordingRulesTarget"),
        *("alertmanagerUid", "prometheusType", "prometheusVersion", "cacheLevel", "disableMetricsLookup"),
        *("disableRecordingRules", "customQueryParameters", "incrementalQuerying", "defaultEditor"),
        *("incrementalQueryOverlapWindow", "exemplarTraceIdDestinations", "tlsAuth", "tlsAuthWithCACert"),
        *("tlsSkipVerify", "serverName", "codeModeOnly", "seriesEndpoint", "seriesLimit"),
    },
    "alertmanager": {"implementation", "handleGrafanaManagedAlerts"},
}
EXEMPLAR = {"name", "url", "urlDisplayLabel", "datasourceUid"}


def filled(text: str, given: Mapping[str, str] | None = None) -> str:
    """A compose file with its variables as they are ``given``, else at their defaults."""
    return _VARIABLE.sub(lambda found: (given or {}).get(found[1]) or found[2] or "", text)


def variables(text: str) -> dict[str, set[str]]:
    """The variables of a compose file, each with the defaults that it has there."""
    found: dict[str, set[str]] = {}
    for name, default in _VARIABLE.findall(text):
        found.setdefault(name, set()).add(default)
    return found


# ── compose ──────────────────────────────────────────────────────────────────────────────────────────────────


def compose_breaches(compose: Yaml) -> list[str]:
    """What a service of the stack must have and must not have."""
    named = set(compose.get("secrets", {})), set(compose.get("volumes", {}))
    return [
        f"{name}: {breach}"
        for name, service in compose["services"].items()
        for breach in (*_image(service), *_hardening(service), *_limits(service), *_exposure(service, *named))
    ]


def _image(service: Yaml) -> Iterator[str]:
    tag = service.get("image", "").rpartition("/")[2].partition(":")[2]
    if not re.fullmatch(r"v?\d+(\.\d+)+([.-]\w+)*", tag):
        yield f"image {service.get('image')!r} is not pinned to a version"


def _hardening(service: Yaml) -> Iterator[str]:
    if service.get("privileged") or service.get("cap_add"):
        yield "has privileges"
    if service.get("pid") == "host" or service.get("network_mode") == "host" or service.get("ipc") == "host":
        yield "shares a namespace with the host"
    if service.get("cap_drop") != ["ALL"]:
        yield "keeps capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield "may gain privileges"
    if service.get("read_only") is not True:
        yield "can write to its root"
    if not any(str(mount).startswith("/tmp:") for mount in service.get("tmpfs", [])):
        yield "has no tmpfs on /tmp"
    if not re.fullmatch(r"[1-9]\d*:\d+", str(service.get("user", ""))):
        yield f"user {service.get('user')!r} is not a number above 0 and a group"


def _limits(service: Yaml) -> Iterator[str]:
    for limit in ("mem_limit", "cpus", "pids_limit"):
        if not service.get(limit):
            yield f"has no {limit}"
    check = service.get("healthcheck", {})
    if not check.get("test") or check.get("disable") or check["test"] == ["NONE"]:
        yield "has no health check"
    if "max-size" not in service.get("logging", {}).get("options", {}):
        yield "may fill the disk with its log"


def _exposure(service: Yaml, secrets: set[str], volumes: set[str]) -> Iterator[str]:
    for name in service.get("environment", {}):
        if SECRET.search(name) and not name.endswith("__FILE"):
            yield f"has a secret in its environment: {name}"
    for port in service.get("ports", []):
        if not str(port).startswith("127.0.0.1:"):
            yield f"listens beyond loopback: {port}"
    for volume in service.get("volumes", []):
        source, _, target = str(volume).partition(":")
        if source not in volumes and not target.endswith(":ro"):
            yield f"can write to the host: {volume}"
        if source.endswith("docker.sock"):
            yield f"commands Docker: {volume}"
    for name in service.get("secrets", []):
        if name not in secrets:
            yield f"has a secret that is none: {name}"


# ── the image ────────────────────────────────────────────────────────────────────────────────────────────────


def image_breaches(dockerfile: str) -> list[str]:
    """What a Dockerfile must have and must not have, above all in its last stage."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", dockerfile)).splitlines()
    steps = [(word.upper(), rest) for word, _, rest in (line.strip().partition(" ") for line in lines) if word]
    begins = [index for index, (word, _) in enumerate(steps) if word == "FROM"]
    last = steps[begins[-1] :]
    return [*_stages(steps, begins), *_contents(steps, last), *_start(last)]


def _stages(steps: list[tuple[str, str]], begins: list[int]) -> Iterator[str]:
    if len(begins) < 2:
        yield "is of one stage: what builds it stays in it"
    for index in begins:
        if not steps[index][1].startswith("${"):
            yield f"its base cannot be chosen: FROM {steps[index][1]}"
    defaults = [rest.partition("=")[2] for word, rest in steps[: begins[0]] if word == "ARG"]
    yield from (f"base {base!r} is not pinned" for base in defaults if not re.search(r":\d+\.\d+", base))


def _contents(steps: list[tuple[str, str]], last: list[tuple[str, str]]) -> Iterator[str]:
    for word, rest in steps:
        named = re.findall(r"(\w+)(?:=|$)", rest) if word in ("ARG", "ENV") else []
        yield from (f"has a secret: {name}" for name in named if SECRET.search(name.upper()))
        if (
            word == "RUN"
            and "pip" in rest
            and " install " in rest
            and "hashes" not in rest
            and "--no-index ." not in rest
        ):
            yield f"installs without hashes: {rest}"
    for word, rest in last:
        if word == "RUN" and _COMPILERS.search(rest):
            yield f"has a compiler: {rest}"
        if word == "COPY" and "--from=" not in rest:
            yield f"copies what no stage made: {rest}"


def _start(last: list[tuple[str, str]]) -> Iterator[str]:
    users = [rest for word, rest in last if word == "USER"]
    if not users or not re.fullmatch(r"[1-9]\d*:\d+", users[-1]):
        yield f"runs as {users[-1] if users else 'root'}, which is not a number above 0 and a group"
    words = {word for word, _ in last}
    yield from (f"has no {word}" for word in ("HEALTHCHECK", "ENTRYPOINT", "LABEL") if word not in words)
    if not any(word == "HEALTHCHECK" and '"health"' in rest for word, rest in last):
        yield "is not checked by the exporter's own command"


# ── Grafana ──────────────────────────────────────────────────────────────────────────────────────────────────


def _unknown(what: str, found: Yaml, known: set[str]) -> Iterator[str]:
    yield from (f"{what}: {key} is no key that Grafana documents" for key in found if key not in known)


def datasource_breaches(file: Yaml) -> list[str]:
    """What a file of data sources must be like."""
    found = [*_unknown("file", file, DATASOURCES), *_version(file)]
    for source in file.get("datasources", []):
        name = source.get("name", "?")
        found += _unknown(name, source, DATASOURCE)
        found += _unknown(name, source.get("jsonData", {}), JSON_DATA.get(source.get("type"), set()))
        found += [f"{name}: has no {key}" for key in ("name", "type", "uid", "url") if not source.get(key)]
        found += [f"{name}: can be edited"] * (source.get("editable") is not False)
        for exemplar in source.get("jsonData", {}).get("exemplarTraceIdDestinations", []):
            found += _unknown(f"{name}'s exemplars", exemplar, EXEMPLAR)
    defaults = [source for source in file.get("datasources", []) if source.get("isDefault")]
    return found + ["one data source is the default"] * (len(defaults) != 1)


def provider_breaches(file: Yaml) -> list[str]:
    """What a file of dashboard providers must be like."""
    found = [*_unknown("file", file, PROVIDERS), *_version(file)]
    for provider in file.get("providers", []):
        name, options = provider.get("name", "?"), provider.get("options", {})
        found += [*_unknown(name, provider, PROVIDER), *_unknown(f"{name}'s options", options, PROVIDER_OPTIONS)]
        found += [f"{name}: has no path"] * (not options.get("path"))
        found += [f"{name}: type is not file"] * (provider.get("type") != "file")
        found += [f"{name}: dashboards can be changed"] * (provider.get("allowUiUpdates") is not False)
        if options.get("foldersFromFilesStructure") and (provider.get("folder") or provider.get("folderUid")):
            found.append(f"{name}: a folder and folders from files exclude each other")
    return found


def _version(file: Yaml) -> list[str]:
    return ["apiVersion is not 1"] * (file.get("apiVersion") != 1)


# ── Prometheus ───────────────────────────────────────────────────────────────────────────────────────────────


def scrape_breaches(config: Yaml) -> list[str]:
    """What Prometheus's configuration must be like; whether it is valid at all, promtool says."""
    found = []
    for job in config["scrape_configs"]:
        name, beyond = job["job_name"], job.get("file_sd_configs")
        found += [f"{name}: has no sample_limit"] * (not job.get("sample_limit"))
        found += [f"{name}: has a password in it"] * ("password" in job.get("basic_auth", {}))
        found += [f"{name}: has credentials in it"] * ("credentials" in job.get("authorization", {}))
        found += [f"{name}: believes any certificate"] * bool(job.get("tls_config", {}).get("insecure_skip_verify"))
        if beyond:
            wanted = ("label_limit", "label_value_length_limit", "body_size_limit", "basic_auth", "tls_config")
            found += [f"{name}: has no {key}" for key in wanted if not job.get(key)]
            found += [f"{name}: is asked without TLS"] * (job.get("scheme") != "https")
    found += ["it does not scrape itself"] * all(job["job_name"] != "prometheus" for job in config["scrape_configs"])
    return found
