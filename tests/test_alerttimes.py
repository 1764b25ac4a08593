"""The judge of months itself: `for` and `keep_firing_for` on made-up vectors, and as a real promtool has it."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.alerttimes import Recording, Rules, Span, names, read_rules, seconds, spans

MINUTES = range(60)


def fired(present: str, for_m: int, keep_m: int = 0) -> str:
    """By minutes, `x` where the expression has the series: `F` where the alert fires."""
    evaluations = [60.0 * minute for minute in range(len(present))]
    there = [at for at, mark in zip(evaluations, present, strict=True) if mark == "x"]
    found = spans(there, evaluations, for_s=60.0 * for_m, keep_s=60.0 * keep_m)
    # one that fires to the end has the last evaluation as its end
    open_end = bool(found) and found[-1].end == evaluations[-1] and (present[-1] == "x" or keep_m > 0)
    return "".join(
        "F"
        if any(span.begin <= at < span.end or (open_end and span == found[-1] and at == span.end) for span in found)
        else "."
        for at in evaluations
    )


@pytest.mark.parametrize(
    "present, for_m, keep_m, expected",
    [
        ("..xxxx..", 0, 0, "..FFFF.."),
        ("..xxxx..", 2, 0, "....FF.."),
        ("..xxxx..", 4, 0, "........"),
        ("..xx.xxx", 2, 0, ".......F"),
        ("..x.....", 0, 3, "..FFFF.."),
        ("..x.x.....", 0, 3, "..FFFFFF.."),
        ("xxxx.x....", 3, 2, "...FFFFF.."),
        ("xx..xx....", 3, 5, ".........."),
        ("x.........", 0, 99, "FFFFFFFFFF"),
        ("........", 0, 5, "........"),
    ],
)
def test_for_and_keep_firing_for(present: str, for_m: int, keep_m: int, expected: str) -> None:
    """Pending is forgotten at once; firing goes on for a while, and begins anew only after its end."""
    assert fired(present, for_m, keep_m) == expected


def test_an_alert_that_still_fires_ends_with_the_last_evaluation() -> None:
    """Nothing is known of later."""
    assert spans([60.0, 120.0], [0.0, 60.0, 120.0], for_s=0, keep_s=0) == [Span(60.0, 120.0)]


@pytest.mark.parametrize(
    "for_m, keep_m", [(0, 0), (3, 0), (0, 4), (2, 3)], ids=["plain", "for", "keep", "for and keep"]
)
def test_promtool_says_the_same(tmp_path: Path, promtool: Path, for_m: int, keep_m: int) -> None:
    """Fifty minutes of a made-up series, judged by promtool at each of them."""
    present = "..x.xx.xxx..xxxx.x.xxxxx...xx..x.x.x.x....xxxxxx.."
    expected = fired(present, for_m, keep_m)
    rule = {"alert": "Made", "expr": "made == 1", "for": f"{for_m}m", "labels": {"severity": "info"}}
    rule |= {"keep_firing_for": f"{keep_m}m"} if keep_m else {}
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "made", "rules": [rule]}]}))
    values = " ".join("1" if mark == "x" else "0" for mark in present)
    alerts = [{"exp_labels": {"severity": "info"}}]
    cases = [
        {"eval_time": f"{minute}m", "alertname": "Made", "exp_alerts": alerts if mark == "F" else []}
        for minute, mark in enumerate(expected)
    ]
    test = {"interval": "1m", "input_series": [{"series": "made", "values": values}], "alert_rule_test": cases}
    (tmp_path / "test.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": [test]})
    )

    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert (done.returncode, "FAILED" in done.stdout + done.stderr) == (0, False), done.stdout + done.stderr


@pytest.mark.bulk
@settings(max_examples=200, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(0, 5), st.integers(0, 5))
def test_what_always_holds(present: list[bool], for_m: int, keep_m: int) -> None:
    """Spans are apart; each begins where the expression held for long enough, and a longer `for` finds no more."""
    evaluations = [60.0 * minute for minute in range(len(present))]
    there = [at for at, is_there in zip(evaluations, present, strict=True) if is_there]
    found = spans(there, evaluations, for_s=60.0 * for_m, keep_s=60.0 * keep_m)

    for span in found:
        assert all(present[int(span.begin // 60) - back] for back in range(for_m + 1))
    assert all(first.end <= second.begin for first, second in pairwise(found))
    assert len(spans(there, evaluations, for_s=60.0 * (for_m + 1), keep_s=60.0 * keep_m)) <= len(found)


def test_recording_rules_in_layers() -> None:
    """Those that ask for others come after them; a circle is refused."""
    a, b, c = Recording("a:x:1", "up"), Recording("b:x:1", 'a:x:1{l="c:x:1"} + 1'), Recording("c:x:1", "b:x:1 / a:x:1")
    assert list(Rules((c, b, a), ()).layers()) == [(a,), (b,), (c,)]
    with pytest.raises(ValueError, match="ask for one another: b:x:1"):
        list(Rules((a, Recording("b:x:1", "b:x:1")), ()).layers())


def test_rules_of_a_file(tmp_path: Path) -> None:
    """Names, expressions and times."""
    rules = [
        {"record": "a:b:c", "expr": "sum(up)"},
        {"alert": "A", "expr": "a:b:c < 1", "for": "1h30m", "keep_firing_for": "5m", "labels": {"severity": "info"}},
    ]
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    read = read_rules([tmp_path / "r.yaml"])
    assert read.recordings == (Recording("a:b:c", "sum(up)"),)
    [alert] = read.alerts
    assert (alert.name, alert.labels, alert.for_s, alert.keep_s) == ("A", {"severity": "info"}, 5400.0, 300.0)
    assert {"up", "a:b:c"} <= read.asked()
    assert names(['x{l="y"}']) == {"x", "l"}
    assert seconds("1d2h3m4s") == 93784
