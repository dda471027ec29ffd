{{/* What the pods of all services have in common. */}}

{{- define "decant.pod.metadata" -}}
labels:
  # Not the chart's version: a chart that changes nothing of a pod is not to replace it.
  {{- include "decant.selectorLabels" . | nindent 2 }}
  app.kubernetes.io/part-of: decant
  {{- with .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- with (index .root.Values .component).podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  # A changed configuration is a changed pod. Secrets are read anew by the running processes.
  checksum/config: {{ include "decant.config" . | sha256sum }}
  {{- with (index .root.Values .component).podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "decant.pod.spec" -}}
{{- $own := index .root.Values .component -}}
serviceAccountName: {{ include "decant.serviceAccountName" . }}
automountServiceAccountToken: false
# Variables that Kubernetes makes of Services' names would look like Decant's own.
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "decant.gracePeriod" . }}
{{- include "decant.pod.security" .root | nindent 0 }}
{{- include "decant.pod.scheduling" . }}
{{- end }}

{{- define "decant.pod.security" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "decant.pod.scheduling" -}}
{{- $own := index .root.Values .component -}}
{{- range $key := list "priorityClassName" "nodeSelector" "affinity" "tolerations" }}
{{- with index $own $key }}
{{ $key }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- with $own.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  - {{ toYaml . | nindent 4 | trim }}
    {{- if not .labelSelector }}
    labelSelector:
      matchLabels:
        {{- include "decant.selectorLabels" $ | nindent 8 }}
    {{- end }}
    {{- if and (not .matchLabelKeys) (ne $.component "trainer") }}
    # Pods of the version before do not count, or an upgrade would end lopsided.
    matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "decant.container.security" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* The main container, but for what its component adds to variables and mounts (`env` and `mounts`, as YAML). */}}
{{- define "decant.container" -}}
{{- $own := index .root.Values .component -}}
{{- $config := include "decant.config" . | fromJson -}}
- name: {{ .component }}
  image: {{ include "decant.image" . | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  args: [--config, /etc/decant/config/decant.toml]
  {{- include "decant.container.security" .root | nindent 2 }}
  env:
    - name: POD_NAME
      valueFrom: { fieldRef: { fieldPath: metadata.name } }
    - name: POD_IP
      valueFrom: { fieldRef: { fieldPath: status.podIP } }
    # The images set these for those who run them by hand, and a variable wins over the file.
    - name: DECANT_LISTEN
      value: {{ $config.listen | quote }}
    - name: DECANT_TELEMETRY__METRICS_LISTEN
      value: {{ $config.telemetry.metrics_listen | quote }}
    - name: DECANT_LOG__FORMAT
      value: {{ $config.log.format | quote }}
    {{- with .env }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $own.extraEnv }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- if and .root.Values.bundles.credentials.existingSecret (ne .component "trainer") }}
  envFrom:
    - secretRef:
        name: {{ .root.Values.bundles.credentials.existingSecret }}
  {{- end }}
  ports:
    - { name: grpc, containerPort: {{ include "decant.port" . }} }
    - { name: metrics, containerPort: {{ include "decant.metricsPort" . }} }
  {{- include "decant.container.probes" . | nindent 2 }}
  resources:
    {{- toYaml $own.resources | nindent 4 }}
  volumeMounts:
    - { name: config, mountPath: /etc/decant/config, readOnly: true }
    - { name: tmp, mountPath: /tmp }
    {{- range include "decant.secretVolumes" . | fromJsonArray }}
    - { name: {{ .name }}, mountPath: /etc/decant/{{ .name }}, readOnly: true }
    {{- end }}
    {{- if and .root.Values.bundles.persistence.enabled (ne .component "trainer") }}
    # Scorers only read, but whoever opens the folder first tidies up what a crashed registry left.
    - { name: bundles, mountPath: /var/lib/decant/bundles }
    {{- end }}
    {{- with .mounts }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- with $own.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* The kubelet speaks gRPC without TLS and without certificates. With TLS the plain port of the metrics answers for the
health service. A scorer is ready when all that was wanted at its start has been loaded, which is what this name says: else an
upgrade would replace every scorer before the first new one can answer. */}}
{{- define "decant.container.probes" -}}
{{- $service := ternary "decant.scorer.v1.ScorerService" "" (eq .component "scorer") -}}
{{- $port := include "decant.port" . -}}
{{- $tls := .root.Values.tls.enabled -}}
startupProbe:
  {{- if $tls }}
  httpGet: { path: /healthz, port: metrics }
  {{- else }}
  grpc: { port: {{ $port }} }
  {{- end }}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  {{- if $tls }}
  httpGet: { path: /healthz, port: metrics }
  {{- else }}
  grpc: { port: {{ $port }} }
  {{- end }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  {{- if $tls }}
  httpGet: { path: "/readyz{{ with $service }}?service={{ . }}{{ end }}", port: metrics }
  {{- else }}
  grpc: { port: {{ $port }}{{ with $service }}, service: {{ . }}{{ end }} }
  {{- end }}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 2
{{- end }}

{{/* Secrets that become folders below /etc/decant, as a JSON list of name, secret and optionally the one key. */}}
{{- define "decant.secretVolumes" -}}
{{- $values := .root.Values -}}
{{- $volumes := list -}}
{{- if $values.tls.enabled }}{{ $volumes = append $volumes (dict "name" "tls" "secret" (include "decant.tls.secretName" .)) }}{{ end -}}
{{- if and $values.auth.enabled $values.auth.tokens.existingSecret (ne .component "scorer") -}}
{{- $volumes = append $volumes (dict "name" "token" "secret" $values.auth.tokens.existingSecret "key" .component) -}}
{{- end -}}
{{- if or (eq .component "registry") (eq .component "scorer") -}}
{{- with $values.etcd.tls.existingSecret }}{{ $volumes = append $volumes (dict "name" "etcd-tls" "secret" .) }}{{ end -}}
{{- with $values.etcd.auth }}{{ if .user }}{{ $volumes = append $volumes (dict "name" "etcd-auth" "secret" .existingSecret "key" .passwordKey) }}{{ end }}{{ end -}}
{{- end -}}
{{- if eq .component "scorer" -}}
{{- with $values.scorer.userKey }}{{ if .existingSecret }}{{ $volumes = append $volumes (dict "name" "user-key" "secret" .existingSecret "key" .key) }}{{ end }}{{ end -}}
{{- end -}}
{{- if eq .component "trainer" -}}
{{- with include "decant.signingKey.secretName" .root }}{{ $volumes = append $volumes (dict "name" "signing-key" "secret" . "key" $values.trainer.signingKey.key) }}{{ end -}}
{{- end -}}
{{- $volumes | toJson }}
{{- end }}

{{- define "decant.secretVolumes.spec" -}}
{{- range include "decant.secretVolumes" . | fromJsonArray }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    # For the group that pods have, and nobody else.
    defaultMode: 0440
    {{- with .key }}
    items:
      - { key: {{ . }}, path: {{ . }} }
    {{- end }}
{{- end }}
{{- end }}

{{- define "decant.volumes" -}}
- name: config
  configMap:
    name: {{ include "decant.component.name" . }}
- name: tmp
  emptyDir: { sizeLimit: 1Gi }
{{- include "decant.secretVolumes.spec" . }}
{{- if and .root.Values.bundles.persistence.enabled (ne .component "trainer") }}
- name: bundles
  persistentVolumeClaim:
    claimName: {{ include "decant.bundles.claimName" .root }}
{{- end }}
{{- with (index .root.Values .component).extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
