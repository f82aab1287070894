"""Privacy for labwright: `differential` training with its proof, `federated` learning, and `masking` of texts."""
