"""What is in a file? Checkpoints of every layout, read into one value; plain torch, no fairseq."""
