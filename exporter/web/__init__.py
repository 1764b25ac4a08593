"""What is served over HTTP: the metrics, the page a person sees, health, and reload."""
