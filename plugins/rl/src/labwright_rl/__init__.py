"""Reinforcement learning for labwright: environments of Gymnasium, learning on policy and from a replay buffer."""
