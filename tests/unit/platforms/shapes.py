"""The shapes of what we write for other people's controllers: every field that we use, and no other.

A definition of a custom resource takes any field that it does not know and drops it, so a typo is silent. These are
closed: an unknown field, a wrong type or a missing requirement fails. The facts were read in
  kserve                               LLMInferenceService v1alpha2, config/crd of commit aaac4e29 (0.21)
  gateway-api-inference-extension      InferencePool v1, config/crd/bases of commit 84436a96
  llm-d-router                         InferenceModelRewrite v1alpha2, config/crd/bases of commit ebab6879
  gateway-api                          HTTPRoute v1, config/crd/standard
  keda                                 ScaledObject v1alpha1, config/crd/bases
  prometheus-operator                  ServiceMonitor v1, PrometheusRule v1
  argo-rollouts                        Rollout and AnalysisTemplate v1alpha1, manifests/crds of commit 9f8d111d (1.9)
  production-stack                     helm/values.yaml and templates of chart 0.1.12, commit a6c01db0
`python -m tests.unit.platforms.against_crds FOLDER` holds the same output against the definitions themselves.
"""

from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]


def closed(required: str = "", **fields: Schema) -> Schema:
    """An object with these fields and no others; `__` in a name stands for what Python's names can't have."""
    named = {name.rstrip("_"): schema for name, schema in fields.items()}
    return {"type": "object", "properties": named, "required": required.split(), "additionalProperties": False}


def some(items: Schema, at_most: int = 100) -> Schema:
    return {"type": "array", "items": items, "minItems": 1, "maxItems": at_most}


def text(pattern: str = "", *words: str) -> Schema:
    return {"type": "string", "minLength": 1, **({"pattern": pattern} if pattern else {}),
            **({"enum": list(words)} if words else {})}


def whole(least: int, most: int = 2**31 - 1) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


YES = {"type": "boolean"}
LABEL = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
NAME = {**text(r"^[a-z]([-a-z0-9]*[a-z0-9])?$"), "maxLength": 63}
LABELS = {"type": "object", "minProperties": 1, "additionalProperties": {**text(LABEL), "maxLength": 63}}
PORT = closed("number", number=whole(1, 65535))
METADATA = closed("name labels", name=NAME, labels=LABELS,
                  annotations={"type": "object", "additionalProperties": {"type": "string"}})
POD_PART = {"type": "object"}  # held against Kubernetes' own schema, inside a Pod


def kind(version: str, name: str, spec: Schema) -> Schema:
    return closed("apiVersion kind metadata spec", apiVersion={"const": version}, kind={"const": name},
                  metadata=METADATA, spec=spec)


_BEHAVIOR = closed(scaleUp=closed(stabilizationWindowSeconds=whole(0, 3600)), scaleDown=closed(
    stabilizationWindowSeconds=whole(0, 3600),
    policies=some(closed("type value periodSeconds", type=text("", "Pods", "Percent"), value=whole(1),
                         periodSeconds=whole(1, 1800)))))
_KEDA = {
    "pollingInterval": whole(1), "fallback": closed("failureThreshold replicas", failureThreshold=whole(1),
                                                    replicas=whole(0), behavior=text(
        "", "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower")),
    "advanced": closed(horizontalPodAutoscalerConfig=closed(behavior=_BEHAVIOR)),
    "triggers": some(closed("type metadata", type=text("", "prometheus"), metricType=text(
        "", "AverageValue", "Value", "Utilization"), metadata=closed(
        "serverAddress query threshold", serverAddress=text("^http"), query=text(), threshold=text(r"^\d+$"))))}
_REFERENCE = {"group": text(), "kind": text(), "name": NAME}
_MODEL = {"uri": text("^(hf|oci)://[^@]+([:@].+)$"), "name": text()}

SHAPES: dict[tuple[str, str], Schema] = {(schema["properties"]["apiVersion"]["const"],
                                          schema["properties"]["kind"]["const"]): schema for schema in (
    kind("inference.networking.k8s.io/v1", "InferencePool", closed(
        "selector targetPorts", selector=closed("matchLabels", matchLabels=LABELS), targetPorts=some(PORT, 8),
        appProtocol=text("", "http", "kubernetes.io/h2c"), endpointPickerRef=closed(
            "name port", name=NAME, kind=text("", "Service"), port=PORT, failureMode=text("", "FailOpen", "FailClose"),
            group=text()))),
    kind("llm-d.ai/v1alpha2", "InferenceModelRewrite", closed(
        "poolRef rules", poolRef=closed("name", **_REFERENCE), rules=some(closed(
            "targets", matches=some(closed("model", model=closed("value", type=text("", "Exact"), value=text()))),
            targets=some(closed("modelRewrite", modelRewrite=text(), weight=whole(1, 1_000_000))))))),
    kind("gateway.networking.k8s.io/v1", "HTTPRoute", closed(
        parentRefs=some(closed("name", **_REFERENCE), 32), rules=some(closed(
            matches=some(closed(path=closed("type value", type=text("", "PathPrefix", "Exact"), value=text("^/")))),
            backendRefs=some(closed("name", **_REFERENCE)), timeouts=closed(
                request=text(r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"),
                backendRequest=text(r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))), 16))),
    kind("argoproj.io/v1alpha1", "Rollout", closed(
        "selector template strategy", replicas=whole(0), revisionHistoryLimit=whole(0),
        progressDeadlineSeconds=whole(1), selector=closed("matchLabels", matchLabels=LABELS), template=POD_PART,
        strategy=closed("blueGreen", blueGreen=closed(
            "activeService previewService", activeService=NAME, previewService=NAME, autoPromotionEnabled=YES,
            scaleDownDelaySeconds=whole(30), prePromotionAnalysis=closed("templates", templates=some(closed(
                "templateName", templateName=NAME))))))),
    kind("argoproj.io/v1alpha1", "AnalysisTemplate", closed("metrics", metrics=some(closed(
        "name provider", name=NAME, failureLimit=whole(0), provider=closed("job", job=closed(
            "spec", spec=POD_PART)))))),
    kind("keda.sh/v1alpha1", "ScaledObject", closed(
        "scaleTargetRef triggers", scaleTargetRef=closed("name", name=NAME, kind=text(), apiVersion=text()),
        minReplicaCount=whole(0), maxReplicaCount=whole(1), **_KEDA)),
    kind("monitoring.coreos.com/v1", "ServiceMonitor", closed(
        "selector endpoints", selector=closed(matchLabels=LABELS), endpoints=some(closed(
            port=text(), path=text("^/"), interval=text(r"^\d+s$"))))),
    kind("monitoring.coreos.com/v1", "PrometheusRule", closed(groups=some(closed(
        "name rules", name=text(), rules=some(closed(
            "alert expr", alert=text("^[A-Z][A-Za-z]+$"), expr=text(), for_=text(r"^\d+m$"), labels=LABELS,
            annotations={"type": "object", "additionalProperties": text()})))))),
    kind("serving.kserve.io/v1alpha2", "LLMInferenceService", {**closed(
        "model router template", model=closed("uri name", **_MODEL, lora=closed(
            adapters=some(closed("uri name", **_MODEL)), maxRank=whole(1), maxAdapters=whole(1))),
        replicas=whole(0), scaling=closed("maxReplicas keda", minReplicas=whole(0), maxReplicas=whole(1),
                                          keda=closed("triggers", **_KEDA)),
        router=closed(gateway=closed(), scheduler=closed(), route=closed(group=NAME, weight=whole(0, 1_000_000))),
        template=POD_PART), "oneOf": [{"required": ["replicas"]}, {"required": ["scaling"]}]}),
)}
"""By version and kind."""

_PROBE = closed("httpGet", httpGet=closed("path port", path=text("^/"), port=whole(1, 65535)),
                initialDelaySeconds=whole(1), periodSeconds=whole(1), timeoutSeconds=whole(1),
                failureThreshold=whole(1))
_SECRET = closed("secretName secretKey", secretName=NAME, secretKey=text())

CHART_VALUES = closed(
    "servingEngineSpec routerSpec", servingEngineSpec=closed(
        "labels modelSpec", labels=LABELS, containerPort=whole(1), servicePort=whole(1), runtimeClassName={"const": ""},
        imagePullPolicy=text("", "IfNotPresent"), vllmApiKey=_SECRET, securityContext=POD_PART,
        containerSecurityContext=POD_PART, strategy=POD_PART, startupProbe=_PROBE, readinessProbe=_PROBE,
        livenessProbe=_PROBE, modelSpec=some(closed(
            "name repository tag modelURL replicaCount requestCPU requestMemory requestGPU vllmConfig",
            name=NAME, annotations={"type": "object"}, repository=text("@sha256$"), tag=text("^[0-9a-f]{64}$"),
            modelURL=text(), replicaCount=whole(1), requestCPU=whole(1), requestMemory=text(r"^\d+Gi$"),
            requestGPU=whole(0), vllmConfig=closed("enablePrefixCaching extraArgs", enablePrefixCaching=YES,
                                                   tensorParallelSize=whole(1), extraArgs=some(text())),
            shmSize=text(r"^\d+Gi$"), env=some(POD_PART), extraVolumes=some(POD_PART), extraVolumeMounts=some(POD_PART),
            pvcStorage={"anyOf": [text(r"^\d+Gi$"), closed("emptyDir", emptyDir=closed())]},
            tolerations=some(POD_PART), affinity=POD_PART,
            keda=closed("enabled triggers", enabled={"const": True}, minReplicaCount=whole(0),
                        maxReplicaCount=whole(1), **_KEDA)), 1)),
    routerSpec=closed(servicePort=whole(1, 65535), imagePullPolicy=text("", "IfNotPresent"),
                      routingLogic=text("", "roundrobin", "session", "prefixaware", "kvaware"),
                      containerSecurityContext=POD_PART, vllmApiKey=_SECRET),
    **{name: closed("enabled", enabled={"const": False}) for name in ("kube-prometheus-stack", "prometheus-adapter")})


def faults(value: Any, schema: Schema) -> list[str]:
    """What is wrong with a value, each with its place."""
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(value)]
