"""Search spaces, strategies and the tuner."""
