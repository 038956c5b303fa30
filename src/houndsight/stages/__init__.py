"""The stages of a run, one a file; `pipeline` calls them in order."""
