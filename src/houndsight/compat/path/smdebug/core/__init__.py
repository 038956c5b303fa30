"""What hook, trials and rules share."""
