"""The version of SageMaker Debugger's client library whose interface this is."""

__version__ = "1.0.34"
