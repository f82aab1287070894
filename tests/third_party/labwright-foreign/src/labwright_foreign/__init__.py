"""Architectures of other libraries for labwright."""
