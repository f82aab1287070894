"""Tables for labwright: numbers, categories and dates."""
