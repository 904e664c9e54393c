"""What came out? One place that reads the logs of runs, and one that draws."""
