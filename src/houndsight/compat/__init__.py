"""What scripts and notebooks written for SageMaker expect to find."""
