"""`spec.tracking`: where the run's metrics go besides its own files."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.compute import NAME_PATTERN
from deepicd.spec.endpoint import endpoint_address
from deepicd.spec.rules import given, python_only
from deepicd.spec.storage import refuse_credentials
from deepicd.spec.wording import pattern

TOKEN, USERNAME, PASSWORD = "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
"""MLflow's own names of its credentials."""


class MlflowSpec(SpecModel):
    """One MLflow run for all stages and attempts. If the server does not answer, this is reported and training
    continues. If SSL_CERT_FILE is set, certificates are checked against those in that file.
    """

    uri: str = Field(
        pattern=pattern(
            r"^https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[^\s?#]*)?$",
            "an http:// or https:// address, such as http://mlflow:5000",
        ),
        max_length=1024,
    )
    """Address of the server, `https://…`."""
    experiment: str = Field(min_length=1, max_length=256)
    """Name of the experiment; created if it is missing."""
    secret: str | None = Field(default=None, pattern=NAME_PATTERN, max_length=253)
    """On a cluster: the Secret with MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. On one
    machine environment variables with these names are read."""

    @model_validator(mode="before")
    @classmethod
    def _no_credentials_in_uri(cls, value: Any) -> Any:
        return refuse_credentials(value, "secret", field="uri")

    rules = (python_only("uri: ", lambda mlflow: endpoint_address(mlflow.uri)),)


class TensorboardSpec(SpecModel):
    """Event files in `tensorboard` in the run's folder, with one folder per stage. With a store they are uploaded."""


class TrackingSpec(SpecModel):
    """Trackers that get the metrics of each step. They get no note text."""

    mlflow: MlflowSpec | None = None
    """An MLflow server."""
    tensorboard: TensorboardSpec | None = None
    """TensorBoard's event files: `{}`."""

    rules = (given("mlflow", "tensorboard", message="names no tracker: add mlflow or tensorboard, or remove it"),)
