"""What keeps a run of fairseq's trainer going, and what it says about itself."""
