"""Trainings with one injected fault each, and healthy ones, for `benchmarks/faults.py`."""
