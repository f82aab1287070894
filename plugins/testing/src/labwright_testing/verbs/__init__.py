"""The verbs check and doctor. Each parses, calls and prints."""
