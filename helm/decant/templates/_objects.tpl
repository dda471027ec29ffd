{{/* Small objects that several components have. */}}

{{- define "decant.serviceAccount" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "decant.serviceAccountName" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "decant.labels" . | nindent 4 }}
  {{- with $account.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}

{{/* A Service that balances by connection. Without `metrics`, where another Service offers them already. */}}
{{- define "decant.service" -}}
{{- $service := (index .root.Values .component).service -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "decant.metadata" . | nindent 2 }}
  {{- with $service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $service.type }}
  selector:
    {{- include "decant.selectorLabels" . | nindent 4 }}
  ports:
    - { name: grpc, port: {{ include "decant.port" . }}, targetPort: grpc, appProtocol: grpc }
    {{- if .metrics }}
    - { name: metrics, port: {{ include "decant.metricsPort" . }}, targetPort: metrics, appProtocol: http }
    {{- end }}
{{- end }}

{{- define "decant.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "decant.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  # A pod that is not ready serves nobody, and must not hold up the repair of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "decant.selectorLabels" . | nindent 6 }}
{{- end }}
