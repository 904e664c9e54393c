"""One file per layout of a checkpoint: `knows`, `read` and, where it makes sense, `write`."""
