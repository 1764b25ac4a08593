"""The stack's secrets: made once, different every time, read by whom they are for, renewed in place."""

from __future__ import annotations

import ssl
import stat
import subprocess
from pathlib import Path

import bcrypt
import pytest

from exporter.web.webconfig import read
from tools import credentials
from tools.credentials import PRIVATE, PUBLIC, main, make


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder of secrets, and what was told when they were made."""
    folder = tmp_path_factory.mktemp("made") / "secrets"
    return folder, make(folder)


def password_in(told: list[str], what: str) -> str:
    """The password that a line tells."""
    (line,) = [each for each in told if each.startswith(what)]
    return line.rpartition(" ")[2]


def test_only_who_is_meant_can_read_them(made: tuple[Path, list[str]]) -> None:
    """All but the certificates are for their owner alone; the authority's key is not kept."""
    folder, _ = made

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}

    assert modes == {**dict.fromkeys(PUBLIC, 0o644), **dict.fromkeys(PRIVATE, 0o600)}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_exporter_takes_them(made: tuple[Path, list[str]]) -> None:
    """Its web configuration is valid, knows Prometheus and a person, and neither by a password."""
    folder, told = made

    web = read(folder / "exporter-web.yml")

    scraper, person = (folder / "prometheus-password").read_text(), password_in(told, "the exporter's pages")
    assert web.user_roles == {"prometheus": "metrics", "viewer": "viewer"}
    assert bcrypt.checkpw(scraper.encode(), web.basic_auth_users["prometheus"].encode())
    assert bcrypt.checkpw(person.encode(), web.basic_auth_users["viewer"].encode())
    assert not {scraper, person} & set((folder / "exporter-web.yml").read_text().split())
    assert password_in(told, "Grafana") == (folder / "grafana-admin-password").read_text()


@pytest.mark.parametrize("name", ["exporter", "localhost", "127.0.0.1", "::1", "host.docker.internal"])
def test_the_certificate_holds_for_every_address(made: tuple[Path, list[str]], name: str) -> None:
    """Who trusts the authority believes the exporter under each of its names, and under no other."""
    folder, _ = made

    assert handshake(folder, name) is None
    assert "mismatch" in str(handshake(folder, "example.org"))


def handshake(folder: Path, name: str) -> Exception | None:
    """What a client that trusts `ca.crt` has against the certificate, in memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "exporter.crt", folder / "exporter.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=name), server.wrap_bio(up, down, server_side=True)]
    for end in (ends * 3)[:4]:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            return error
    return None


def test_none_is_a_default(made: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Two installations have nothing in common."""
    folder, _ = made

    make(tmp_path)

    assert not {path.read_text() for path in folder.iterdir()} & {path.read_text() for path in tmp_path.iterdir()}


def test_what_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second time makes nothing and tells nothing; what was lost is made anew."""
    make(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == ""
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    (tmp_path / "grafana-admin-password").unlink()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Grafana: user admin, password ")


def test_a_certificate_that_ends_soon_is_renewed_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files stay the same files, for a bind mount follows no other; the pair is a new one that fits."""
    monkeypatch.setattr(credentials, "DAYS", 29)
    make(tmp_path)
    before = {name: ((tmp_path / name).stat().st_ino, (tmp_path / name).read_text()) for name in PUBLIC}
    monkeypatch.undo()

    (told,) = make(tmp_path)

    assert told.startswith("certificate made")
    for name, (inode, text) in before.items():
        assert (tmp_path / name).stat().st_ino == inode
        assert (tmp_path / name).read_text() != text
    assert handshake(tmp_path, "exporter") is None


def test_files_are_given_to_their_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file that is named is given to its owner, and no other."""
    given = []
    monkeypatch.setattr("os.chown", lambda path, uid, gid: given.append((Path(path).name, uid, gid)))

    assert main([str(tmp_path), "--owner", "exporter.key=1000:100", "--owner", "prometheus-password=65534:65534"]) == 0

    assert given == [("exporter.key", 1000, 100), ("prometheus-password", 65534, 65534)]


@pytest.mark.parametrize(
    "owner", ["exporter.key", "exporter.key=root:root", "ca.key=1:1", "../x=1:1", "exporter.key=1"]
)
def test_a_wrong_owner_is_refused(tmp_path: Path, owner: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not FILE=UID:GID, of a file that is made, is told in a line."""
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), "--owner", owner])

    assert "must be FILE=UID:GID" in capsys.readouterr().err


def test_what_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `openssl` there is a line, and no half of a pair."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main([str(tmp_path / "secrets")]) == 1

    assert capsys.readouterr().err.startswith("credentials: openssl: ")
    assert list((tmp_path / "secrets").iterdir()) == []


def test_another_name_is_certified(tmp_path: Path) -> None:
    """A host of the site stands in the certificate beside ours."""
    assert main([str(tmp_path), "--host", "metrics.example.org", "--host", "192.0.2.7"]) == 0

    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(tmp_path / "exporter.crt")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "DNS:metrics.example.org, IP Address:192.0.2.7" in shown.stdout
