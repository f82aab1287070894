"""Statistics of data and of what a model makes of it, for labwright."""
