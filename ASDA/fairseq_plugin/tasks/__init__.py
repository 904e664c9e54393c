"""The registered tasks: where data sets, masks and metrics meet the trainer."""
