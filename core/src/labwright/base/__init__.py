"""What everything stands on: errors and their words, search marks, named random streams, files, locks, memory.

Nothing here knows what a task or a plugin is.
May import: no other room.
"""
