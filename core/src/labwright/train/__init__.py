"""Training: settings, the loop, a phase's step, losses on their way to the log, evaluation, metrics, checkpoints.

Read `Trainer.fit` in trainer.py from top to bottom; everything else is what it calls.
May import: base, data, interfaces, plugin, config.
"""
