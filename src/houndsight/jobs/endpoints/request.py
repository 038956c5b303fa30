"""An endpoint configuration and its models, in SageMaker's words, made into an `EndpointSpec`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from houndsight.jobs.endpoints.spec import EndpointSpec, ModelSpec, VariantSpec
from houndsight.jobs.request import BadRequestError, check_name
from houndsight.jobs.states import JobsError

__all__ = ["endpoint_spec", "model_spec", "reweighed"]


def endpoint_spec(
    name: str,
    arn: str,
    config: Mapping[str, Any],
    models: Mapping[str, Mapping[str, Any]],
    *,
    config_name: str,
    created: float,
    region: str = "us-east-1",
    generation: int = 1,
    revision: int = 1,
) -> EndpointSpec:
    """What the supervisor needs to run the endpoint.

    Args:
        config: the request of `CreateEndpointConfig`.
        models: those of `CreateModel`, by name.

    Raises:
        BadRequestError: the configuration asks for what Houndsight does not have.
    """
    check_name(name)
    variants = tuple(_variant(row, models) for row in config.get("ProductionVariants") or ())
    if not variants:
        raise BadRequestError(f"The endpoint configuration {config_name} has no variant.")
    return EndpointSpec(
        name=name,
        arn=arn,
        config=config_name,
        created=created,
        generation=generation,
        revision=revision,
        region=region,
        variants=variants,
    )


def model_spec(name: str, request: Mapping[str, Any]) -> ModelSpec:
    """The one container of a model.

    Raises:
        BadRequestError: it is a pipeline, a multi-model container or has its data elsewhere.
    """
    containers = list(request.get("Containers") or ())
    container = request.get("PrimaryContainer") or (containers[0] if containers else {})
    if len(containers) > 1:
        raise BadRequestError(
            f"Model {name} is a pipeline of {len(containers)} containers; Houndsight serves models"
            " of one container. Put the steps into one inference script."
        )
    if container.get("Mode") == "MultiModel":
        raise BadRequestError(
            f"Model {name} is a multi-model container, which Houndsight does not have: create an"
            " endpoint, or a production variant, for each model."
        )
    if not container.get("Image") and container.get("ModelPackageName"):
        raise BadRequestError(
            f"Model {name} names a model package; Houndsight has no registry. Name Image and"
            " ModelDataUrl."
        )
    uri, is_prefix = _data_of(name, container)
    environment = container.get("Environment") or {}
    return ModelSpec(
        name=name,
        image=str(container.get("Image") or ""),
        data_uri=uri,
        is_prefix=is_prefix,
        environment={str(k): str(v) for k, v in environment.items()},
    )


def reweighed(spec: EndpointSpec, wanted: Sequence[Mapping[str, Any]]) -> EndpointSpec:
    """`spec` with other weights and instance counts: rows of `DesiredWeightsAndCapacities`.

    Raises:
        JobsError: there is no such variant.
    """
    rows = {str(row["VariantName"]): row for row in wanted}
    names = [variant.name for variant in spec.variants]
    for name in rows:
        if name not in names:
            raise JobsError(
                f"Endpoint {spec.name} has no variant {name!r}; it has {', '.join(names)}."
            )
    variants = tuple(_changed(variant, rows.get(variant.name, {})) for variant in spec.variants)
    return dataclasses.replace(spec, variants=variants, revision=spec.revision + 1)


def _changed(variant: VariantSpec, row: Mapping[str, Any]) -> VariantSpec:
    weight, count = row.get("DesiredWeight"), row.get("DesiredInstanceCount")
    return dataclasses.replace(
        variant,
        weight=variant.weight if weight is None else float(weight),
        instances=variant.instances if count is None else max(1, int(count)),
    )


def _variant(row: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]]) -> VariantSpec:
    name, model = str(row["VariantName"]), str(row.get("ModelName") or "")
    check_name(name, what="name of a variant")
    if model not in models:
        raise BadRequestError(f'Could not find model "{model}" of variant {name}.')
    weight = row.get("InitialVariantWeight")
    limit = row.get("ContainerStartupHealthCheckTimeoutInSeconds")
    return VariantSpec(
        name=name,
        model=model_spec(model, models[model]),
        weight=1.0 if weight is None else float(weight),
        instances=max(1, int(row.get("InitialInstanceCount") or 1)),
        instance_type=str(row.get("InstanceType") or ""),
        start_seconds=None if limit is None else float(limit),
    )


def _data_of(name: str, container: Mapping[str, Any]) -> tuple[str, bool]:
    """The model data's URI, and whether it is a prefix of loose objects."""
    if container.get("ModelDataUrl"):
        return str(container["ModelDataUrl"]), False
    source = container.get("ModelDataSource") or {}
    stored = source.get("S3DataSource")
    if stored is None:
        if source:
            raise BadRequestError(
                f"Model {name}: ModelDataSource has no S3DataSource; Houndsight reads models from"
                " S3 only."
            )
        return "", False
    is_prefix = stored.get("S3DataType") == "S3Prefix" and stored.get("CompressionType") != "Gzip"
    return str(stored["S3Uri"]), is_prefix
