"""A plugin for labwright."""
