"""The wire: SageMaker, runtime, logs, metrics, identity and S3, spoken to the official clients."""
