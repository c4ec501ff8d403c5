"""Asking a server as one asks an index."""
