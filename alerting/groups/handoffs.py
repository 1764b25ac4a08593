"""The group handoffs."""

from __future__ import annotations

from alerting.rules import Group

GROUP = Group("handoffs", ())
