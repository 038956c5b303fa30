"""Find, split, decode and check photos. Nothing here imports torch."""
