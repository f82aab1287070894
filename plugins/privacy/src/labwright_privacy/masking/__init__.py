"""Personal data in texts: what is found by its form and its checksum, and the pseudonyms that stand for it."""
