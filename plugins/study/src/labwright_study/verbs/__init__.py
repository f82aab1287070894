"""The verbs of studies and comparisons: tune, study, worker, compare. Each parses, calls and prints."""
