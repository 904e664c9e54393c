"""Measurements of the fast paths against a plain reference; `python -m benchmarks.run_all` makes them all."""
