"""Looking at trials."""
