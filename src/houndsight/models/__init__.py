"""Pretrained backbones, heads, the features cache and the saved model."""
