"""A scrape by a user over TLS, against the same bytes over the same TLS from a handler that asks nobody."""

from __future__ import annotations

import base64
import datetime
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import bcrypt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench.client import Client
from bench.figure import Figure, spread
from bench.processes import companion
from bench.scale import Scale
from bench.scrape import serve_bare, serve_guarded

_PATH = "/metrics"
_PROMETHEUS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
_CONNECTIONS = 4
_WARM = 10
_USER = "Basic " + base64.b64encode(b"prometheus:right").decode()


def measure(scale: Scale) -> Iterator[Figure]:
    """Two servers, each in a process of its own, asked in turns on kept connections, for gzip as Prometheus is.

    The publication stays the same: what gzip takes, once for each, is in the figures of `publish`.
    """
    with ExitStack() as stack:
        config_file = _web_configuration(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        context = _anyone()
        ours = stack.enter_context(companion(serve_guarded, scale.samples, config_file)).recv()
        with Client(ours, context=context, credentials=_USER) as client:
            body = client.get(_PATH, _PROMETHEUS, "gzip").body
        bare = stack.enter_context(companion(serve_bare, body, config_file)).recv()
        our_clients, bare_clients = [
            [stack.enter_context(Client(port, context=context, credentials=who)) for _ in range(_CONNECTIONS)]
            for port, who in ((ours, _USER), (bare, ""))
        ]
        yield from _figures(
            *_times(our_clients, bare_clients, scrapes=scale.guarded_scrapes), size=len(body), scale=scale
        )


def _times(ours: list[Client], bare: list[Client], *, scrapes: int) -> tuple[list[float], list[float]]:
    """The seconds of each scrape of either server."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(scrapes + _WARM):
        for clients, times in zip((ours, bare), taken, strict=True):
            began = time.perf_counter()
            answer = clients[number % _CONNECTIONS].get(_PATH, _PROMETHEUS, "gzip")
            took = time.perf_counter() - began
            if answer.code != 200 or b"\r\nContent-Encoding: gzip\r\n" not in answer.head:
                raise ConnectionError(f"no scrape: {answer.head!r}")
            if number >= _WARM:
                times.append(took)
    return taken


def _figures(ours: list[float], bare: list[float], *, size: int, scale: Scale) -> Iterator[Figure]:
    what = f"of {len(ours):,} gzipped scrapes of {scale.samples:,} samples by a user over TLS / a bare handler's"
    detail = " / ".join(spread(times, scale=1e3, unit="ms") for times in (ours, bare)) + f", {size:,} bytes"
    yield Figure("tls", f"p50 {what}", median(ours) / median(bare), 1.3, detail=detail)
    total = " / ".join(f"{sum(times):.4g} s" for times in (ours, bare))
    yield Figure("tls", f"total {what}", sum(ours) / sum(bare), 1.3, detail=total)


def _anyone() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    return made


def _web_configuration(folder: Path) -> Path:
    """A web configuration with a certificate and a user, bcrypt's cost 10."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "server.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
    path = folder / "web.yml"
    path.write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f'basic_auth_users: {{prometheus: "{hashed}"}}\n'
    )
    return path
