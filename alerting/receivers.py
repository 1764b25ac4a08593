"""Who is told, and how: a site's receivers, from a strict YAML file.

A secret is the path of a file, as the Alertmanager sees it, and never a value: what is made of the settings can be
committed and shown. docs/alerting.md says what each key means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from exporter import yamlfile
from exporter.settingtypes import Matches, TimeZone, Url, one_or_more

FILE = Path(__file__).with_name("receivers.yaml")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TEAMS_SINCE, URL_FILE_SINCE = (0, 28), (0, 27)
"""The versions of Alertmanager that know `msteamsv2_configs`, and whose webhooks read a `url_file` (0.26 crashed)."""

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
SecretFile = Annotated[
    str,
    Matches(r"/[^\x00-\x1f\x7f{}]+", "must be the absolute path of the secret's file, as Alertmanager sees it"),
]
MailAddress = Annotated[
    str, Matches(r"[^\s@<>,;{}]+@[A-Za-z0-9.-]+", "must be a mail address such as oncall@example.com, without a name")
]
Host = Annotated[str, Matches(r"[A-Za-z0-9.-]+:[0-9]{1,5}", "must be HOST:PORT, such as mail.example.com:587")]
Channel = Annotated[str, Matches(r"[#@]?[A-Za-z0-9_.-]{1,80}", "must be a channel such as #alerts")]
Time = Annotated[str, Matches(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]", 'must be a time from "00:00" to "23:59", in quotes')]
Name = Annotated[str, Matches(r"[a-z][a-z0-9-]{0,40}", "must be a name of a-z, 0-9 and -, a letter first")]


class ReceiversError(Exception):
    """The file cannot be used; the message is one line that names the line, the key, its value and the rule."""


def _version(value: object) -> object:
    # a number would do until 0.30, which YAML reads as 0.3
    if not isinstance(value, str) or not re.fullmatch(r"0\.(?:2[5-9]|[3-9][0-9])", value):
        raise ValueError('must be a version of Alertmanager from "0.25" on, in quotes, such as "0.34"')
    return value


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Slack(_Strict):
    """A Slack channel, by an incoming webhook whose URL is in a file."""

    api_url_file: SecretFile
    channel: Channel | None = None


class Teams(_Strict):
    """A Microsoft Teams channel, by a workflow whose URL is in a file."""

    webhook_url_file: SecretFile


class Email(_Strict):
    """Mail, by the server under ``smtp``."""

    to: Annotated[tuple[MailAddress, ...], BeforeValidator(one_or_more), Field(min_length=1)]


class Webhook(_Strict):
    """Alertmanager's own JSON, to a URL that is no secret or to one in a file; a bearer token is in a file, too."""

    url: Url | None = None
    url_file: SecretFile | None = None
    credentials_file: SecretFile | None = None

    @model_validator(mode="after")
    def _has_one_url(self) -> Self:
        if bool(self.url) == bool(self.url_file):
            raise ValueError("must have either url or, where it holds a secret, url_file")
        return self


class Receiver(_Strict):
    """One who is told, on each of the ways given."""

    slack: Slack | None = None
    teams: Teams | None = None
    email: Email | None = None
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _is_reachable(self) -> Self:
        if not (self.slack or self.teams or self.email or self.webhook):
            raise ValueError("must have one of slack, teams, email, webhook; leave it out if nobody is to be told")
        return self


class Smtp(_Strict):
    """The server that takes mail. A password is only sent over TLS."""

    host: Host
    sender: MailAddress
    username: Annotated[str, Matches(r"[^\s{}]+", "must be a user's name")] | None = None
    password_file: SecretFile | None = None
    require_tls: bool = True

    @model_validator(mode="after")
    def _keeps_its_password(self) -> Self:
        if bool(self.username) != bool(self.password_file):
            raise ValueError("username and password_file go together")
        if self.password_file and not self.require_tls:
            raise ValueError("require_tls: false: a password must not be sent in the clear")
        return self


class MuteWindow(_Strict):
    """A time of the week at which only pages are sent. Over midnight where it ends before it begins."""

    name: Name
    days: Annotated[tuple[Day, ...], BeforeValidator(one_or_more), Field(min_length=1)] = DAYS  # type: ignore[assignment]
    begin: Time = "00:00"
    end: Time = "00:00"


class Receivers(_Strict):
    """All of the file. Whoever is not there is left out, and somebody else is told instead."""

    alertmanager: Annotated[str, BeforeValidator(_version)] = "0.34"
    oncall: Receiver | None = None
    team: Receiver | None = None
    finance: Receiver | None = None
    quality: Receiver | None = None
    dead_mans_switch: Webhook | None = None
    smtp: Smtp | None = None
    time_zone: TimeZone = "UTC"
    mute_windows: Annotated[tuple[MuteWindow, ...], BeforeValidator(one_or_more)] = ()

    @property
    def people(self) -> dict[str, Receiver]:
        """Those who are configured, by name."""
        found = {"oncall": self.oncall, "team": self.team, "finance": self.finance, "quality": self.quality}
        return {name: receiver for name, receiver in found.items() if receiver}

    @field_validator("mute_windows")
    @classmethod
    def _have_names_of_their_own(cls, windows: tuple[MuteWindow, ...]) -> tuple[MuteWindow, ...]:
        names = [window.name for window in windows]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"each must have a name of its own: {', '.join(sorted(twice))}")
        return windows

    @model_validator(mode="after")
    def _can_be_done(self) -> Self:
        for problem in self._impossible():
            raise ValueError(problem)
        return self

    def _impossible(self) -> Iterator[str]:
        major, _, minor = self.alertmanager.partition(".")
        version = (int(major), int(minor))
        webhooks = {f"{name}.webhook": person.webhook for name, person in self.people.items()}
        for key, webhook in {**webhooks, "dead_mans_switch": self.dead_mans_switch}.items():
            if webhook and webhook.url_file and version < URL_FILE_SINCE:
                yield f"{key}.url_file: Alertmanager {self.alertmanager} cannot, 0.27 and later can"
        for name, person in self.people.items():
            if person.teams and version < TEAMS_SINCE:
                yield f"{name}.teams: Alertmanager {self.alertmanager} cannot, 0.28 and later can"
            if person.email and not self.smtp:
                yield f"{name}.email: {', '.join(person.email.to)!r}: needs a server, under smtp"


def parse(text: str) -> Receivers:
    """The receivers that a YAML text gives; an empty one gives none.

    Raises:
        ReceiversError: it is no strict YAML, a key is missing or unknown, or a value breaks its rule.
    """
    try:
        document = yamlfile.parse(text)
    except yamlfile.YamlError as exc:
        raise ReceiversError(str(exc)) from exc
    try:
        return Receivers.model_validate({} if document.data is None else document.data)
    except ValidationError as exc:
        raise ReceiversError(_told(exc.errors(), document)) from exc


def load(path: Path = FILE) -> Receivers:
    """The receivers of a file, by default the project's, which has none.

    Raises:
        ReceiversError: as `parse`, or it cannot be read; the message begins with its name.
    """
    try:
        return parse(path.read_text())
    except (OSError, UnicodeDecodeError) as exc:
        raise ReceiversError(f"{path}: {exc.strerror if isinstance(exc, OSError) else 'is no UTF-8'}") from exc
    except ReceiversError as exc:
        raise ReceiversError(f"{path}: {exc}") from exc


def _told(errors: list[ErrorDetails], document: yamlfile.Document) -> str:
    # an unknown key first: it is why another is missing
    error = min(errors, key=lambda each: each["type"] != "extra_forbidden")
    path = tuple(error["loc"])
    while path and path not in document.lines:
        path = path[:-1]
    where = ".".join(map(str, error["loc"]))
    rule = re.sub(r"\s+", " ", error["msg"].removeprefix("Value error, "))
    if error["type"] == "extra_forbidden":
        rule = "is no key here (a secret comes by file: api_url_file, webhook_url_file, url_file, password_file)"
    elif error["type"] == "missing":
        rule = "is missing"
    elif not _may_be_secret(error) and not isinstance(error["input"], dict | list):
        rule = f"{error['input']!r}: {rule}"
    return f"line {document.lines.get(path, 1)}: {f'{where}: ' if where else ''}{rule}"


def _may_be_secret(error: ErrorDetails) -> bool:
    """Whether a value is not to be shown: a URL, or what should have been a path and may be the secret itself."""
    return str(error["loc"][-1]).endswith(("_file", "url")) if error["loc"] else False
