"""The past of a source as OpenMetrics with timestamps, so that its counters run into the live ones without a seam.

`timeline.py` puts the rows in the order of their times, `replay.py` applies them to the same engine as the exporter's,
`lines.py` keeps the finished lines, `files.py` writes a file for each UTC day, `run.py` is all of it.
"""
