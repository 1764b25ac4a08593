"""Make the stack's secrets: a certificate and users for the exporter, passwords for Prometheus and Grafana.

    python -m tools.credentials FOLDER [--owner FILE=UID:GID …] [--host NAME …]

Nothing has a default: every password is drawn anew, the authority's key is thrown away once it has signed. What is
there is kept, but a certificate that ends within a month: then authority and certificate are made anew, in place, so
that who has the files open by a bind mount sees them. Passwords for people are printed when they are made, and only
then. Needs Python with bcrypt, and the program `openssl`: both are in the exporter's image.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import bcrypt

HOSTS = ("exporter", "localhost", "127.0.0.1", "::1", "host.docker.internal")
"""Names and addresses the exporter is asked by: in the stack, and beside it."""
DAYS = 730
RENEW_BEFORE_S = 30 * 86_400
COST = 10
PUBLIC = ("ca.crt", "exporter.crt")
PRIVATE = ("exporter.key", "exporter-web.yml", "prometheus-password", "grafana-admin-password", "grafana-secret-key")

WEB = """\
# made by tools/credentials.py; docs/security.md says what the keys mean
tls_server_config:
  cert_file: exporter.crt
  key_file: exporter.key
  min_version: TLS13
basic_auth_users:
  prometheus: {scraper}
  viewer: {person}
user_roles:
  prometheus: metrics
  viewer: viewer
"""
AUTHORITY = """\
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = orchestration-exporter stack
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
SERVER = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


class CredentialsError(Exception):
    """Something could not be made; the message says what."""


def make(folder: Path, hosts: Sequence[str] = HOSTS) -> list[str]:
    """Make what is missing in ``folder``; return what a person has to be told, a line each.

    Raises: CredentialsError, OSError.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told: list[str] = []
    if not _lasts(folder / "exporter.crt") or not (folder / "exporter.key").exists():
        _certify(folder, hosts)
        told.append(f"certificate made, valid for {DAYS} days: browsers may trust {folder.name}/ca.crt")
    if not (folder / "exporter-web.yml").exists() or not (folder / "prometheus-password").exists():
        scraper, person = secrets.token_urlsafe(24), secrets.token_urlsafe(12)
        _write(folder / "prometheus-password", scraper)
        _write(folder / "exporter-web.yml", WEB.format(scraper=_hash(scraper), person=_hash(person)))
        told.append(f"the exporter's pages: user viewer, password {person}")
    if not (folder / "grafana-admin-password").exists():
        password = secrets.token_urlsafe(12)
        _write(folder / "grafana-admin-password", password)
        told.append(f"Grafana: user admin, password {password}")
    if not (folder / "grafana-secret-key").exists():
        _write(folder / "grafana-secret-key", secrets.token_urlsafe(32))
    return told


def own(folder: Path, owners: Mapping[str, tuple[int, int]]) -> None:
    """Give files to those who read them, which only root can. Raises: OSError."""
    for name, (uid, gid) in owners.items():
        os.chown(folder / name, uid, gid)


def _hash(password: str) -> str:
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(COST)).decode()


def _write(path: Path, text: str) -> None:
    """Write in place, or make a file that nobody else can read, or all where it is no secret."""
    mode = 0o644 if path.name in PUBLIC else 0o600
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)


def _lasts(certificate: Path) -> bool:
    if not certificate.exists():
        return False
    check = ["openssl", "x509", "-checkend", str(RENEW_BEFORE_S), "-noout", "-in", str(certificate)]
    return subprocess.run(check, capture_output=True, check=False).returncode == 0


def _certify(folder: Path, hosts: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as made:
        (Path(made) / "authority.conf").write_text(AUTHORITY)
        (Path(made) / "server.conf").write_text(SERVER.format(names=",".join(map(_name, hosts))))
        key, days = ("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"), ("-days", str(DAYS))
        _openssl(made, *key, "ca.key")
        _openssl(made, *key, "exporter.key")
        _openssl(made, "req", "-new", "-x509", *days, "-config", "authority.conf", "-key", "ca.key", "-out", "ca.crt")
        _openssl(made, "req", "-new", "-subj", "/CN=exporter", "-key", "exporter.key", "-out", "request")
        signing = ("-req", "-in", "request", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        _openssl(made, "x509", *signing, *days, "-extfile", "server.conf", "-out", "exporter.crt")
        for name in ("exporter.key", "exporter.crt", "ca.crt"):
            _write(folder / name, (Path(made) / name).read_text())


def _name(host: str) -> str:
    try:
        return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        return f"DNS:{host}"


def _openssl(folder: str, *arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise CredentialsError(f"openssl: {exc.strerror}: certificates are made with it") from exc
    if done.returncode:
        raise CredentialsError(f"openssl {arguments[0]}: {done.stderr.strip()}")


def _owner(text: str) -> tuple[str, tuple[int, int]]:
    name, _, ids = text.partition("=")
    uid, _, gid = ids.partition(":")
    if name not in (*PUBLIC, *PRIVATE) or not uid.isdigit() or not gid.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} must be FILE=UID:GID, FILE one of those that are made")
    return name, (int(uid), int(gid))


def main(argv: Sequence[str] | None = None) -> int:
    """Make them and say what was made; exit code 1 if something cannot be."""
    parser = argparse.ArgumentParser(prog="credentials", description="Make the stack's secrets.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--owner", type=_owner, action="append", default=[], metavar="FILE=UID:GID")
    parser.add_argument("--host", action="append", default=[], metavar="NAME", help="another name of the exporter")
    options = parser.parse_args(argv)
    try:
        for line in make(options.folder, (*HOSTS, *options.host)):
            print(line)
        own(options.folder, dict(options.owner))
    except (CredentialsError, OSError) as error:
        print(f"credentials: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
