"""SageMaker: training, tuning, models and endpoints, one file a resource."""

from houndsight.aws.sagemaker.service import SageMakerService

__all__ = ["SageMakerService"]
