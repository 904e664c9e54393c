"""Training objectives in plain torch, one method per file."""
