"""What flows: ports, data sets with their splits, batches, and a summary of what was read.

A batch is whole from the start: data is fetched by indices, not sample by sample.
May import: base.
"""
