"""The thresholds' file: strict, and burn factors that follow from it."""

from __future__ import annotations

import pytest

from alerting import thresholds

TEXT = thresholds.FILE.read_text()


def test_burn_factors_are_computed() -> None:
    """The shares of the error budget give the well-known factors of 30 days."""
    loaded = thresholds.load()

    assert [round(pair.factor, 6) for pair in loaded.burn_windows] == [14.4, 6, 3, 1.2]
    assert all(thresholds.seconds(pair.short) < thresholds.seconds(pair.long) for pair in loaded.burn_windows)


def test_no_burn_is_out_of_reach() -> None:
    """Where an objective is low, 14.4 times what it allows cannot happen: such a pair alerts at a share of all."""
    loaded = thresholds.load()
    first, second = loaded.burn_windows[:2]

    assert loaded.burn_factor(first, 0.9) == 7
    assert loaded.burn_factor(second, 0.9) == 6
    assert loaded.burn_factor(first, 0.99) == 14.4


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("near: 0.8", "near: 8", "budgets.near: 8"),
        ("near: 0.8", "nearly: 0.8", "budgets.near"),
        ("near: 0.8", "near: 0.8\n  further: 1", "budgets.further"),
        ("near: 0.8", "near: 0.8\n  near: 0.9", "given twice"),
        ("within_seconds: 81.92", "within_seconds: 80.0", "must be a bucket's bound"),
        ("low_confidence: 0.5 ", "low_confidence: 0.55 ", "must be a bucket's bound"),
        ("long: 1h", "long: 1w", "burn_windows.0.long: '1w'"),
        ("tenant_labels: [tenant]", "tenant_labels: [Tenant-1]", "tenant_labels.0"),
    ],
)
def test_what_the_file_must_not_say(old: str, new: str, says: str) -> None:
    """A value that breaks its rule, and a key too many or too few, are told with their place."""
    assert old in TEXT
    with pytest.raises(thresholds.ThresholdsError, match=says):
        thresholds.parse(TEXT.replace(old, new))


def test_a_window_that_is_none() -> None:
    """Seconds are of minutes, hours and days only."""
    with pytest.raises(ValueError, match="no window"):
        thresholds.seconds("1w")
