"""The endpoint and bulk prediction: a saved model answers requests, or reads a folder of photos."""
