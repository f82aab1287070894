"""From recipes to components: signatures as settings, names resolved, what fits together, recipe files.

Input of people is checked here, once, with place, value and what is allowed.
May import: base, data, interfaces, plugin.
"""
