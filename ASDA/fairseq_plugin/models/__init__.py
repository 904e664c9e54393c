"""The registered models: config dataclasses and thin adapters around objectives."""
