"""Settings x seeds -> runs: what asda-ablate plans, starts and goes on with."""
