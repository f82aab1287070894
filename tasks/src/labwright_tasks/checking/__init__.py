"""What may be amiss with data, before anything is trained on it: `labwright check-data`."""
