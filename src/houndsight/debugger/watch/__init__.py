"""Watch a script that knows nothing of Houndsight.

`launch` starts it, `site/` is on the path of every Python that it starts, and `attach` hooks the
models that it trains. This package imports nothing: every such Python passes through it.
"""
