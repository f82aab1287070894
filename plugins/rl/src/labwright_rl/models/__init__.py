"""Networks that act: for learning on policy, and from a replay buffer."""
