"""A run of each fold, and what they come to: `labwright cross-validate`."""
