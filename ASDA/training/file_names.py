"""Names of what a save folder holds, for the run that writes it and for the programs that look into it."""

NEWEST = "checkpoint_last.pt"
"""The checkpoint that a run goes on from."""

RUN_RECORD = "run.yaml"
"""The configuration of the run that the folder belongs to, resolved, and the identity of its data."""

RECORD_SECTIONS = (
    *("data", "common", "checkpoint", "dataset", "optimization", "optimizer", "lr_scheduler"),
    *("task", "model", "criterion"),
)
"""Those of the record that say what a run is. Others of fairseq's configuration are of other programs, or copies."""

MADE_WITH = "made_with"
"""Section of the record: versions and commit."""
