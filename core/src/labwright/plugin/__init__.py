"""How plugins are found, checked, blocked and called: hooks, discovery, registry, relay, settings, lock file.

Nothing here imports torch, so that plugins can be listed without it.
May import: base, data, interfaces.
"""
