"""What wakes people up, as code: thresholds and service levels."""
