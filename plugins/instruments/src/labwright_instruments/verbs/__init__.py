"""The verbs of the instruments. Each parses, calls and prints."""
