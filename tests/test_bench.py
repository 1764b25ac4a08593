"""The bench's harness: it works on small sizes, and what is over its limit is said and ends with 1."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench import __main__ as bench
from bench import publish
from bench.figure import Figure
from bench.scale import QUICK


def test_a_figure_over_its_limit_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A ratio above what it may be, or below what it must be at least, is OVER, and the exit code is 1."""
    figures = [Figure("a", "too slow", 1.3, 1.2), Figure("b", "not fast enough", 49.0, 50.0, at_least=True)]
    monkeypatch.setitem(bench.BENCHES, "made up", lambda scale: iter(figures))  # type: ignore[arg-type]

    code = bench.run(["made up"], QUICK)

    said = capsys.readouterr().out
    assert code == 1
    assert said.count("OVER") == 4
    assert "2 over their limits" in said


def test_figures_that_keep_their_limits_end_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the limit is within it; what has none is only told; NaN keeps none."""
    figures = [Figure("a", "", 1.2, 1.2), Figure("b", "", 50.0, 50.0, at_least=True), Figure("c", "", 7.0)]
    monkeypatch.setitem(bench.BENCHES, "made up", lambda scale: iter(figures))  # type: ignore[arg-type]

    assert bench.run(["made up"], QUICK) == 0
    assert not Figure("d", "", float("nan"), 1.2).ok


def test_a_bench_works_on_a_small_size() -> None:
    """A publish against client_python's rendering of the same samples gives one positive ratio."""
    tiny = replace(QUICK, series=300, publishes=1)

    (figure, *_) = publish.measure(tiny)

    assert figure.value > 0.0


def test_an_unknown_bench_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """In one line that lists what there is, with exit code 2."""
    with pytest.raises(SystemExit) as ended:
        bench.main(["nonsense"])

    assert ended.value.code == 2
    assert "NAME: nonsense: must be one of scrape" in capsys.readouterr().err
