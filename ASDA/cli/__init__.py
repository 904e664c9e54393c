"""The programs: argparse and one call each; `main(argv=None)` returns the exit code."""
