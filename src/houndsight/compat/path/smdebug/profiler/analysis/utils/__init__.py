"""The profiler's figures as tables."""
