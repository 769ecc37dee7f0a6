"""Write the software bill of materials of an environment, as CycloneDX 1.6 JSON.

    python requirements/sbom.py PYTHON sbom.json

The packages are those that `cyclonedx-py` finds in the environment of PYTHON. The shipped networks are added
as components of the type ``machine-learning-model``, with a hash of each of their files. The same environment
gives the same bytes: there is no time, serial number or path in the document.
"""

import argparse
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "edgeskin" / "models"
ROOT_REFERENCE = "root-component"
"""What `cyclonedx-py` calls the component that pyproject.toml describes."""


def bill_of_materials(python: Path) -> str:
    """The document for the environment of an interpreter.

    Raises:
        subprocess.CalledProcessError: `cyclonedx-py` fails.
    """
    options = ["--output-reproducible", "--sv", "1.6", "--of", "JSON", "-o", "-"]
    command = [sys.executable, "-m", "cyclonedx_py", "environment", *options]
    described = subprocess.run(
        [*command, "--pyproject", ROOT / "pyproject.toml", python],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    document = json.loads(described.stdout)
    models = [model_component(folder) for folder in sorted(MODELS.iterdir()) if folder.is_dir()]
    root = document["metadata"]["component"]
    # pip notes the folder or file that edgeskin itself was installed from.
    root.pop("externalReferences", None)
    document["components"] = [*document.get("components", []), *models]
    references = [model["bom-ref"] for model in models]
    for entry in document["dependencies"]:
        if entry["ref"] == ROOT_REFERENCE:
            entry["dependsOn"] = sorted([*entry.get("dependsOn", []), *references])
    document["dependencies"] += [{"ref": reference} for reference in references]
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def model_component(folder: Path) -> dict[str, Any]:
    """A bundle as a component; its own hash is that of the manifest, which holds the hashes of the others."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    files = [folder / name for name in ("manifest.json", *sorted(manifest["files"]))]
    reference = f"model:{folder.name}"
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": manifest["name"],
        "version": manifest["version"],
        "licenses": [{"expression": "LicenseRef-edgeskin-weights", "acknowledgement": "declared"}],
        "hashes": [sha256(files[0])],
        "externalReferences": [
            {"type": "model-card", "url": "MODEL_CARD.md"},
            {"type": "license", "url": "LICENSE-WEIGHTS.md"},
        ],
        "modelCard": {
            "modelParameters": {
                "task": "image classification",
                "architectureFamily": "convolutional neural network",
                "modelArchitecture": manifest["training"]["run"]["config"]["model"]["backbone"],
            }
        },
        "components": [
            {
                "type": "file",
                "bom-ref": f"{reference}/{file.name}",
                "name": file.relative_to(ROOT).as_posix(),
                "hashes": [sha256(file)],
            }
            for file in files
        ],
    }


def sha256(file: Path) -> dict[str, str]:
    """The hash of a file as CycloneDX writes it."""
    return {"alg": "SHA-256", "content": hashlib.sha256(file.read_bytes()).hexdigest()}


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", type=Path, help="interpreter of the environment")
    parser.add_argument("out", type=Path, help="file to write")
    options = parser.parse_args()
    options.out.write_text(bill_of_materials(options.python), encoding="utf-8")


if __name__ == "__main__":
    main()
