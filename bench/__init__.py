"""What the exporter costs, each figure a ratio taken in one run: `python -m bench [NAME…] [--quick]`."""
