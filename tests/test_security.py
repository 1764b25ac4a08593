"""TLS, users, roles and limits: the web configuration key by key, real handshakes, who may have what, and attacks."""

from __future__ import annotations

import asyncio
import base64
import datetime
import random
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import bcrypt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter import cli
from exporter.catalogue import SCHEMA
from exporter.config import WebSettings
from exporter.exposition import Format
from exporter.options import ConfigError
from exporter.telemetry import Telemetry
from exporter.web import connections, overview, security
from exporter.web.app import make_app
from exporter.web.connections import LIMITS, Site
from exporter.web.limits import Clients
from exporter.web.security import LOOK_S, Guard
from exporter.web.webconfig import CURVES, WebConfig, read
from tests.cases import later
from tests.test_web import HEALTHY, Poller, publication

HASH = bcrypt.hashpw(b"right", b"$2b$04$abcdefghijklmnopqrstuu").decode()  # the same in every process
TOKENS = {"scraper": "s" * 20, "reader": "r" * 20, "boss": "b" * 20, "tenant": "t" * 20}
WHOLE = f"""
basic_auth_users: {{alice: "{HASH}", root: "{HASH}"}}
user_roles: {{root: admin}}
bearer_tokens:
  - {{token_file: scraper, role: metrics}}
  - {{token_file: reader, role: viewer}}
  - {{token_file: boss, role: admin}}
  - {{token_file: tenant, role: viewer, source: a}}
"""


def basic(user: str, password: str) -> str:
    """Return the header's value."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# ── certificates ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Authority:
    """Signs certificates."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def sign(self, folder: Path, name: str, *, san: str) -> None:
        """Write `NAME.crt` and `NAME.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        made = certificate(san, key, issuer=self.certificate.subject, signer=self.key, authority=False)
        (folder / f"{name}.crt").write_bytes(pem(made))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def pem(made: x509.Certificate) -> bytes:
    """Return it as text."""
    return made.public_bytes(serialization.Encoding.PEM)


def certificate(
    san: str, key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name, signer: ec.EllipticCurvePrivateKey, authority: bool
) -> x509.Certificate:
    """Make one that is valid until 2040."""
    names: list[x509.GeneralName] = [x509.DNSName(san), x509.IPAddress(ip_address("127.0.0.1"))]
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, san)]))
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def authority(name: str) -> Authority:
    """Make a new one."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return Authority(key, certificate(name, key, issuer=subject, signer=key, authority=True))


@pytest.fixture(scope="module")
def ours() -> Authority:
    """The authority of this site."""
    return authority("ours")


@pytest.fixture
def folder(tmp_path: Path, ours: Authority) -> Path:
    """A folder with certificates and tokens."""
    (tmp_path / "ca.crt").write_bytes(pem(ours.certificate))
    ours.sign(tmp_path, "server", san="first.example")
    for name, token in TOKENS.items():
        (tmp_path / name).write_text(f"{token}\n")
    return tmp_path


# ── the server ─────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Running:
    """A server with a web configuration."""

    port: int
    path: Path
    telemetry: Telemetry
    reloads: list[str]

    async def raw(self, data: bytes, *, context: ssl.SSLContext | None = None) -> bytes:
        """Send bytes; return all that comes until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 20)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    async def ask(
        self, path: str, *, method: str = "GET", context: ssl.SSLContext | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Ask; return the code and the whole answer."""
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
        answer = await self.raw(request.encode(), context=context)
        return int(answer.split(b" ", 2)[1]), answer


_published = cache(publication)
"""A hundred thousand series take a second to publish, and never change."""


@asynccontextmanager
async def serving(
    folder: Path, text: str = "", *, a_minute: int = 100_000, series: int = 20_000, look_s: float = 0.0
) -> AsyncIterator[Running]:
    """Serve with this web configuration, which is looked at before each request unless ``look_s`` says otherwise."""
    path = folder / "web.yml"
    path.write_text(text)
    telemetry = Telemetry({"a": {}, "b": {}}, now=1.0)
    guard = Guard(path, telemetry=telemetry, clients=Clients(a_minute), look_s=look_s)
    poller = Poller(single={"a": publication(1), "b": publication(3)}, publication=_published(series), shown=HEALTHY)
    reloads: list[str] = []
    app = make_app(
        settings=WebSettings(enable_lifecycle=True),
        poller=poller,
        telemetry=telemetry,
        reload=lambda: reloads.append("") or "",
        guard=guard,
    )
    runner = web.AppRunner(app, **LIMITS)
    await runner.setup()
    try:
        await Site(runner, "127.0.0.1", 0, context=guard.context(), secured=guard.headers()).start()
        yield Running(runner.addresses[0][1], path, telemetry, reloads)
    finally:
        await runner.cleanup()


def client(folder: Path, *, certificate: str = "", **versions: ssl.TLSVersion) -> ssl.SSLContext:
    """Make what a client connects with."""
    made = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    made.check_hostname = False
    for name, version in versions.items():
        setattr(made, name, version)
    if certificate:
        made.load_cert_chain(folder / f"{certificate}.crt", folder / f"{certificate}.key")
    return made


TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"

MUTUAL = TLS + "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n"


def is_taken(curve: str) -> bool:
    """Whether this Python can be asked for the curve of that name: 3.11.2, which is Debian 12's, takes no X25519."""
    with suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(CURVES[curve])
        return True
    return False


# ── the file, key by key ───────────────────────────────────────────────────────────────────────────────────────

GOOD = [
    "",
    TLS,
    TLS + "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n",
    TLS + "  client_ca_file: ca.crt\n  client_auth_type: VerifyClientCertIfGiven\n",
    TLS + "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [a]\n",
    TLS + "  client_auth_type: NoClientCert\n",
    TLS + "  min_version: TLS13\n",
    TLS + "  max_version: TLS12\n",
    TLS + "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]\n",
    *(TLS + f"  curve_preferences: [{name}]\n" for name in CURVES if is_taken(name)),
    TLS + "  prefer_server_cipher_suites: false\n",
    "http_server_config: {http2: false, headers: {X-Frame-Options: SAMEORIGIN}}",
    "http_server_config: {headers: {Strict-Transport-Security: a, X-Content-Type-Options: nosniff}}",
    "http_server_config: {headers: {X-XSS-Protection: '0', Content-Security-Policy: default-src 'none'}}",
    "rate_limit: {interval: 1m30s, burst: 3}",
    WHOLE,
]
BAD = [
    ("tls_server_config: {}", "needs either cert or cert_file"),
    ("tls_server_config: {cert_file: server.crt}", "needs either key or key_file"),
    (TLS + "  cert: x\n", "needs either cert or cert_file"),
    (TLS.replace("server.crt", "none.crt"), "cannot be used for TLS: No such file"),
    (TLS.replace("server.key", "ca.crt"), "cannot be used for TLS"),
    (TLS + "  client_ca_file: ca.crt\n", "need each other"),
    (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", "need each other"),
    (TLS + "  client_auth_type: RequestClientCert\n", "cannot ask for a certificate without verifying"),
    (TLS + "  client_auth_type: RequireAnyClientCert\n", "cannot ask for a certificate without verifying"),
    (TLS + "  client_auth_type: Sure\n", "must be NoClientCert"),
    (TLS + "  client_allowed_sans: [a]\n", "client_allowed_sans needs"),
    (TLS + "  min_version: TLS10\n", "must be TLS12 or TLS13"),
    (TLS + "  min_version: SSL30\n", "must be TLS12 or TLS13"),
    (TLS + "  min_version: TLS13\n  max_version: TLS12\n", "must not be above"),
    (TLS + "  max_version: TLS11\n", "must be TLS12 or TLS13"),
    (TLS + "  prefer_server_cipher_suites: sometimes\n", "prefer_server_cipher_suites"),
    (TLS + "  key: x\n", "needs either key or key_file"),
    (MUTUAL + "  client_ca: x\n", "at most one of client_ca and client_ca_file"),
    (MUTUAL.replace("ca.crt", "none.crt"), "cannot be used for TLS: No such file"),
    (MUTUAL.replace("ca.crt", "server.key"), "cannot be used for TLS"),
    (MUTUAL + "  client_allowed_sans: a\n", "client_allowed_sans"),
    (TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", "Go name of a cipher suite"),
    (TLS + "  curve_preferences: [P256]\n", "must be one of CurveP256"),
    (TLS + "  curve_preferences: [X25519, CurveP256]\n", "curve_preferences"),
    ("http_server_config: {http2: true}", "HTTP/2 is not served"),
    ("http_server_config: {headers: {Server: me}}", "must be one of Strict-Transport-Security"),
    ('http_server_config: {headers: {X-Frame-Options: "a\\r\\nb: c"}}', "one line of ASCII"),
    ("basic_auth_users: {alice: plaintextsecret}", "must be a bcrypt hash"),
    (f'basic_auth_users: {{"a:b": "{HASH}"}}', "without a colon"),
    (f'basic_auth_users:\n  a: "{HASH}"\n  a: "{HASH}"\n', "given twice"),
    ("rate_limit: {interval: soon, burst: 1}", "must be a duration"),
    ("rate_limit: {interval: 1s}", "burst must be at least 1"),
    ("rate_limit: {interval: 1s, burst: -1}", "burst"),
    ("http_server_config: {headers: [a]}", "headers"),
    ("user_roles: {nobody: admin}", "not in basic_auth_users: nobody"),
    ("bearer_tokens: [{token_file: none}]", "no token can be read"),
    ("bearer_tokens: [{token_file: scraper}, {token_file: scraper}]", "same token"),
    ("bearer_tokens: [{token_file: scraper, role: king}]", "must be"),
    ("bearer_tokens: [{token_file: scraper, role: admin, source: a}]", "cannot be admin"),
    ("tls_config: {}", "no such key"),
    ("- a", "must be a mapping"),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_good_file_is_taken(folder: Path, text: str) -> None:
    """Each key, with a value that it has in exporter-toolkit."""
    (folder / "web.yml").write_text(text)

    Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0)).close()


@pytest.mark.parametrize("text,rule", BAD)
def test_a_bad_file_is_refused_in_a_line(folder: Path, text: str, rule: str) -> None:
    """The line names what is wrong, and shows no secret."""
    (folder / "web.yml").write_text(text)

    with pytest.raises(ConfigError) as caught:
        Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0))

    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("plaintextsecret", HASH, *TOKENS.values()))


OF_OPENSSL = [
    ("set_ciphers", "cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"),
    ("set_ecdh_curve", "curve_preferences: [X25519]"),
]


@pytest.mark.parametrize("method,key", OF_OPENSSL)
def test_openssl_is_asked_for_what_the_file_says(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, key: str
) -> None:
    """Once for each key, by its own name for it."""
    asked: list[str] = []
    monkeypatch.setattr(ssl.SSLContext, method, lambda self, name: asked.append(name))
    (folder / "web.yml").write_text(f"{TLS}  {key}\n")

    Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0)).close()

    assert asked == ["X25519" if "X25519" in key else "ECDHE-ECDSA-AES128-GCM-SHA256"]


@pytest.mark.parametrize("method,key", OF_OPENSSL)
def test_what_this_python_cannot_do_is_told_in_a_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, method: str, key: str
) -> None:
    """Python 3.11.2 takes no X25519, and an OpenSSL may lack a cipher."""

    refusal = ssl.SSLError(129, "[EC: UNKNOWN_GROUP] unknown group")
    refusal.reason = "UNKNOWN_GROUP"

    def refuse(self: ssl.SSLContext, name: str) -> None:
        raise refusal

    monkeypatch.setattr(ssl.SSLContext, method, refuse)
    (folder / "web.yml").write_text(f"{TLS}  {key}\n")

    with pytest.raises(ConfigError, match=rf"tls_server_config.{key.partition(':')[0]}") as caught:
        Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0))

    assert "cannot be used for TLS: UNKNOWN_GROUP" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_certificate_can_stand_in_the_file(folder: Path) -> None:
    """As text instead of files."""
    lines = ["tls_server_config:"]
    for key, name in (("cert", "server.crt"), ("key", "server.key")):
        lines += [f"  {key}: |", *(f"    {line}" for line in (folder / name).read_text().splitlines())]
    lines += ["  client_auth_type: VerifyClientCertIfGiven", "  client_ca: |"]
    lines += [f"    {line}" for line in (folder / "ca.crt").read_text().splitlines()]
    (folder / "web.yml").write_text("\n".join(lines) + "\n")

    assert Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0)).encrypts
    assert read(folder / "web.yml").tls_server_config is not None


@pytest.mark.parametrize("address", ["0.0.0.0:1", ":1", "[::]:1", "192.0.2.1:1", "127.example.org:1"])
def test_nothing_is_open_beyond_loopback_unless_told(folder: Path, address: str) -> None:
    """Users and TLS are needed, or the word that it may be open."""
    for text, lacking in (("", "users and TLS"), (TLS, "users"), (WHOLE, "TLS")):
        (folder / "web.yml").write_text(text)
        guard = Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0))
        guard.check_addresses((address,), allow_open=True)
        guard.check_addresses(("127.0.0.1:1", "localhost:1", "[::1]:1"), allow_open=False)
        with pytest.raises(ConfigError, match=f"there is no {lacking}: give"):
            guard.check_addresses((address,), allow_open=False)
        guard.close()
    (folder / "web.yml").write_text(TLS + WHOLE)
    Guard(folder / "web.yml", telemetry=Telemetry({}, now=1.0)).check_addresses((address,), allow_open=False)


# ── TLS ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_versions_below_the_minimum_are_refused(folder: Path) -> None:
    """A client that has no newer one gets no handshake."""
    async with serving(folder, TLS + "  min_version: TLS13\n") as running:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(
                "127.0.0.1", running.port, ssl=client(folder, maximum_version=ssl.TLSVersion.TLSv1_2)
            )
        code, answer = await running.ask("/metrics", context=client(folder))

    assert code == 200
    assert b"Strict-Transport-Security: max-age=31536000" in answer
    assert b"tls_certificate_not_after_timestamp_seconds 2.2089888e+09" in answer


async def test_a_large_scrape_comes_whole_over_tls(folder: Path) -> None:
    """To its last line, on a connection that is kept; it once waited for ever."""
    async with serving(folder, TLS) as running:
        _, answer = await asyncio.wait_for(running.ask("/metrics", context=client(folder)), 10)

    assert answer.count(b"orchestration_handoffs_total{") == 20_000
    assert b"\nprocess_" in answer


async def test_a_wrong_client_certificate_is_refused(folder: Path, ours: Authority) -> None:
    """None, another authority's, and one of ours with another name; the right one is answered."""
    authority("theirs").sign(folder, "stranger", san="scraper.example")
    ours.sign(folder, "other", san="other.example")
    ours.sign(folder, "right", san="scraper.example")
    text = TLS + (
        "  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\n"
        "  client_allowed_sans: [scraper.example]\n"
    )
    async with serving(folder, text) as running:
        for wrong in ("", "stranger"):
            context = client(folder, certificate=wrong, maximum_version=ssl.TLSVersion.TLSv1_2)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await asyncio.open_connection("127.0.0.1", running.port, ssl=context)
        other, _ = await running.ask("/metrics", context=client(folder, certificate="other"))
        right, _ = await running.ask("/metrics", context=client(folder, certificate="right"))

    assert (other, right) == (403, 200)


async def test_a_swapped_certificate_is_served_at_the_next_handshake(folder: Path, ours: Authority) -> None:
    """Without a restart; one that is broken leaves the last good one, and says so."""

    async def served(running: Running) -> str:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=client(folder))
        names = writer.get_extra_info("peercert")["subjectAltName"]
        writer.close()
        return str(names[0][1])

    async with serving(folder, TLS) as running:
        first = await served(running)
        ours.sign(folder, "server", san="second.example")
        second = await served(running)
        (folder / "server.crt").write_text("broken")
        third = await served(running)
        text = running.telemetry.render(Format.TEXT)

    assert (first, second, third) == ("first.example", "second.example", "second.example")
    assert b"config_last_reload_successful 0.0" in text


@pytest.mark.parametrize("text", ["", TLS, TLS + "  min_version: TLS13\n", MUTUAL])
@pytest.mark.usefixtures("logs_as_before")
async def test_health_asks_as_the_web_configuration_has_it(folder: Path, text: str) -> None:
    """With TLS, users and client certificates: the settings of the server are enough to ask whether it is ready."""
    async with serving(folder, text + WHOLE) as running:
        settings = ("--web.listen-address", f"127.0.0.1:{running.port}", "--web.config.file", str(running.path))
        code = await asyncio.to_thread(cli.run, ["health", *settings], {}, SCHEMA)

    assert code == 0


@pytest.mark.usefixtures("logs_as_before")
async def test_health_says_that_a_certificate_is_wanted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the server's own is none that its authority of clients has signed, and an address is given alone."""
    (folder / "ca.crt").write_bytes(pem(authority("others").certificate))
    async with serving(folder, MUTUAL) as running:
        settings = ("--web.listen-address", f"127.0.0.1:{running.port}", "--web.config.file", str(running.path))
        codes = [
            await asyncio.to_thread(cli.run, ["health", *more], {}, SCHEMA)
            for more in (settings, ("--url", f"https://127.0.0.1:{running.port}/"))
        ]

    told = [line for line in capsys.readouterr().err.splitlines() if "orchestration-exporter: error" in line]
    pairs = list(zip(told, ("-/ready", ""), strict=True))
    assert codes == [1, 1]
    assert [f"https://127.0.0.1:{running.port}/{path}: no answer: " in line for line, path in pairs] == [True, True]
    assert "CERTIFICATE_VERIFY_FAILED" in told[1]


# ── changes ──────────────────────────────────────────────────────────────────────────────────────────────────


def gauge(telemetry: Telemetry) -> float:
    """Return `config_last_reload_successful`."""
    found = re.search(rb"successful (\d\.\d)\n", telemetry.render(Format.TEXT))
    assert found is not None
    return float(found[1])


@pytest.mark.parametrize("look_s, code", [(LOOK_S, 401), (3600.0, 200)])
async def test_a_change_is_seen_by_the_requests_of_the_next_second(folder: Path, look_s: float, code: int) -> None:
    """Nobody was asked who they are, and then everybody is: at the latest when the last look is old enough."""
    async with serving(folder, "", look_s=look_s) as running:
        before, _ = await running.ask("/metrics")
        running.path.write_text(WHOLE)
        for _ in range(2 * int(LOOK_S / 0.05)):
            await asyncio.sleep(0.05)
            after, _ = await running.ask("/metrics")
            if after != before:
                break
    assert (before, after) == (200, code)


async def test_a_reload_of_the_main_file_hides_no_broken_web_file(folder: Path) -> None:
    """It is 0 until every part of the configuration can be used again."""
    async with serving(folder, WHOLE) as running:
        running.path.write_text("nonsense: 1\n")
        await running.ask("/")
        broken = gauge(running.telemetry)
        running.telemetry.reloaded("configuration", successful=True, now=2.0)
        still = gauge(running.telemetry)
        running.telemetry.reloaded("configuration", successful=False, now=3.0)
        running.path.write_text(WHOLE)
        await running.ask("/")
        other = gauge(running.telemetry)
        running.telemetry.reloaded("configuration", successful=True, now=4.0)
        text = running.telemetry.render(Format.TEXT)

    assert (broken, still, other, gauge(running.telemetry)) == (0.0, 0.0, 0.0, 1.0)
    assert b"config_last_reload_success_timestamp_seconds 4.0" in text


@pytest.mark.parametrize("name", ["web.yml", "scraper"])
def test_a_change_while_the_files_are_read_is_seen_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """It needs no further change to be found."""
    (folder / "web.yml").write_text(WHOLE)
    guard = Guard(folder / "web.yml", telemetry=(telemetry := Telemetry({}, now=1.0)))
    (folder / "web.yml").write_text(WHOLE + "# changed\n")
    made = security._made

    def slowly(config: WebConfig) -> Any:
        found = made(config)
        (folder / name).write_text("broken")
        return found

    monkeypatch.setattr(security, "_made", slowly)
    guard.follow()
    first = gauge(telemetry)
    monkeypatch.setattr(security, "_made", made)
    guard.follow()
    guard.close()

    assert (first, gauge(telemetry)) == (1.0, 0.0)


def test_a_file_that_is_named_before_it_is_there_is_waited_for(folder: Path) -> None:
    """The order in which they are put into place does not matter."""
    (folder / "web.yml").write_text(WHOLE)
    guard = Guard(folder / "web.yml", telemetry=(telemetry := Telemetry({}, now=1.0)))
    (folder / "web.yml").write_text(WHOLE.replace("token_file: scraper", "token_file: newer"))
    guard.follow()
    before = gauge(telemetry)
    (folder / "newer").write_text("n" * 20)
    guard.follow()
    guard.close()

    assert (before, gauge(telemetry)) == (0.0, 1.0)


# ── roles ──────────────────────────────────────────────────────────────────────────────────────────────────────

WHO: Mapping[str, str | None] = {
    "anonymous": None,
    **{name: f"Bearer {token}" for name, token in TOKENS.items()},
    "alice": basic("alice", "right"),
    "root": basic("root", "right"),
    "wrong password": basic("alice", "wrong"),
    "unknown user": basic("mallory", "right"),
    "long password": basic("alice", "right" + "x" * 100),
    "NUL": basic("alice", "right\0"),
    "no base64": "Basic !",
    "wrong token": "Bearer " + "w" * 20,
    "no scheme": "right",
}
VIEWERS, ADMINS = ("reader", "tenant", "alice"), ("boss", "root")
HEALTH = ("/-/healthy", "/healthz", "/-/ready", "/readyz")


def expected(who: str, method: str, path: str) -> int:
    """Return the code that the table of roles has."""
    if path in HEALTH:
        return 200
    if who not in ("scraper", *VIEWERS, *ADMINS):
        return 401
    if path == "/-/reload":
        return 200 if who in ADMINS else 403
    if who == "scraper" and path != "/metrics":
        return 403
    return {"/nothing": 404, "/sessions/none": 404, "/metrics?source=b": 404 if who == "tenant" else 200}.get(path, 200)


async def test_every_route_by_every_role(folder: Path) -> None:
    """Cell by cell, anonymous and every kind of wrong credential included."""
    paths = (*HEALTH, "/", "/docs", "/sessions/none", "/metrics", "/metrics?source=b", "/nothing")
    cells = [("GET", path) for path in paths] + [("POST", "/-/reload")]
    async with serving(folder, WHOLE) as running:
        found = {}
        for who, header in WHO.items():
            for method, path in cells:
                headers = {} if header is None else {"Authorization": header}
                found[who, method, path], _ = await running.ask(path, method=method, **headers)

    wanted = {key: expected(*key) for key in found}
    wanted |= {("scraper", "GET", "/metrics?source=b"): 200}
    # `serving` has no windows: no session page can find a source
    assert found == wanted
    assert len(running.reloads) == 2


async def test_failures_are_counted_and_asked_for_anew(folder: Path) -> None:
    """A 401 says how to log in; what had no credentials is no failure."""
    async with serving(folder, WHOLE) as running:
        _, anonymous = await running.ask("/")
        await running.ask("/", Authorization=basic("alice", "wrong"))
        text = running.telemetry.render(Format.TEXT)

    assert b"WWW-Authenticate: Basic" in anonymous
    assert b"orchestration_exporter_auth_failures_total 1.0" in text


async def test_a_sources_token_sees_that_source_only(folder: Path) -> None:
    """In both formats, whatever it asks for, and in what is said of a source that is not its own."""
    async with serving(folder, WHOLE) as running:
        answers = [
            (await running.ask(path, Authorization=f"Bearer {TOKENS['tenant']}", Accept=accept))[1]
            for path in ("/metrics", "/metrics?source=a", "/metrics?source=b", "/metrics?source=none", "/")
            for accept in ("text/plain", "application/openmetrics-text")
        ]

    assert all(b"project 1" not in answer and b'source="b"' not in answer for answer in answers)
    assert all(b"there is a, b" not in answer and b"/data/orchestration.db" not in answer for answer in answers)
    assert sum(b'project="project 0"' in answer for answer in answers) == 4


async def test_users_change_without_a_restart_and_never_vanish(folder: Path) -> None:
    """A new password is asked for at the next request; a file without users is refused."""
    async with serving(folder, WHOLE) as running:
        before, _ = await running.ask("/", Authorization=WHO["alice"] or "")
        changed = bcrypt.hashpw(b"changed", bcrypt.gensalt(4)).decode()
        running.path.write_text(f'basic_auth_users: {{alice: "{changed}"}}  # other\n')
        old, _ = await running.ask("/", Authorization=WHO["alice"] or "")
        new, _ = await running.ask("/", Authorization=basic("alice", "changed"))
        running.path.write_text("# nobody is asked\n")
        still, _ = await running.ask("/")

    assert (before, old, new, still) == (200, 401, 200, 401)


# ── limits and attacks ─────────────────────────────────────────────────────────────────────────────────────────


async def test_pages_are_limited_and_authenticated_scrapes_are_not(folder: Path) -> None:
    """The one too many is 429 with `Retry-After`; guesses of passwords are limited alike."""
    async with serving(folder, WHOLE, a_minute=5) as running:
        who = f"Bearer {TOKENS['boss']}"
        pages = [(await running.ask("/", Authorization=who)) for _ in range(6)]
        scrapes = [(await running.ask("/metrics", Authorization=who))[0] for _ in range(10)]
        guess, _ = await running.ask("/metrics", Authorization=basic("alice", "wrong"))
        text = running.telemetry.render(Format.TEXT)

    assert [code for code, _ in pages] == [200] * 5 + [429]
    assert b"Retry-After: 12\r\n" in pages[-1][1]
    assert scrapes == [200] * 10
    assert guess == 429
    assert b"orchestration_exporter_rate_limited_total 2.0" in text


async def test_the_files_rate_limit_is_for_all(folder: Path) -> None:
    """As exporter-toolkit has it; health is exempt."""
    async with serving(folder, "rate_limit: {interval: 1h, burst: 2}") as running:
        codes = [(await running.ask("/metrics"))[0] for _ in range(3)]
        health, _ = await running.ask("/-/healthy")

    assert (codes, health) == ([200, 200, 429], 200)


SHAPES = [
    b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n",
    b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n",
    b"GET /sessions/..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: x\r\n",
    b"GET /metrics?source=a%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\nHost: x\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20_000 + b"\r\n",
    b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 1_000,
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n",
    b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: +4\r\n",
    b"GET /metrics HTTP/1.1\r\nHost : x\r\n",
    b"GET /metrics HTTP/1.0\r\n",
    b"GET /metrics\r\n",
    b"GET http://other/metrics HTTP/1.1\r\nHost: x\r\n",
    b"CONNECT other:443 HTTP/1.1\r\nHost: x\r\n",
    b"TRACE / HTTP/1.1\r\nHost: x\r\n",
    b"DELETE /metrics HTTP/1.1\r\nHost: x\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
]


OLD = [
    b"GET /metrics HTTP/1.0\r\nHost: x\r\nHost: y\r\n",
    b"POST /-/reload HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
    b"GET /metrics HTTP/0.9\r\n",
    b"GET /metrics HTTP/1.1 \r\n",
    b"GET  /metrics HTTP/1.1\r\n",
    b"GET\t/metrics\tHTTP/1.0\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
    b"GET /metrics HTTP/1.1\nHost: x\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\n folded: y\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n",
]


@pytest.mark.bulk
@pytest.mark.parametrize("head", [*SHAPES, *OLD])
async def test_a_malformed_request_gets_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    """Anonymous, it is refused: by 4xx or by closing, without a traceback or a word of it, and nothing is reloaded."""
    monkeypatch.setattr(connections, "REQUEST_S", 0.5)
    async with serving(folder, WHOLE) as running:
        answer = await running.raw(head + b"Connection: close\r\n\r\n")

    assert answer == b"" or b" 4" in answer.split(b"\r\n")[0]
    assert b"Traceback" not in answer
    assert b"Set-Cookie" not in answer
    assert b"root:" not in answer
    assert running.reloads == []


SMUGGLED = b"POST /-/reload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + TOKENS["boss"].encode() + b"\r\n\r\n"
LENGTHS = [
    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (5 + len(SMUGGLED)),
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding: identity, chunked\r\nContent-Length: 5\r\n",
    b"Transfer-Encoding: xchunked\r\nContent-Length: %d\r\n" % (5 + len(SMUGGLED)),
    b"Transfer-Encoding : chunked\r\nContent-Length: %d\r\n" % (5 + len(SMUGGLED)),
    b"Transfer-Encoding: \x0bchunked\r\nContent-Length: %d\r\n" % (5 + len(SMUGGLED)),
    b"Content-Length: 5\r\nContent-Length: %d\r\n" % (5 + len(SMUGGLED)),
    b"Content-Length: 0x5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 1_0\r\n",
]


@pytest.mark.parametrize("lengths", LENGTHS)
async def test_no_request_is_smuggled_in_a_body(folder: Path, monkeypatch: pytest.MonkeyPatch, lengths: bytes) -> None:
    """Where a proxy may see one request and we two, or the other way round, there is no second answer."""
    monkeypatch.setattr(connections, "REQUEST_S", 0.5)
    async with serving(folder, WHOLE) as running:
        head = b"POST /metrics HTTP/1.1\r\nHost: x\r\n" + lengths + b"\r\n"
        answer = await running.raw(head + b"0\r\n\r\n" + SMUGGLED)

    assert answer.count(b"HTTP/1.1 ") <= 1
    assert running.reloads == []


async def test_a_body_is_as_long_as_it_may_be(folder: Path) -> None:
    """Nothing that is asked for here has one: beyond the bound it is refused before it is read."""
    async with serving(folder, WHOLE) as running:
        who = {"Authorization": f"Bearer {TOKENS['boss']}"}
        codes = [
            (await running.ask("/-/reload", method="POST", **who, **{"Content-Length": str(size)}))[0]
            for size in (0, 1_025, 10**12)
        ]

    assert codes == [200, 413, 413]
    assert len(running.reloads) == 1


def nonsense(seed: int) -> Iterator[bytes]:
    """Give requests of random methods, paths and headers, some of them broken."""
    chance = random.Random(seed)
    methods = ("GET", "HEAD", "POST", "PUT", "OPTIONS", "G\u00cbT", "")
    starts = ("/", "/metrics", "/sessions/", "/docs", "/-/reload", "/metrics?source=", "", "*", "//x")
    names = ("Accept", "Authorization", "Accept-Encoding", "Content-Length", "Transfer-Encoding", "Range", "X\0")
    while True:
        tail = "".join(chr(chance.randrange(33, 256)) for _ in range(chance.randrange(12)))
        lines = "".join(
            f"{chance.choice(names)}: {''.join(chr(chance.randrange(32, 256)) for _ in range(chance.randrange(9)))}\r\n"
            for _ in range(chance.randrange(4))
        )
        version = chance.choice(("HTTP/1.1", "HTTP/1.0", "HTTP/9.9", ""))
        line = f"{chance.choice(methods)} {chance.choice(starts)}{tail} {version}\r\n"
        yield f"{line}Host: x\r\nConnection: close\r\n{lines}\r\n".encode("latin-1")


async def flood(running: Running, number: int) -> list[bytes]:
    """Send so many at random, 50 at a time."""
    requests, limit = nonsense(8), asyncio.Semaphore(50)

    async def one(data: bytes) -> bytes:
        async with limit:
            return await running.raw(data)

    return await asyncio.gather(*(one(next(requests)) for _ in range(number)))


@pytest.mark.parametrize("number", [500, *later(10_000)])
async def test_random_requests_break_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No 5xx and no traceback, with everything open; afterwards a scrape is answered."""
    monkeypatch.setattr(connections, "REQUEST_S", 2.0)
    async with serving(folder) as running:
        answers = await flood(running, number)
        code, _ = await running.ask("/metrics")

    bad = [answer for answer in answers if answer[9:10] == b"5" or b"Traceback" in answer]
    assert bad == []
    assert code == 200
    assert sum(answer.startswith(b"HTTP/1.") for answer in answers) > number // 2


@pytest.mark.parametrize("pause_s", [1.0, *later(20.0)])
async def test_slow_clients_delay_no_scrape(folder: Path, monkeypatch: pytest.MonkeyPatch, pause_s: float) -> None:
    """200 connections that send a byte at a time: each scrape is answered, and they are closed in the end."""
    monkeypatch.setattr(connections, "REQUEST_S", pause_s / 2)
    async with serving(folder) as running:
        slow = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(200)]
        end, codes = asyncio.get_running_loop().time() + pause_s, []
        while asyncio.get_running_loop().time() < end:
            for _, writer in slow:
                writer.write(b"G")
            code, _ = await asyncio.wait_for(running.ask("/metrics"), 5)
            codes.append(code)
            await asyncio.sleep(pause_s / 20)
        closed = [await asyncio.wait_for(_until_closed(reader), 5) for reader, _ in slow]
        for _, writer in slow:
            writer.close()

    assert set(codes) == {200}
    assert all(closed)


async def _until_closed(reader: asyncio.StreamReader) -> bool:
    with suppress(ConnectionError):
        await reader.read()
    return reader.at_eof() or reader.exception() is not None


@pytest.mark.bulk
@pytest.mark.parametrize("text", ["", TLS])
@pytest.mark.parametrize("path, series", [("/", 1), ("/metrics", 100_000)])
async def test_who_does_not_read_is_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch, path: str, series: int, text: str
) -> None:
    """Pages and metrics alike are sent for so long, and then the connection is closed."""
    lost, closed = connections.Connection.connection_lost, asyncio.Event()
    monkeypatch.setattr(connections.Connection, "connection_lost", lambda *given: (lost(*given), closed.set()))
    monkeypatch.setattr(connections, "SEND_S", 0.3)
    monkeypatch.setattr(overview, "page", lambda *_, **__: "x" * 8_000_000)
    async with serving(folder, text, series=series) as running:
        reader, writer = await hesitant(running.port, client(folder) if text else None)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await asyncio.wait_for(closed.wait(), 10)
        taken = await asyncio.wait_for(_taken(reader), 10)
        writer.close()

    assert 0 < taken < 7_000_000


async def hesitant(port: int, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, with buffers that take next to nothing before somebody reads."""
    connected = socket.socket()
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connected.setblocking(False)
    await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", port))
    name = "first.example" if context else None
    return await asyncio.open_connection(sock=connected, ssl=context, server_hostname=name, limit=1_000)


async def _taken(reader: asyncio.StreamReader) -> int:
    size = 0
    with suppress(ConnectionError, ssl.SSLError):
        while got := len(await reader.read(100_000)):
            size += got
    return size


async def test_there_are_so_many_connections_and_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One beyond the bound is closed at once; when others end there is room again."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    async with serving(folder) as running:
        held = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3)]
        for _, writer in held:
            writer.write(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        for reader, _ in held:
            await reader.readuntil(b"\r\n\r\n")
        refused = await running.raw(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        code, _ = await running.ask("/-/healthy")

    assert refused == b""
    assert code == 200


async def test_every_answer_has_the_headers(folder: Path) -> None:
    """Pages, metrics, errors, and what is no request; those of the file take the place of ours."""
    text = "http_server_config: {headers: {X-Frame-Options: SAMEORIGIN}}"
    async with serving(folder, text) as running:
        answers = [(await running.ask(path))[1] for path in ("/", "/metrics", "/nothing", "/-/healthy")]
        answers.append(await running.raw(b"nonsense\r\n\r\n"))

    for answer in answers:
        for line in (b"X-Content-Type-Options: nosniff", b"X-Frame-Options: SAMEORIGIN", b"Referrer-Policy: no-ref"):
            assert line in answer
    assert all(b"Content-Security-Policy: default-src 'none'" in answer for answer in answers[:4])
