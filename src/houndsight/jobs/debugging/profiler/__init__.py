"""The least of a profiler: SageMaker's profiler rules over samples of the system."""
