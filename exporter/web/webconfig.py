"""The file of `--web.config.file`: exporter-toolkit's keys, and ours beside them.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md says what the keys mean. What
Python's `ssl` or aiohttp cannot do as Go does is refused, never ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, model_validator

from exporter.options import WEB_CONFIG_FILE, ConfigError, Layers, Strict

Role = Literal["metrics", "viewer", "admin"]
"""`metrics` may scrape, `viewer` look at the pages too, `admin` reload as well."""

_BCRYPT = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_HEADERS = (
    *("Strict-Transport-Security", "X-Content-Type-Options", "X-Frame-Options"),
    *("X-XSS-Protection", "Content-Security-Policy"),
)
CIPHERS = {
    f"TLS_ECDHE_{kind}_WITH_{ours}": f"ECDHE-{kind}-{theirs}"
    for kind in ("RSA", "ECDSA")
    for ours, theirs in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
    )
}
"""OpenSSL's names of the cipher suites of TLS 1.2, by Go's."""
TLS13_CIPHERS = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""Go takes these names, and offers all three whatever is listed."""
CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}


def _cipher(name: str) -> str:
    if name not in CIPHERS and name not in TLS13_CIPHERS:
        raise ValueError("must be the Go name of a cipher suite that Go calls secure and OpenSSL has")
    return name


def _curve(name: str) -> str:
    if name not in CURVES:
        raise ValueError(f"must be one of {', '.join(CURVES)}")
    return name


def _version(name: str) -> str:
    if name in ("TLS10", "TLS11"):
        raise ValueError("OpenSSL does not offer TLS 1.0 and 1.1 with safe settings: must be TLS12 or TLS13")
    if name not in ("TLS12", "TLS13"):
        raise ValueError("must be TLS12 or TLS13")
    return name


def _auth_type(name: str) -> str:
    if name in ("RequestClientCert", "RequireAnyClientCert"):
        raise ValueError("Python's ssl cannot ask for a certificate without verifying it")
    if name not in ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"):
        raise ValueError("must be NoClientCert, VerifyClientCertIfGiven or RequireAndVerifyClientCert")
    return name


def _no_http2(wanted: bool) -> bool:
    if wanted:
        raise ValueError("HTTP/2 is not served: leave it out, or false")
    return wanted


def _user(name: str) -> str:
    if not name or ":" in name or not name.isprintable():
        raise ValueError("a user's name must be printable, without a colon")
    return name


def _hash(text: str) -> str:
    if not _BCRYPT.fullmatch(text):
        raise ValueError("must be a bcrypt hash, as `htpasswd -nBC 10 USER` prints it")
    return text


def _duration(text: str) -> str:
    if text != "0" and not re.fullmatch(f"(?:{_DURATION.pattern})+", text):
        raise ValueError("must be a duration such as 1s or 100ms")
    return text


def _header(name: str) -> str:
    if name not in _HEADERS:
        raise ValueError(f"must be one of {', '.join(_HEADERS)}")
    return name


def _value(text: str) -> str:
    if not text.isprintable() or not text.isascii():
        raise ValueError("must be one line of ASCII")
    return text


class Part(Strict):
    """What makes up the web configuration."""


class Tls(Part):
    """TLS, as exporter-toolkit has it; a certificate or key as a file or as its text."""

    cert: str = ""
    cert_file: str = ""
    key: str = ""
    key_file: str = ""
    client_ca: str = ""
    client_ca_file: str = ""
    client_auth_type: Annotated[str, AfterValidator(_auth_type)] = "NoClientCert"
    client_allowed_sans: list[str] = Field(default_factory=list)
    min_version: Annotated[str, AfterValidator(_version)] = "TLS12"
    max_version: Annotated[str, AfterValidator(_version)] = "TLS13"
    cipher_suites: list[Annotated[str, AfterValidator(_cipher)]] = Field(default_factory=list)
    curve_preferences: Annotated[list[Annotated[str, AfterValidator(_curve)]], Field(max_length=1)] = Field(
        default_factory=list
    )
    prefer_server_cipher_suites: bool = True

    @model_validator(mode="after")
    def _whole(self) -> Tls:
        for name in ("cert", "key"):
            if bool(getattr(self, name)) == bool(getattr(self, f"{name}_file")):
                raise ValueError(f"needs either {name} or {name}_file")
        if self.client_ca and self.client_ca_file:
            raise ValueError("needs at most one of client_ca and client_ca_file")
        if (self.client_auth_type != "NoClientCert") != bool(self.client_ca or self.client_ca_file):
            raise ValueError("client_auth_type and client_ca or client_ca_file need each other")
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans needs client_auth_type RequireAndVerifyClientCert")
        if self.min_version > self.max_version:
            raise ValueError("min_version must not be above max_version")
        return self


class Http(Part):
    """How HTTP is answered."""

    http2: Annotated[bool, AfterValidator(_no_http2)] = False
    headers: dict[Annotated[str, AfterValidator(_header)], Annotated[str, AfterValidator(_value)]] = Field(
        default_factory=dict
    )


class RateLimit(Part):
    """One request in each interval for all clients together, and ``burst`` at once; without interval no limit."""

    interval: Annotated[str, AfterValidator(_duration)] = "0"
    burst: Annotated[int, Field(ge=0)] = 0

    @property
    def interval_s(self) -> float:
        """The interval in seconds."""
        return sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION.findall(self.interval))

    @model_validator(mode="after")
    def _possible(self) -> RateLimit:
        if self.interval_s and not self.burst:
            raise ValueError("burst must be at least 1: with 0, no request would be answered")
        return self


class Token(Part):
    """A bearer token, kept in a file of its own; with ``source`` it sees that source only."""

    token_file: Annotated[str, Field(min_length=1)]
    role: Role = "metrics"
    source: str = ""

    @model_validator(mode="after")
    def _not_all(self) -> Token:
        if self.source and self.role == "admin":
            raise ValueError("a token for one source cannot be admin: a reload is of all sources")
        return self


class WebConfig(Part):
    """The whole file."""

    tls_server_config: Tls | None = None
    http_server_config: Http = Http()
    basic_auth_users: dict[Annotated[str, AfterValidator(_user)], Annotated[str, AfterValidator(_hash)]] = Field(
        default_factory=dict
    )
    rate_limit: RateLimit = RateLimit()
    user_roles: dict[str, Role] = Field(default_factory=dict)
    bearer_tokens: list[Token] = Field(default_factory=list)

    @property
    def asks(self) -> bool:
        """Whether anybody has to say who they are."""
        return bool(self.basic_auth_users or self.bearer_tokens)

    @model_validator(mode="after")
    def _known(self) -> WebConfig:
        if unknown := sorted(self.user_roles.keys() - self.basic_auth_users.keys()):
            raise ValueError(f"user_roles names who is not in basic_auth_users: {', '.join(unknown)}")
        return self


def read(path: Path) -> WebConfig:
    """What the file says, its relative paths relative to the folder it is in.

    Raises:
        ConfigError: it cannot be read, or is wrong; no secret is in the line.
    """
    layers = Layers()
    try:
        layers.add_file(str(path), option=WEB_CONFIG_FILE)
        found = layers.validated(WebConfig)
    except ConfigError as exc:
        raise exc.without_value() from None
    return found.model_copy(
        update={
            "tls_server_config": found.tls_server_config and _anchored(found.tls_server_config, path.parent),
            "bearer_tokens": [_anchored(token, path.parent) for token in found.bearer_tokens],
        }
    )


AnyPart = TypeVar("AnyPart", Tls, Token)


def _anchored(part: AnyPart, folder: Path) -> AnyPart:
    files = [name for name in type(part).model_fields if name.endswith("_file") and getattr(part, name)]
    return part.model_copy(update={name: str(folder / getattr(part, name)) for name in files})
