"""How does fairseq see it? The only folder that imports fairseq."""
