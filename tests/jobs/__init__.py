"""What starts real worker processes."""
