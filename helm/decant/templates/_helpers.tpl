{{/* Names, labels, images and addresses. Helpers that concern one component take a dict of `root` and `component`. */}}

{{- define "decant.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* 40 characters, so that the longest suffix and a pod's own still fit into a DNS label. */}}
{{- define "decant.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "decant.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "decant.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "decant.component.name" -}}
{{- printf "%s-%s" (include "decant.fullname" .root) .component }}
{{- end }}

{{/* What pods are selected by: few labels, as they can never change. */}}
{{- define "decant.selectorLabels" -}}
app.kubernetes.io/name: {{ include "decant.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "decant.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "decant.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/part-of: decant
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* name, namespace and labels of a component's object. `suffix` is optional. */}}
{{- define "decant.metadata" -}}
name: {{ include "decant.component.name" . }}{{ with .suffix }}-{{ . }}{{ end }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "decant.labels" . | nindent 2 }}
{{- end }}

{{/* A digest names the bytes, so it wins over the tag. */}}
{{- define "decant.image" -}}
{{- $image := (index .root.Values .component).image -}}
{{- with .root.Values.image.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}
{{- else }}:{{ $image.tag | default .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "decant.serviceAccountName" -}}
{{- $account := (index .root.Values .component).serviceAccount -}}
{{- if $account.create }}{{ $account.name | default (include "decant.component.name" .) }}
{{- else }}{{ $account.name | default "default" }}
{{- end }}
{{- end }}

{{/* The ports are those of Decant's programs, and the same in every release. */}}
{{- define "decant.port" -}}
{{- get (dict "trainer" "7410" "registry" "7420" "scorer" "7430") .component }}
{{- end }}

{{- define "decant.metricsPort" -}}
{{- get (dict "trainer" "9410" "registry" "9420" "scorer" "9430") .component }}
{{- end }}

{{/* A component's address inside the cluster, as clients write it. */}}
{{- define "decant.address" -}}
{{- printf "%s://%s.%s.svc:%s" (ternary "https" "http" .root.Values.tls.enabled) (include "decant.component.name" .) .root.Release.Namespace (include "decant.port" .) }}
{{- end }}

{{/* The address of a pod, from its variable POD_IP; version 6 stands in brackets. */}}
{{- define "decant.podAddress" -}}
{{- $host := ternary "[$(POD_IP)]" "$(POD_IP)" (contains ":" .root.Values.listenAddress) -}}
{{- printf "%s:%s" $host (include "decant.port" .) }}
{{- end }}

{{/* The members of etcd as a JSON list: the bundled ones, or those that are given. */}}
{{- define "decant.etcd.endpoints" -}}
{{- if .Values.etcd.bundled.enabled -}}
{{- $name := include "decant.component.name" (dict "root" . "component" "etcd") -}}
{{- $endpoints := list -}}
{{- range $i := until (int .Values.etcd.bundled.replicas) -}}
{{- $endpoints = append $endpoints (printf "http://%s-%d.%s.%s.svc:2379" $name $i $name $.Release.Namespace) -}}
{{- end -}}
{{- $endpoints | toJson }}
{{- else -}}
{{- .Values.etcd.endpoints | toJson }}
{{- end }}
{{- end }}

{{/* Where bundles lie: as given, or the folder that the volume is mounted at. */}}
{{- define "decant.bundles.url" -}}
{{- if .Values.bundles.persistence.enabled }}file:///var/lib/decant/bundles{{ else }}{{ .Values.bundles.url }}{{ end }}
{{- end }}

{{- define "decant.bundles.claimName" -}}
{{- .Values.bundles.persistence.existingClaim | default (printf "%s-bundles" (include "decant.fullname" .)) }}
{{- end }}

{{- define "decant.tls.secretName" -}}
{{- if .root.Values.tls.certManager.enabled }}{{ include "decant.component.name" . }}-tls
{{- else }}{{ (index .root.Values .component).tls.existingSecret }}
{{- end }}
{{- end }}

{{/* The name that a service goes by in its certificate, and in grants. */}}
{{- define "decant.tls.serverName" -}}
{{- printf "%s.%s.svc" (include "decant.component.name" .) .root.Release.Namespace }}
{{- end }}

{{- define "decant.signingKey.secretName" -}}
{{- with .Values.trainer.signingKey -}}
{{- if .value }}{{ include "decant.component.name" (dict "root" $ "component" "trainer") }}-signing-key
{{- else }}{{ .existingSecret }}
{{- end }}
{{- end }}
{{- end }}

{{/* The services that are installed, as a JSON list. */}}
{{- define "decant.services" -}}
{{- ternary (list "registry" "scorer" "trainer") (list "registry" "scorer") .Values.trainer.enabled | toJson }}
{{- end }}

{{/* How long a service's drain takes, in whole seconds. */}}
{{- define "decant.drainSeconds" -}}
{{- $drain := (index .root.Values .component).config.drain -}}
{{- divf (addf $drain.propagation_millis $drain.patience_millis) 1000 | ceil | int64 }}
{{- end }}

{{/* Kubernetes must not kill a pod that is still letting calls end: its patience has to be above the drain's. The five
seconds are for giving back leases and sending the last telemetry, which takes three at most. */}}
{{- define "decant.gracePeriod" -}}
{{- $seconds := (index .root.Values .component).terminationGracePeriodSeconds -}}
{{- $drain := include "decant.drainSeconds" . | int64 -}}
{{- if kindIs "invalid" $seconds -}}
{{- add $drain 5 }}
{{- else if le (int64 $seconds) $drain -}}
{{- fail (printf "%s.terminationGracePeriodSeconds: %d is not above the %d s that config.drain.propagation_millis and patience_millis take together" .component (int64 $seconds) $drain) }}
{{- else -}}
{{- int64 $seconds }}
{{- end }}
{{- end }}
