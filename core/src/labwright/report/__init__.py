"""report.html: the page and the frame of charts that every report shares, a task's sections, the report of a run.

Nothing here computes a result: it shows what a run folder holds.
May import: base, data, interfaces, plugin, config, train, runs.
"""
