"""The head solver, the fine-tuning recipe and its loop, and the figures that judge them."""
