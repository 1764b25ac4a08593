"""Who may have what: the web configuration as it is now, followed as its files change, and every request's judgement.

A file that became wrong changes nothing but a line in the log and `config_last_reload_successful`: the last good one
stays.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from exporter import logs
from exporter.options import LISTEN_ADDRESS, WEB_CONFIG_FILE, ConfigError
from exporter.telemetry import AUTH_FAILURES, RATE_LIMITED, Telemetry
from exporter.web import tls
from exporter.web.limits import Bucket, Clients
from exporter.web.users import Principal, Users
from exporter.web.webconfig import Role, WebConfig, read

log = logs.get(__name__)

HEADERS = {
    "Server": "orchestration-exporter",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}
NOTHING_FROM_ELSEWHERE = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_HSTS = "max-age=31536000"
_EVERYTHING = Principal("admin")
_RANK: Mapping[Role, int] = {"metrics": 0, "viewer": 1, "admin": 2}
EXEMPT = ("/-/healthy", "/healthz", "/-/ready", "/readyz")
"""Routes for everybody; they tell nothing."""
RELOAD_ROUTE = "/-/reload"
LOOK_S = 1.0
"""How old the configuration that a request is judged by may be; a handshake goes by the newest."""

PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal")
"""Under which a request has its `Principal`."""

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """What one reading of the files made."""

    config: WebConfig
    users: Users
    context: ssl.SSLContext | None
    ends_at: float
    overall: Bucket | None


def source_of(request: web.Request) -> str:
    """The one source that who asks may see; empty for all."""
    return request[PRINCIPAL].source


class Guard:
    """The judge of all requests.

    Raises:
        ConfigError: the file, or one it names, cannot be used.
    """

    def __init__(
        self, path: Path | None, *, telemetry: Telemetry, clients: Clients | None = None, look_s: float = LOOK_S
    ) -> None:
        self._path, self._telemetry, self._look_s = path, telemetry, look_s
        self._looked_s = -look_s
        self._clients = clients or Clients()
        self._watched: tuple[Path, ...] = ()
        self._stamp: Stamp = ()
        self._now = _made(self._read())
        self._tell_end()

    @property
    def asks(self) -> bool:
        """Whether anybody has to say, or to show by a certificate, who they are."""
        wanted = self._now.config.tls_server_config
        return self._now.config.asks or bool(wanted and wanted.client_auth_type == "RequireAndVerifyClientCert")

    @property
    def encrypts(self) -> bool:
        """Whether TLS is spoken."""
        return self._now.context is not None

    def context(self) -> ssl.SSLContext | None:
        """What to listen with: each handshake goes by the newest certificate and settings."""
        return tls.following(self._newest) if self.encrypts else None

    def _newest(self) -> ssl.SSLContext:
        self.follow()
        assert self._now.context is not None  # noqa: S101 - `_changed` refuses to be without
        return self._now.context

    def follow(self) -> None:
        """Read the files again if one has changed; if they cannot be used, say so once and go on as before."""
        if _stamp(self._watched) == self._stamp:
            return
        try:
            self._change()
        except ConfigError as exc:
            self._telemetry.reloaded("web", successful=False, now=time.time())
            log.error("web configuration is wrong, the old one stays", error=str(exc))
        else:
            self._telemetry.reloaded("web", successful=True, now=time.time())
            log.info("web configuration applied")

    def _read(self) -> WebConfig:
        """The file as it is now. It and what it names are watched as they were before they are read.

        So a change in between is one more change, and a file that is named before it is there is waited for.
        """
        if self._path is None:
            return WebConfig()
        self._watched, self._stamp = (self._path,), _stamp((self._path,))
        config = read(self._path)
        named = _named(config)
        self._watched, self._stamp = (*self._watched, *named), (*self._stamp, *_stamp(named))
        return config

    def _change(self) -> None:
        made = _made(self._read())
        if (made.context is None) == self.encrypts:
            made.users.close()
            raise ConfigError(WEB_CONFIG_FILE.flag, str(self._path), "to begin or to end TLS needs a restart")
        if self._now.config.asks and not made.config.asks:
            made.users.close()
            raise ConfigError(WEB_CONFIG_FILE.flag, str(self._path), "to be without users and tokens needs a restart")
        before, self._now = self._now, made
        before.users.close()
        self._tell_end()

    def _tell_end(self) -> None:
        if self.encrypts:
            self._telemetry.certified(self._now.ends_at)

    def headers(self) -> Mapping[str, str]:
        """Those of every answer."""
        hsts = {"Strict-Transport-Security": _HSTS} if self.encrypts else {}
        return {**HEADERS, **hsts, **self._now.config.http_server_config.headers}

    async def admit(self, request: web.Request, *, route: str, scrapes: bool) -> Principal:
        """Who asks, if they may have what they ask for; ``route`` without prefix, ``scrapes`` if it is the metrics'.

        Raises:
            HTTPUnauthorized: they have to say who they are, or what they say is wrong.
            HTTPForbidden: they may not.
            HTTPTooManyRequests: they, or all together, ask too often.
        """
        if route in EXEMPT:
            return Principal("metrics")
        now_s = time.monotonic()
        if now_s - self._looked_s >= self._look_s:  # three files take as long as all the rest of this
            self._looked_s = now_s
            self.follow()
        now = self._now
        if now.overall and (wait_s := now.overall.wait_s(now_s)):
            raise self._too_many(wait_s)
        self._check_certificate(request)
        header = request.headers.get("Authorization", "")
        principal = now.users.known(header) if now.config.asks else _EVERYTHING
        if not (principal and scrapes) and (wait_s := self._clients.wait_s(request.remote or "")):
            raise self._too_many(wait_s)
        if principal is None:
            principal = await now.users.find(header) if header else None
        if principal is None:
            if header:
                self._telemetry.refused(AUTH_FAILURES)
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": 'Basic realm="metrics", charset="UTF-8"'})
        if _RANK[principal.role] < _needed(route, scrapes):
            raise web.HTTPForbidden
        return principal

    def _too_many(self, wait_s: int) -> web.HTTPTooManyRequests:
        self._telemetry.refused(RATE_LIMITED)
        return web.HTTPTooManyRequests(headers={"Retry-After": str(wait_s)})

    def _check_certificate(self, request: web.Request) -> None:
        wanted = self._now.config.tls_server_config
        if wanted is None or not wanted.client_allowed_sans or request.transport is None:
            return
        if not tls.allowed(request.transport.get_extra_info("peercert"), wanted.client_allowed_sans):
            self._telemetry.refused(AUTH_FAILURES)
            raise web.HTTPForbidden

    def check_addresses(self, addresses: tuple[str, ...], *, allow_open: bool) -> None:
        """Hold that nothing is open beyond this machine unless that is wanted.

        Raises:
            ConfigError: an address is, and is not to be.
        """
        lacking = " and ".join(
            [*([] if self.asks else ["users"]), *([] if self.encrypts else ["TLS"])],
        )
        for address in addresses:
            if lacking and not allow_open and not _is_loopback(address):
                rule = (
                    f"others on the network could read costs and project names, for there is no {lacking}: "
                    "give --web.config.file, or --web.allow-open"
                )
                raise ConfigError(LISTEN_ADDRESS.flag, address, rule)

    def close(self) -> None:
        """End what checks passwords."""
        self._now.users.close()


def _needed(route: str, scrapes: bool) -> int:
    return 0 if scrapes else _RANK["admin" if route == RELOAD_ROUTE else "viewer"]


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or (host.startswith("127.") and host.replace(".", "").isdigit())


def _named(config: WebConfig) -> tuple[Path, ...]:
    """The files that it names."""
    wanted = tls.files(config.tls_server_config) if config.tls_server_config else []
    return (*wanted, *(Path(token.token_file) for token in config.bearer_tokens))


def _made(config: WebConfig) -> _Reading:
    wanted, limit = config.tls_server_config, config.rate_limit
    context, ends_at = (tls.context(wanted), tls.ends_at(wanted)) if wanted else (None, 0.0)
    overall = None
    if limit.interval_s:
        overall = Bucket(interval_s=limit.interval_s, burst=limit.burst, now=time.monotonic())
    return _Reading(config, Users(config), context, ends_at, overall)


def _stamp(files: tuple[Path, ...]) -> Stamp:
    """What changes when one of the files does."""
    return tuple(_of(file) for file in files)


def _of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - at each request: half the time of Path.stat
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
