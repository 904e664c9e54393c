"""How does a run start? Settings and arguments -> yaml composed -> clips per process -> the command. Plain Python.

hydra is imported where it is needed, and torch only to count GPUs, so that a plan takes a moment.
"""
