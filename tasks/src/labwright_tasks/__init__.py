"""What several domains share: objectives, data around other data, metrics, and what the core asks for by name."""

from labwright_tasks.effects import effects as effects
