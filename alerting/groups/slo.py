"""The group service-levels."""

from __future__ import annotations

from alerting.rules import Group

GROUP = Group("service-levels", ())
