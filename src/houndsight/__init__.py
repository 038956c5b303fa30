"""Houndsight."""
