{{- define "sarsen.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "sarsen.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sarsen.labels" -}}
{{ include "sarsen.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sarsen.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}{{ include "sarsen.fullname" . }}{{- else -}}default{{- end -}}
{{- end -}}

{{- define "sarsen.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{/* The directory in which Overlords elect one of them. */}}
{{- define "sarsen.etcd" -}}
{{- if .Values.etcd.bundled -}}
etcd://{{ include "sarsen.fullname" . }}-etcd:2379/{{ .Release.Name }}
{{- else -}}
{{ required "etcd.endpoints is needed where etcd.bundled is false: etcd://HOST:PORT[,HOST:PORT…][/PREFIX]" .Values.etcd.endpoints }}
{{- end -}}
{{- end -}}

{{/* Secret with the URL of the metadata store. */}}
{{- define "sarsen.metadataSecret" -}}
{{- if .Values.postgresql.bundled -}}
{{ include "sarsen.fullname" . }}-postgresql
{{- else -}}
{{ required "postgresql.existingSecret is needed where postgresql.bundled is false" .Values.postgresql.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "sarsen.adminSecret" -}}
{{- default (printf "%s-admin" (include "sarsen.fullname" .)) .Values.auth.existingSecret -}}
{{- end -}}

{{/* Secret with a role's certificate: (dict "root" $ "role" "worker") */}}
{{- define "sarsen.tlsSecret" -}}
{{- $prefix := default (printf "%s-tls" (include "sarsen.fullname" .root)) .root.Values.tls.existingSecretPrefix -}}
{{ $prefix }}-{{ .role }}
{{- end -}}

{{/* Environment of every role: (dict "root" $ "role" "worker") */}}
{{- define "sarsen.environment" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- if .root.Values.tls.enabled }}
- {name: SARSEN_TLS_CERT, value: /tls/tls.crt}
- {name: SARSEN_TLS_KEY, value: /tls/tls.key}
- {name: SARSEN_TLS_CA, value: /tls/ca.crt}
{{- end }}
{{- end -}}

{{- define "sarsen.environmentFrom" -}}
- configMapRef: {name: {{ include "sarsen.fullname" . }}}
{{- with .Values.deepStorage.existingSecret }}
- secretRef: {name: {{ . }}}
{{- end }}
{{- end -}}

{{/* Probes of the admin address. */}}
{{- define "sarsen.probes" -}}
startupProbe:
  httpGet: {path: /status/health, port: admin}
  periodSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet: {path: /status/health, port: admin}
  periodSeconds: 10
readinessProbe:
  httpGet: {path: /status/ready, port: admin}
  periodSeconds: 2
{{- end -}}

{{/* What every pod has: (dict "root" $ "role" "worker") */}}
{{- define "sarsen.pod" -}}
{{- $values := index .root.Values .role -}}
serviceAccountName: {{ include "sarsen.serviceAccount" .root }}
automountServiceAccountToken: false
# Names of services in the environment would look like settings.
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext: {{ toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with $values.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
{{- if $values.affinity }}
affinity: {{ toYaml $values.affinity | nindent 2 }}
{{- else }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "sarsen.selector" .root | nindent 14 }}
              app.kubernetes.io/component: {{ .role }}
{{- end }}
{{- end -}}

{{/* Volumes and mounts that every role has: (dict "root" $ "role" "worker") */}}
{{- define "sarsen.volumes" -}}
- {name: data, emptyDir: {}}
- {name: tmp, emptyDir: {}}
{{- if .root.Values.tls.enabled }}
- name: tls
  secret: {secretName: {{ include "sarsen.tlsSecret" . }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{- define "sarsen.mounts" -}}
- {name: data, mountPath: /data}
- {name: tmp, mountPath: /tmp}
{{- if .root.Values.tls.enabled }}
- {name: tls, mountPath: /tls, readOnly: true}
{{- end }}
{{- end -}}
