"""Tests of what is answered to which Accept and Accept-Encoding header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.exposition import Format
from exporter.negotiation import accepts_gzip, negotiate

TEXT, OPENMETRICS = Format.TEXT, Format.OPENMETRICS
OM = "application/openmetrics-text"

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_2_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,"
    "application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3_TEXT_FIRST = (
    "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.4"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept,wanted",
    [
        # what scrapers and browsers send
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_2_PROTOBUF, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_3_TEXT_FIRST, TEXT),
        (BROWSER, TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        (None, TEXT),
        ("", TEXT),
        # versions
        (OM, OPENMETRICS),
        (f"{OM};version=1.0.0", OPENMETRICS),
        (f"{OM};version=0.0.1", OPENMETRICS),
        (f'{OM}; version="1.0.0"', OPENMETRICS),
        (f"{OM};version=2.0.0", TEXT),
        (f"{OM};version=abc", TEXT),
        (f"{OM};version=", OPENMETRICS),
        (f"{OM};version=abc,{OM};version=1.0.0;q=0.1", OPENMETRICS),
        (f"text/plain;version=1.0.0,{OM};q=0.1", OPENMETRICS),
        (f"{OM};charset=utf-16", TEXT),
        # weights
        (f"{OM};q=0.5,text/plain;q=0.6", TEXT),
        (f"{OM};q=0.6,text/plain;q=0.5", OPENMETRICS),
        (f"{OM};q=0", TEXT),
        (f"{OM};q=0,text/plain;q=0", TEXT),
        (f"{OM};q=0.001,text/html", OPENMETRICS),
        (f"{OM};q=2", TEXT),
        (f"{OM};q=nonsense", TEXT),
        (f"{OM};Q=0.9;version=1.0.0,text/plain;q=0.8", OPENMETRICS),
        # specificity
        (f"{OM},*/*", OPENMETRICS),
        (f"{OM},text/plain", OPENMETRICS),
        (f"text/plain,{OM}", OPENMETRICS),
        (f"text/plain,{OM};q=0.9", TEXT),
        ("text/plain,*/*", TEXT),
        ("application/*", OPENMETRICS),
        ("application/*,text/*", TEXT),
        (f"{OM};q=0.1,application/*,text/plain;q=0.5", TEXT),
        (f"{OM};version=1.0.0;q=0.1,{OM};version=0.0.1;q=0.9,text/plain;q=0.5", TEXT),
        ("text/plain;q=0,*/*", OPENMETRICS),
        (f"{OM};q=0,*/*", TEXT),
        # spelling
        ("APPLICATION/OpenMetrics-Text ; Version=1.0.0", OPENMETRICS),
        (f"\t {OM} ; q=1.000 ,,", OPENMETRICS),
        (f'text/html;note="a, {OM}, b"', TEXT),
        (f'text/html;note="a\\", {OM}, b"', TEXT),
        (f'text/html;note="a, {OM}', TEXT),
        (";", TEXT),
        (";;,;q=1,=,/", TEXT),
        ("\x00\xff\ud800", TEXT),
    ],
)
def test_the_format_that_is_asked_for_is_the_one_preferred(accept: str | None, wanted: Format) -> None:
    assert negotiate(accept) is wanted


@pytest.mark.parametrize(
    "accept_encoding,wanted",
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZip", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("gzip;q=0.001", True),
        ("*", True),
        ("*;q=0", False),
        ("*;q=0, gzip", True),
        ("identity", False),
        ("identity;q=0", True),
        ("identity;q=0, *;q=0", False),
        ("identity;q=0, gzip;q=0", False),
        ("identity, gzip;q=0.5", False),
        ("identity;q=0.5, gzip", True),
        ("identity;q=0.5, gzip;q=0.5", True),
        ("deflate", False),
        ("gzip;q=high", False),
        ("gzipped", False),
        (";", False),
    ],
)
def test_gzip_is_sent_to_who_asks_for_it(accept_encoding: str | None, wanted: bool) -> None:
    assert accepts_gzip(accept_encoding) is wanted


@pytest.mark.bulk
@given(st.text() | st.text(alphabet='/*,;="\\q01. '))
def test_no_header_raises(header: str) -> None:
    assert negotiate(header) in Format
    assert accepts_gzip(header) in (True, False)


@pytest.mark.bulk
@pytest.mark.parametrize("piece", ['"', "\\", '"\\', ",", ";", "a/b;q=0.1,", 'a="b,', " "])
def test_a_huge_header_is_read_in_one_pass(piece: str) -> None:
    """A pattern whose time grows with the square of the header would not come to an end here."""
    header = piece * (200_000 // len(piece))

    assert negotiate(header) is TEXT
    assert accepts_gzip(header) is False
