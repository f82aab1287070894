"""Federated learning: clients train on their own samples, a server puts together what they have changed."""
