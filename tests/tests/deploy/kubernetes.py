"""Validates manifests: the argument is JSON, a list of objects. Prints the faults, one a line.

Kubernetes' own kinds are checked by its schemas in the strict form, which knows no other fields. The
operators' kinds are read into classes that were made from their definitions (CRDs). These ignore fields
that they do not know; so what they write again has to be all that was read.
"""

import json
import sys

import kubernetes_validate
from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication
from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

# The oldest that we name, and the newest.
KUBERNETES = ["1.29.0", "1.37.0"]
OPERATORS = {
    ("keda.sh/v1alpha1", "ScaledObject"): ScaledObject,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): TriggerAuthentication,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): ServiceMonitor,
}


def validate(manifest):
    model = OPERATORS.get((manifest["apiVersion"], manifest["kind"]))
    if model is None:
        for version in KUBERNETES:
            kubernetes_validate.validate(manifest, version, strict=True)
        return
    read = model.model_validate(manifest)
    written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    if written != manifest:
        raise ValueError(f"unknown fields: {json.dumps(manifest)} is read as {json.dumps(written)}")


for manifest in json.loads(sys.argv[1]):
    try:
        validate(manifest)
    except Exception as error:
        name = f"{manifest['kind']} {manifest['metadata']['name']}"
        # A schema's whole error repeats the schema.
        fault = getattr(error, "message", str(error))
        print(f"{name}: {' '.join(fault.split())}")
