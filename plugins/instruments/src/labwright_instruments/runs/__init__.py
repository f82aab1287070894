"""`labwright runs`: run folders beside one another. But for the pages, nothing here imports torch."""
