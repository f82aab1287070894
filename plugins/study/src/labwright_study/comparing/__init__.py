"""Comparisons: `candidates` says what, `runs` trains, `folder` keeps, `comparison` judges, `report` shows."""
