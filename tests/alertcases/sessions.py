"""Histories of the alerts in alerting/groups/sessions.py."""

from __future__ import annotations

from tests.promtool import History

HISTORIES: tuple[History, ...] = ()
