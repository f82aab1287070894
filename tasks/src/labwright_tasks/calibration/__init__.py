"""Probabilities that mean what they say: temperature scaling."""
