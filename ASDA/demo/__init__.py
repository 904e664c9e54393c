"""The demo: a generated corpus of sound events, a linear probe and a report; used by scripts/demo.sh."""
