"""The past of a source as OpenMetrics with timestamps, so that its counters run into the live ones without a seam.

`needs.py` says what has to be read for the metrics asked for, `timeline.py` puts the rows in the order of their times,
`replay.py` applies them to the same engine as the exporter's, `scrapes.py` takes what changed to `lines.py`, which has
the finished lines, `files.py` writes a file for each UTC day, `run.py` is all of it.
"""
