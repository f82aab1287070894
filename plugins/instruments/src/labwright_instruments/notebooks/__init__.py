"""What a notebook shows of experiments, runs and studies: tables, a bar, curves."""
