"""Striped pictures for labwright."""
