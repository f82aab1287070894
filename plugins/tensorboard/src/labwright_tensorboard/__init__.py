"""Runs as event files for TensorBoard: `log = ["progress", "tensorboard"]` in a recipe."""
