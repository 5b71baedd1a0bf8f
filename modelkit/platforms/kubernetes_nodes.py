"""Which nodes have the GPU that a stage names."""

from __future__ import annotations

from modelkit.planning.accelerators import accelerator
from modelkit.planning.plan import Plan
from modelkit.platforms.kubernetes_names import Object

PRODUCT, GKE = "nvidia.com/gpu.product", "cloud.google.com/gke-accelerator"
"""The labels that NVIDIA's GPU feature discovery and Google's clusters put on nodes."""

_PRODUCTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "T4": (("Tesla-T4", "NVIDIA-T4"), ("nvidia-tesla-t4",)),
    "V100": (("Tesla-V100-SXM2-16GB", "Tesla-V100-PCIE-16GB"), ("nvidia-tesla-v100",)),
    "A10": (("NVIDIA-A10",), ()),
    "A10G": (("NVIDIA-A10G",), ()),
    "A40": (("NVIDIA-A40",), ()),
    "A100": (("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB", "NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"),
             ("nvidia-tesla-a100", "nvidia-a100-80gb")),
    "A100-40GB": (("NVIDIA-A100-SXM4-40GB", "NVIDIA-A100-PCIE-40GB"), ("nvidia-tesla-a100",)),
    "A100-80GB": (("NVIDIA-A100-SXM4-80GB", "NVIDIA-A100-80GB-PCIe"), ("nvidia-a100-80gb",)),
    "L4": (("NVIDIA-L4",), ("nvidia-l4",)),
    "L40": (("NVIDIA-L40",), ()),
    "L40S": (("NVIDIA-L40S",), ()),
    "H100": (("NVIDIA-H100-80GB-HBM3", "NVIDIA-H100-PCIe", "NVIDIA-H100-NVL"),
             ("nvidia-h100-80gb", "nvidia-h100-mega-80gb")),
    "H200": (("NVIDIA-H200", "NVIDIA-H200-NVL"), ("nvidia-h200-141gb",)),
    "B200": (("NVIDIA-B200",), ("nvidia-b200",)),
}
"""By the name of a GPU: how its kinds are written in those two labels."""


def node_affinity(plan: Plan) -> Object | None:
    """Nodes with the GPU of `SERVE accelerator`, by either label; None where any node will do, or none is known to."""
    products, gke = _PRODUCTS.get(_named(plan), ((), ()))
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}
             for key, values in ((PRODUCT, products), (GKE, gke)) if values]
    return {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}} if terms else None


def _named(plan: Plan) -> str:
    said = plan.setting("serve.accelerator")
    known = accelerator(str(said.value)) if said is not None else None
    return known.name if known is not None else ""
