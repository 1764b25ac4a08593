"""What is known of models beside the tables: joined spellings, vendors, tiers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from exporter.spec import UNKNOWN

PAID, LOCAL = "paid", "local"
TIERS = (("deepseek", LOCAL), ("claude", PAID))
_NOTHING: Mapping[str, str] = MappingProxyType({})

POOL = "model"
"""The vocabulary that all labels of models share."""


@dataclass(frozen=True, slots=True)
class Models:
    """What the configuration says of models; all names are label values."""

    aliases: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    """The name to count a spelling under."""
    vendors: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    tiers: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)

    def name(self, text: str) -> str:
        """The name that a spelling is counted under."""
        return self.aliases.get(text, text)

    def tier(self, model: str) -> str:
        """``paid`` or ``local`` by the configuration, else by how the name begins, else ``unknown``."""
        if model in self.tiers:
            return self.tiers[model]
        lower = model.lower()
        return next((tier for start, tier in TIERS if lower.startswith(start)), UNKNOWN)
