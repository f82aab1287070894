"""Texts: from files, from the hub, and offline ones."""
