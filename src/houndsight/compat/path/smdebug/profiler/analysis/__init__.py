"""Looking at what the profiler saw."""
