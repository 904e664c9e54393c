"""The fairseq tasks: where data sets, masks and metrics meet the trainer."""
