"""Runs and studies on clusters: `labwright submit` gives commands to Slurm, `labwright tune --on ray` trains on Ray."""
