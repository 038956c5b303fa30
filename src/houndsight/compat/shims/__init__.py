"""The shims of `houndsight.compat.legacy`, one library a file."""
