"""report.html: the page every report shares, charts of a log, and the report of a run.

Nothing here computes a result: it shows what a run folder holds.
May import: base, data, interfaces, plugin, config, train, runs.
"""
