"""Tuning jobs: searches of `houndsight.tuning` whose trials are training jobs.

A tuning job is a state machine over the store (`states`), a thread moves them on (`driver`), and
the training jobs that it made are its memory: whatever is known about a trial is read from its
training job, so that nothing is lost when the control plane dies between two writes.
"""
