"""Instruments: trackers that runs are written to, and what to look at before and while training."""
