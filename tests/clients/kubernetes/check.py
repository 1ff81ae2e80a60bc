"""Holds manifests against the schema of Kubernetes, and prints what they are as JSON.

    python check.py FOLDER

A kind that Kubernetes itself has must be what its schema says, and nothing more. Others are printed as they are.
"""

import json
import pathlib
import sys

import kubernetes_validate
import yaml

# Of the built-in kinds; the version that is tested against.
VERSION = "1.33"

documents = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.yaml")):
    for document in yaml.safe_load_all(path.read_text()):
        group = document["apiVersion"].rpartition("/")[0]
        built_in = "." not in group or group.endswith("k8s.io") and not group.startswith("gateway.")
        if built_in:
            kubernetes_validate.validate(document, VERSION, strict=True)
        documents.append({"file": path.name, "checked": built_in, "document": document})
print(json.dumps(documents))
