"""The group sessions."""

from __future__ import annotations

from alerting.rules import Group

GROUP = Group("sessions", ())
