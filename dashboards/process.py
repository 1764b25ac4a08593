"""What every Python process tells of itself by prometheus_client: declared as ours are, so that `promql` knows them."""

from __future__ import annotations

from exporter.telemetry import Declaration

MEMORY = Declaration("gauge", "process_resident_memory_bytes", "Resident memory.")
CPU = Declaration("counter", "process_cpu_seconds_total", "CPU time.")
FILES = Declaration("gauge", "process_open_fds", "Open files.")
FILES_MOST = Declaration("gauge", "process_max_fds", "Files that may be open.")
STARTED = Declaration("gauge", "process_start_time_seconds", "When the process started.")
