"""Recommendation for labwright: ranking from implicit feedback, clicks and ratings."""
