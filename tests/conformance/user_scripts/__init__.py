"""Small scripts in the manner of the public ones, and what must come of each."""
