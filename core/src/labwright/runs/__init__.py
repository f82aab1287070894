"""Experiments and their run folders: begin, write down, load, resume, verify, try.

A run folder is enough to rerun, resume, compare, predict and export.
May import: base, data, interfaces, plugin, config, train.
"""
