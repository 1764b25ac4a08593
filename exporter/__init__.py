"""A Prometheus exporter over the SQL tables of AI orchestration platforms."""

__version__ = "0.1.0"
