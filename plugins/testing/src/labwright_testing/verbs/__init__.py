"""The verbs of labwright-testing. Each parses, calls and prints."""
