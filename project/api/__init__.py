"""The REST API: what the live page can do, for programs. See ``docs/api.md``."""
