"""The dev engine beside its peers, all in one run: `python -m benchmarks.dev_engine --help`."""
