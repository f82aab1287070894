"""Differentially private training: the method, its randomness, its accounting, and the audit of what it claims."""
