"""Confirm a diagnosis: cheap checks on what a script really trains, and the repair tried out.

`copying` and `start` run the script afresh, `probe` takes what it trains, `bench` trains copies
of it, the checks and `repairs` say what they showed, and `patches` writes the change down.
"""
