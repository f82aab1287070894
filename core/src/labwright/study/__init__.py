"""Studies: Optuna over anything installed. `space` says where, `trial` runs one, `study` asks, prunes and tells."""
