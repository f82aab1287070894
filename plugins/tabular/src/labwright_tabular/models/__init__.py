"""Networks from rows of a table to classes or numbers."""
