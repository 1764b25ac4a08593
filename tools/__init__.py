"""What building and testing need and running does not."""
