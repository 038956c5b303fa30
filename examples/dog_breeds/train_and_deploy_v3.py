"""Dog breeds with the SageMaker SDK 3.x: tune, train, debug, profile, deploy.

The counterpart of `train_and_deploy.ipynb`, which uses the SDK 2.x. The same script runs on Amazon
SageMaker and, with Houndsight, on a laptop without an account:

    houndsight up
    PHOTOS=dogImages houndsight exec -- python examples/dog_breeds/train_and_deploy_v3.py

`PHOTOS` names a folder with `train`, `valid` and `test` in it, and in each of them a folder for
every breed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from sagemaker.core import image_uris
from sagemaker.core.common_utils import name_from_base
from sagemaker.core.debugger import (
    ProfilerRule,
    Rule,
    get_rule_container_image_uri,
    rule_configs,
)
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter
from sagemaker.core.resources import EndpointConfig, TrainingJob
from sagemaker.core.s3 import S3Downloader
from sagemaker.core.shapes import (
    AlgorithmSpecification,
    Channel,
    CollectionConfiguration,
    DataSource,
    DebugHookConfig,
    DebugRuleConfiguration,
    MetricDefinition,
    OutputDataConfig,
    ProfilerConfig,
    ProfilerRuleConfiguration,
    ResourceConfig,
    S3DataSource,
    StoppingCondition,
)
from sagemaker.core.training.configs import Compute, SourceCode
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.tuner import HyperparameterTuner

HERE = Path(__file__).resolve().parent
photos = Path(os.environ.get("PHOTOS", "dogImages"))
session = Session()
role = get_execution_role()
region = session.boto_region_name


def image(scope: str, instance_type: str) -> str:
    """The address of PyTorch's container."""
    return image_uris.retrieve(
        "pytorch",
        region,
        version="1.13.1",
        py_version="py39",
        instance_type=instance_type,
        image_scope=scope,
    )


# Upload the photos.
data = session.upload_data(path=str(photos), key_prefix="dog-breeds")
channels = {name: f"{data}/{name}" for name in ("train", "valid", "test")}

# Tune the hyperparameters. Each trial freezes the backbone and trains a new head. The search
# compares them by the loss on the validation photos; the test photos stay unseen until the end.
trainer = ModelTrainer(
    training_image=image("training", "ml.m5.xlarge"),
    source_code=SourceCode(source_dir=str(HERE), entry_script="hpo.py"),
    compute=Compute(instance_type="ml.m5.xlarge", instance_count=1),
    base_job_name="dog-hpo",
    hyperparameters={"epochs": 5},
    role=role,
    sagemaker_session=session,
)
tuner = HyperparameterTuner(
    trainer,
    objective_metric_name="Validation Loss",
    objective_type="Minimize",
    metric_definitions=[{"Name": "Validation Loss", "Regex": "Validation Loss: ([0-9\\.]+)"}],
    hyperparameter_ranges={
        "learning-rate": ContinuousParameter(0.0001, 0.1, scaling_type="Logarithmic"),
        "batch-size": CategoricalParameter([16, 32, 64]),
    },
    max_jobs=4,
    max_parallel_jobs=2,
)
tuner.tune({name: channels[name] for name in ("train", "valid")})
print(tuner.analytics().dataframe().sort_values("FinalObjectiveValue"))
best = TrainingJob.get(tuner.best_training_job())
hyperparameters = {
    "learning-rate": best.hyper_parameters["learning-rate"],
    "batch-size": best.hyper_parameters["batch-size"],
    "epochs": "2",
}
print(hyperparameters)

# Train with the best ones, watched: five rules of the debugger judge the training while it runs,
# and the profiler samples the machine. ModelTrainer has no argument for either (3.27), so the job
# is made as the resource that it would make. Its code is the archive that the tuner uploaded.
rules = [
    Rule.sagemaker(rule_configs.vanishing_gradient()),
    Rule.sagemaker(rule_configs.overfit()),
    Rule.sagemaker(rule_configs.overtraining()),
    Rule.sagemaker(rule_configs.poor_weight_initialization()),
    Rule.sagemaker(rule_configs.loss_not_decreasing()),
]
profiler_rules = [
    ProfilerRule.sagemaker(rule_configs.ProfilerReport()),
    ProfilerRule.sagemaker(rule_configs.LowGPUUtilization()),
]
output = f"s3://{session.default_bucket()}/dog-train"


def channel(name: str, uri: str) -> Channel:
    """A folder of the bucket that the job finds as `SM_CHANNEL_NAME`."""
    source = S3DataSource(s3_data_type="S3Prefix", s3_uri=uri)
    return Channel(channel_name=name, data_source=DataSource(s3_data_source=source))


def configured(rule: Rule | ProfilerRule) -> dict[str, object]:
    """What the request says of a rule."""
    return {
        "rule_configuration_name": rule.name,
        "rule_evaluator_image": get_rule_container_image_uri(rule.name, region),
        "rule_parameters": {name: str(value) for name, value in rule.rule_parameters.items()},
    }


job = TrainingJob.create(
    training_job_name=name_from_base("dog-train"),
    role_arn=role,
    algorithm_specification=AlgorithmSpecification(
        training_image=image("training", "ml.m5.xlarge"),
        training_input_mode="File",
        metric_definitions=[
            MetricDefinition(name=name, regex=f"{name}: ([0-9\\.]+)")
            for name in ("Training Loss", "Validation Loss", "Testing Loss")
        ],
    ),
    hyper_parameters={
        **hyperparameters,
        "sagemaker_program": "train_model.py",
        "sagemaker_submit_directory": best.hyper_parameters["sagemaker_submit_directory"],
    },
    input_data_config=[channel(name, uri) for name, uri in channels.items()],
    output_data_config=OutputDataConfig(s3_output_path=output),
    resource_config=ResourceConfig(
        instance_type="ml.m5.xlarge", instance_count=1, volume_size_in_gb=30
    ),
    stopping_condition=StoppingCondition(max_runtime_in_seconds=24 * 60 * 60),
    debug_hook_config=DebugHookConfig(
        s3_output_path=output,
        hook_parameters={"train.save_interval": "1", "eval.save_interval": "1"},
        collection_configurations=[
            CollectionConfiguration(
                collection_name=saved.name, collection_parameters=saved.parameters
            )
            for rule in rules
            for saved in rule.collection_configs
        ],
    ),
    debug_rule_configurations=[DebugRuleConfiguration(**configured(rule)) for rule in rules],
    profiler_config=ProfilerConfig(s3_output_path=output, profiling_interval_in_milliseconds=500),
    profiler_rule_configurations=[
        ProfilerRuleConfiguration(**configured(rule)) for rule in profiler_rules
    ],
)
job.wait(logs=True)

# What the rules found.
job.refresh()
for rule in [*job.debug_rule_evaluation_statuses, *job.profiler_rule_evaluation_statuses]:
    print(f"{rule.rule_configuration_name}: {rule.rule_evaluation_status}")
    if rule.status_details:
        print(f"    {rule.status_details}")

# The tensors that the debugger saved are read with smdebug, as the notebook does. It is no part of
# the SDK 3.x, so here are their address and what the job's log said of the loss.
print(f"Saved tensors: {output}/{job.training_job_name}/debug-output")
for metric in job.final_metric_data_list:
    print(f"{metric.metric_name}: {metric.value:.4f}")

# What the machine did: the profiler's report is a page of its own.
made = S3Downloader.list(f"{output}/{job.training_job_name}/rule-output", session)
print([uri for uri in made if uri.endswith(".html")])

# Deploy.
builder = ModelBuilder(
    s3_model_data_url=job.model_artifacts.s3_model_artifacts,
    source_code=SourceCode(source_dir=str(HERE), entry_script="img_reference.py"),
    image_uri=image("inference", "ml.m5.large"),
    instance_type="ml.m5.large",
    role_arn=role,
    sagemaker_session=session,
)
model = builder.build(model_name=name_from_base("dog-breeds"))
endpoint = builder.deploy(endpoint_name=name_from_base("dog-breeds"))

# A photo's bytes.
photo = sorted((photos / "test").rglob("*.jpg"))[0]
print(photo)
reply = endpoint.invoke(
    body=photo.read_bytes(), content_type="image/jpeg", accept="application/json"
)
print(json.loads(reply.body.read()))

# The URL of one, here a signed address of the uploaded copy.
bucket, prefix = data.removeprefix("s3://").split("/", 1)
key = f"{prefix}/{photo.relative_to(photos).as_posix()}"
url = session.boto_session.client("s3").generate_presigned_url(
    "get_object", Params={"Bucket": bucket, "Key": key}
)
reply = endpoint.invoke(
    body=json.dumps({"url": url}), content_type="application/json", accept="application/json"
)
print(json.loads(reply.body.read()))

# Clean up.
endpoint.delete()
EndpointConfig.get(endpoint.endpoint_config_name).delete()
model.delete()
