"""TLS as the web configuration wants it, and a context that takes each handshake to the newest one."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exporter.options import WEB_CONFIG_FILE, ConfigError
from exporter.web.webconfig import CIPHERS, CURVES, Tls

_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_ASKED = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


def files(tls: Tls) -> list[Path]:
    """The files that the context is made from."""
    return [Path(name) for name in (tls.cert_file, tls.key_file, tls.client_ca_file) if name]


def context(tls: Tls) -> ssl.SSLContext:
    """What these settings ask for.

    Raises:
        ConfigError: a file cannot be read, or is none of what it should be; or this Python cannot do it.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version, made.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    made.verify_mode = _ASKED[tls.client_auth_type]
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    if not tls.prefer_server_cipher_suites:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    made.num_tickets = 0  # a session that is resumed would go on past a certificate or an authority that is gone
    made.options |= ssl.OP_NO_TICKET
    if older := [CIPHERS[name] for name in tls.cipher_suites if name in CIPHERS]:
        with _usable("tls_server_config.cipher_suites"):
            made.set_ciphers(":".join(older))
    for name in tls.curve_preferences:
        with _usable(f"tls_server_config.curve_preferences {name}"):
            made.set_ecdh_curve(CURVES[name])  # X25519 is not for Python 3.11.2, Debian 12's
    _load_authority(made, tls)
    _load_pair(made, tls)
    return made


def asking(tls: Tls) -> ssl.SSLContext:
    """What a server with these settings can be asked with whether it is ready, on its own machine.

    Its certificate is for the names that others know it by, may have ended, and may be changing: none of that makes it
    less ready, so it is not verified, and nothing but a code is believed. Where it wants a certificate of who asks it
    is offered its own, which its authority has to allow.

    Raises:
        ConfigError: a file cannot be read, or is none of what it should be.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if tls.client_auth_type == "RequireAndVerifyClientCert":
        _load_pair(made, tls)
    return made


def _load_authority(made: ssl.SSLContext, tls: Tls) -> None:
    if tls.client_ca or tls.client_ca_file:
        with _usable(tls.client_ca_file or "tls_server_config.client_ca"):
            made.load_verify_locations(cafile=tls.client_ca_file or None, cadata=tls.client_ca or None)


def _load_pair(made: ssl.SSLContext, tls: Tls) -> None:
    # a folder of mode 0700: ssl loads a key from a file only
    with _usable(tls.cert_file or "tls_server_config.cert"), tempfile.TemporaryDirectory() as folder:
        made.load_cert_chain(
            _file(tls.cert_file, tls.cert, Path(folder, "cert")),
            _file(tls.key_file, tls.key, Path(folder, "key")),
            password=_no_password,
        )


@contextmanager
def _usable(shown: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
        reason = exc.reason if isinstance(exc, ssl.SSLError) else getattr(exc, "strerror", None)
        rule = f"cannot be used for TLS: {reason or 'no certificate and key that belong together'}"
        raise ConfigError(WEB_CONFIG_FILE.flag, shown, rule) from None


def _file(name: str, text: str, instead: Path) -> str:
    if name:
        return name
    instead.write_text(text)
    return str(instead)


def _no_password() -> str:
    raise ValueError("a key with a password cannot be used")


def ends_at(tls: Tls) -> float:
    """Unix time until which the first certificate is valid.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with tempfile.TemporaryDirectory() as folder:
            name = _file(tls.cert_file, tls.cert, Path(folder, "cert"))
            # the only way of the standard library to read a certificate that nobody has sent
            decoded: Mapping[str, Any] = ssl._ssl._test_decode_cert(name)  # type: ignore[attr-defined]
            return float(ssl.cert_time_to_seconds(decoded["notAfter"]))
    except (OSError, ValueError, KeyError):
        raise ConfigError(
            WEB_CONFIG_FILE.flag, tls.cert_file or "tls_server_config.cert", "is no certificate"
        ) from None


class Following(ssl.SSLContext):
    """Stands for the context that is valid when a handshake begins; asyncio asks it for each connection."""

    current: Callable[[], ssl.SSLContext]

    def wrap_bio(self, *args: Any, **keywords: Any) -> ssl.SSLObject:
        """Begin a handshake by the newest context."""
        return self.current().wrap_bio(*args, **keywords)


def following(current: Callable[[], ssl.SSLContext]) -> Following:
    """A context for a server, which asks ``current`` at each handshake."""
    made = Following(ssl.PROTOCOL_TLS_SERVER)
    made.current = current
    return made


def allowed(certificate: Mapping[str, Any] | None, sans: list[str]) -> bool:
    """Whether one of the client's alternative names is among ``sans``; no ``sans`` allow all."""
    names = {str(value) for _, value in (certificate or {}).get("subjectAltName", ())}
    return not sans or not names.isdisjoint(sans)
