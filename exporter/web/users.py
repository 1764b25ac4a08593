"""Who somebody is, by basic authentication or a bearer token, and what that takes in time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from exporter.options import WEB_CONFIG_FILE, ConfigError
from exporter.web.webconfig import Role, Token, WebConfig

_KEPT = 100
_BCRYPT_BYTES = 72
_TOKEN_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody: what they may do, and the one source they may see, or all if it is empty."""

    role: Role
    source: str = ""


class Users:
    """The users and tokens of one reading of the files.

    A password that was right is remembered under a keyed hash of the whole header, so that a scrape pays for bcrypt
    once; a wrong one never is, so that guessing costs the same each time. An unknown user is compared with a hash
    that no password has, of the highest cost among the users'.

    Raises:
        ConfigError: a token's file cannot be read, or holds no good token.
    """

    def __init__(self, config: WebConfig) -> None:
        self._hashes = {name: text.encode() for name, text in config.basic_auth_users.items()}
        self._roles: Mapping[str, Role] = config.user_roles
        cost = max((int(text[4:6]) for text in config.basic_auth_users.values()), default=10)
        self._nobody = f"$2b${cost:02}$".encode() + b"." * 53
        self._key = secrets.token_bytes(32)
        self._right: dict[bytes, Principal] = {}
        self._tokens = _tokens(config.bearer_tokens)
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="bcrypt")  # the pollers' are not for it

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False)

    def known(self, header: str) -> Principal | None:
        """Who the `Authorization` header names, if that takes no bcrypt to tell."""
        scheme, _, given = header.partition(" ")
        if scheme.lower() == "bearer":
            return self._tokens.get(_digest(given.strip()))
        return self._right.get(self._entry(header))

    async def find(self, header: str) -> Principal | None:
        """Who the header names; None if nobody, or if the password is wrong."""
        if (principal := self.known(header)) or (pair := _pair(header)) is None:
            return principal
        user, password = pair
        wanted = self._hashes.get(user, self._nobody)
        # bcrypt 5 raises where older ones cut: a password of more cannot be anybody's
        tried = password if len(password) <= _BCRYPT_BYTES and b"\0" not in password else b"x"
        good = await asyncio.get_running_loop().run_in_executor(self._threads, bcrypt.checkpw, tried, wanted)
        if not (good and tried is password and user in self._hashes):
            return None
        principal = Principal(self._roles.get(user, "viewer"))
        if len(self._right) >= _KEPT:
            del self._right[next(iter(self._right))]
        self._right[self._entry(header)] = principal
        return principal

    def _entry(self, header: str) -> bytes:
        return hashlib.blake2b(header.encode("utf-8", "surrogateescape"), key=self._key).digest()


def _pair(header: str) -> tuple[str, bytes] | None:
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(given.strip(), validate=True).partition(b":")
        return (name.decode(), password) if colon else None
    except (binascii.Error, ValueError):
        return None


def _tokens(declared: list[Token]) -> dict[bytes, Principal]:
    """By the hash of a token who it stands for: looking a hash up tells nothing of the token by its time."""
    found: dict[bytes, Principal] = {}
    for token in declared:
        try:
            text = Path(token.token_file).read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = getattr(exc, "strerror", None) or "not ASCII"
            raise ConfigError(WEB_CONFIG_FILE.flag, token.token_file, f"no token can be read: {reason}") from None
        if len(text) < _TOKEN_CHARACTERS or not text.isprintable() or " " in text:
            rule = f"must hold one token of at least {_TOKEN_CHARACTERS} characters"
            raise ConfigError(WEB_CONFIG_FILE.flag, token.token_file, rule)
        if _digest(text) in found:
            raise ConfigError(WEB_CONFIG_FILE.flag, token.token_file, "holds the same token as another")
        found[_digest(text)] = Principal(token.role, token.source)
    return found


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
