"""A simulated orchestration platform that writes the real tables, so that everything can be seen without one.

`history` and `events` are pure streams of transactions; `run` writes them; `python -m exporter.demo PATH` is
`run` in a process of its own, as it must be beside an exporter. Only the standard library is needed.
`cost_metrics` stays empty, as it does on most platforms.
"""

from exporter.demo.command import main
from exporter.demo.durations import parse_duration
from exporter.demo.incidents import INCIDENTS, Incident, live_and_past, parse_incident
from exporter.demo.settings import Settings
from exporter.demo.streams import InFlight, Resume, events, history
from exporter.demo.writer import APPLICATION_ID, Written, create_schema, resume_point, run, write_history

__all__ = [
    "APPLICATION_ID",
    "INCIDENTS",
    "InFlight",
    "Incident",
    "Resume",
    "Settings",
    "Written",
    "create_schema",
    "events",
    "history",
    "live_and_past",
    "main",
    "parse_duration",
    "parse_incident",
    "resume_point",
    "run",
    "write_history",
]
