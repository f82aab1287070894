"""Data of users and items."""
