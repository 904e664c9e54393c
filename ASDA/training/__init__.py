"""What keeps a run of days going, and what shows how it went: plain torch, without fairseq."""
