{{/* The configuration files of the services. Helm's own `toToml` makes a float of every number, which no key takes. */}}

{{/* A value inside a line: JSON is TOML for all that is no object. */}}
{{- define "decant.toml.value" -}}
{{- if kindIs "map" . -}}
{ {{- $first := true }}
{{- range $key, $value := . }}{{ if not $first }},{{ end }} {{ include "decant.toml.key" $key }} = {{ include "decant.toml.value" $value }}{{ $first = false }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $i, $value := . }}{{ if $i }}, {{ end }}{{ include "decant.toml.value" $value }}{{ end }}]
{{- else -}}
{{ toJson . }}
{{- end }}
{{- end }}

{{- define "decant.toml.key" -}}
{{- if regexMatch "^[A-Za-z0-9_-]+$" . }}{{ . }}{{ else }}{{ toJson . }}{{ end }}
{{- end }}

{{/* A section: its keys, then the sections in it. Takes a dict of `path` (a list) and `table`. Null is left out. */}}
{{- define "decant.toml.section" -}}
{{- $lines := list }}
{{- range $key, $value := .table }}
{{- if not (or (kindIs "map" $value) (kindIs "invalid" $value)) }}
{{- $lines = append $lines (printf "%s = %s" (include "decant.toml.key" $key) (include "decant.toml.value" $value)) }}
{{- end }}
{{- end }}
{{- if and .path $lines }}

[{{ join "." .path }}]
{{- end }}
{{- range $lines }}
{{ . }}
{{- end }}
{{- range $key, $value := .table }}
{{- if kindIs "map" $value }}
{{- include "decant.toml.section" (dict "path" (append $.path (include "decant.toml.key" $key)) "table" $value) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The whole configuration of a service, as JSON: what follows from values, and over it the service's own `config`. */}}
{{- define "decant.config" -}}
{{- $values := .root.Values -}}
{{- $own := index $values .component -}}
{{- $computed := dict
  "listen" (printf "%s:%s" $values.listenAddress (include "decant.port" .))
  "log" $values.log
  "telemetry" (merge (dict "metrics_listen" (printf "%s:%s" $values.listenAddress (include "decant.metricsPort" .))) $values.telemetry)
-}}
{{- with $values.limits }}{{ $_ := set $computed "limits" . }}{{ end -}}
{{- if $values.tls.enabled }}{{ $_ := set $computed "tls" (include "decant.config.tls" . | fromJson) }}{{ end -}}
{{- if $values.auth.enabled }}{{ $_ := set $computed "auth" (include "decant.config.auth" . | fromJson) }}{{ end -}}
{{- if eq .component "trainer" -}}
{{- $trainer := dict "datasets" "/datasets" "jobs" "/var/lib/decant/jobs" "registry" (include "decant.address" (dict "root" .root "component" "registry")) -}}
{{- if include "decant.signingKey.secretName" .root }}{{ $_ := set $trainer "signing_key" (printf "/etc/decant/signing-key/%s" $own.signingKey.key) }}{{ end -}}
{{- $_ := set $computed "trainer" $trainer -}}
{{- else -}}
{{- $_ := set $computed "store" (include "decant.config.store" .root | fromJson) -}}
{{- $_ := set $computed "bundles" (merge (dict "url" (include "decant.bundles.url" .root)) $values.bundles.config) -}}
{{- $_ := set $computed .component (dict "cluster" $values.cluster) -}}
{{- end -}}
{{- if eq .component "scorer" -}}
{{- $cache := dict "folder" "/var/lib/decant/cache" "max_bytes" (include "decant.cacheBytes" .root | int64) -}}
{{- $_ := set $computed.scorer "cache" $cache -}}
{{- with $own.userKey }}{{ if .existingSecret -}}
{{- $_ := set $computed.scorer "request_log" (dict "user_key_file" (printf "/etc/decant/user-key/%s" .key)) -}}
{{- end }}{{ end -}}
{{- end -}}
{{- mergeOverwrite (deepCopy $computed) (deepCopy $own.config) | toJson }}
{{- end }}

{{- define "decant.config.store" -}}
{{- $store := deepCopy .Values.etcd.config -}}
{{- $_ := set $store "endpoints" (include "decant.etcd.endpoints" . | fromJsonArray) -}}
{{- with .Values.etcd.auth }}{{ if .user -}}
{{- $_ := set $store "user" .user -}}
{{- $_ := set $store "password_file" (printf "/etc/decant/etcd-auth/%s" .passwordKey) -}}
{{- end }}{{ end -}}
{{- with .Values.etcd.tls }}{{ if .existingSecret -}}
{{- $tls := dict "ca" "/etc/decant/etcd-tls/ca.crt" -}}
{{- if .clientCertificate }}{{ $_ := set $tls "certificate" "/etc/decant/etcd-tls/tls.crt" }}{{ $_ := set $tls "key" "/etc/decant/etcd-tls/tls.key" }}{{ end -}}
{{- if .serverName }}{{ $_ := set $tls "server_name" .serverName }}{{ end -}}
{{- $_ := set $store "tls" $tls -}}
{{- end }}{{ end -}}
{{- $store | toJson }}
{{- end }}

{{/* Registries call scorers by the addresses of their pods, which no certificate can name beforehand: they look for the name
of the scorers' Service instead. */}}
{{- define "decant.config.tls" -}}
{{- $tls := dict
  "certificate" "/etc/decant/tls/tls.crt"
  "key" "/etc/decant/tls/tls.key"
  "ca" "/etc/decant/tls/ca.crt"
  "client_ca" "/etc/decant/tls/ca.crt"
  "require_client" .root.Values.tls.requireClientCertificate
-}}
{{- if eq .component "registry" }}{{ $_ := set $tls "server_name" (include "decant.tls.serverName" (dict "root" .root "component" "scorer")) }}{{ end -}}
{{- $tls | toJson }}
{{- end }}

{{- define "decant.config.auth" -}}
{{- $values := .root.Values -}}
{{- $grants := $values.auth.grants -}}
{{- if $values.tls.enabled -}}
{{- $roles := dict "registry" "viewer" -}}
{{- if $values.trainer.enabled }}{{ $_ := set $roles "trainer" "publisher" }}{{ end -}}
{{- if $values.cli.test.enabled }}{{ $_ := set $roles "cli" "viewer" }}{{ end -}}
{{- range $component, $role := $roles -}}
{{- $identity := printf "dns:%s" (include "decant.tls.serverName" (dict "root" $.root "component" $component)) -}}
{{- $grants = append $grants (dict "name" (include "decant.component.name" (dict "root" $.root "component" $component)) "identity" $identity "role" $role) -}}
{{- end -}}
{{- end -}}
{{- $auth := dict "enabled" true "anonymous_scoring" $values.auth.anonymousScoring -}}
{{- if not $values.tls.enabled }}{{ $_ := set $auth "allow_plaintext" true }}{{ end -}}
{{- if $grants }}{{ $_ := set $auth "grants" $grants }}{{ end -}}
{{- if and $values.auth.tokens.existingSecret (ne .component "scorer") }}{{ $_ := set $auth "token_file" (printf "/etc/decant/token/%s" .component) }}{{ end -}}
{{- $auth | toJson }}
{{- end }}

{{/* Nine tenths of the cache's volume: files in progress and the file system itself take some. */}}
{{- define "decant.cacheBytes" -}}
{{- $size := .Values.scorer.cache.size -}}
{{- $unit := get (dict "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776) (regexFind "[MGT]i$" $size) -}}
{{- div (mul (regexFind "^[0-9]+" $size | int64) ($unit | int64) 9) 10 }}
{{- end }}

{{- define "decant.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "decant.metadata" . | nindent 2 }}
data:
  decant.toml: |
    {{- include "decant.toml.section" (dict "path" list "table" (include "decant.config" . | fromJson)) | trim | nindent 4 }}
{{- end }}
