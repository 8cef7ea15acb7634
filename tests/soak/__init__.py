"""A market day at speed, against real processes. See docs/testing.md."""
