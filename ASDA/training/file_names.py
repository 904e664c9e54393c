"""Names of what a save folder holds, for the run that writes it and the launch that looks into it."""

NEWEST = "checkpoint_last.pt"
"""The checkpoint that a run goes on from."""

RUN_RECORD = "run.yaml"
"""The configuration of the run that the folder belongs to, resolved, and the identity of its data."""
