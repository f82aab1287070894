"""Experiments and their run folders: begin, write down, load, resume, verify, try, export.

A run folder is enough to rerun, resume, compare, predict and export.
It imports every room up to train.
"""
