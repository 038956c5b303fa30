"""The solvers behind `houndsight.training.head`: linear heads on cached features."""
