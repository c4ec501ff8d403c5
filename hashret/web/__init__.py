"""The HTTP API and the pages of ``hashret serve``."""
