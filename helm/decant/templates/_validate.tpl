{{/* What a schema cannot say, each with the key to change. Rendered by the first template that every release has. */}}
{{- define "decant.validate" -}}
{{- with .Values -}}
{{- if and .etcd.bundled.enabled .etcd.endpoints -}}
{{- fail "etcd.endpoints: must be empty when etcd.bundled.enabled is set: which etcd is meant?" }}
{{- end -}}
{{- if not (or .etcd.bundled.enabled .etcd.endpoints) -}}
{{- fail "etcd.endpoints: name the members of your etcd, or set etcd.bundled.enabled to have a small one of the chart's own" }}
{{- end -}}
{{- if and .etcd.bundled.enabled (or .etcd.tls.existingSecret .etcd.auth.user) -}}
{{- fail "etcd.tls and etcd.auth: the bundled etcd has neither; leave them empty, or use an etcd of your own" }}
{{- end -}}
{{- if ne (empty .etcd.auth.user) (empty .etcd.auth.existingSecret) -}}
{{- fail "etcd.auth.existingSecret: user and existingSecret go together: set both or none" }}
{{- end -}}
{{- range .etcd.endpoints -}}
{{- if and $.Values.etcd.tls.existingSecret (hasPrefix "http://" .) -}}
{{- fail (printf "etcd.endpoints: `%s` is not https, but etcd.tls.existingSecret is set" .) }}
{{- end -}}
{{- end -}}
{{- if ne (empty .bundles.url) .bundles.persistence.enabled -}}
{{- fail "bundles.url: say where bundles lie, or set bundles.persistence.enabled to keep them in a volume: one of the two" }}
{{- end -}}
{{- if and .tls.certManager.enabled (not .tls.enabled) -}}
{{- fail "tls.certManager.enabled: makes no sense without tls.enabled" }}
{{- end -}}
{{- if and .tls.certManager.enabled (not .tls.certManager.issuerRef.name) -}}
{{- fail "tls.certManager.issuerRef.name: name the issuer" }}
{{- end -}}
{{- if and .tls.requireClientCertificate (not .tls.enabled) -}}
{{- fail "tls.requireClientCertificate: makes no sense without tls.enabled" }}
{{- end -}}
{{- if and .tls.enabled (not .tls.certManager.enabled) -}}
{{- range (append (include "decant.services" $ | fromJsonArray) "cli") -}}
{{- if and (not (index $.Values .).tls.existingSecret) (or (ne . "cli") $.Values.cli.test.enabled) -}}
{{- fail (printf "%s.tls.existingSecret: name the Secret with the certificate, or set tls.certManager.enabled" .) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .auth.enabled (not .tls.enabled) (not .auth.tokens.existingSecret) -}}
{{- fail "auth.enabled: services need credentials for each other: set tls.enabled, or auth.tokens.existingSecret" }}
{{- end -}}
{{- if and .trainer.signingKey.existingSecret .trainer.signingKey.value -}}
{{- fail "trainer.signingKey.value: must be empty when existingSecret is set" }}
{{- end -}}
{{- if and .trainer.datasets.existingClaim .trainer.datasets.volume -}}
{{- fail "trainer.datasets.volume: must be empty when existingClaim is set" }}
{{- end -}}
{{- with .scorer.autoscaling -}}
{{- if and .enabled (not (or .targetInFlight .targetCpuPercent)) -}}
{{- fail "scorer.autoscaling: set targetInFlight or targetCpuPercent, or there is nothing to scale by" }}
{{- end -}}
{{- if and .enabled (lt (int .maxReplicas) (int .minReplicas)) -}}
{{- fail (printf "scorer.autoscaling.maxReplicas: %d is below minReplicas, which is %d" (int .maxReplicas) (int .minReplicas)) }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
