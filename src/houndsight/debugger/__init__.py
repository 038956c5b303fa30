"""Watch a PyTorch training and say what is wrong, why, and what to change."""
