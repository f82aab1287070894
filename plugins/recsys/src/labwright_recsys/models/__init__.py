"""Models that score a user and an item."""
