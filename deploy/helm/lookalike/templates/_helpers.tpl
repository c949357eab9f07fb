{{/* What everything here is called: the release, and the chart where the release does not say it already. */}}
{{- define "lookalike.fullname" -}}
{{- if contains "lookalike" .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- else -}}{{ printf "%s-lookalike" .Release.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{/* By what a part is found; `part` and `root`. These never change, since a Deployment's selector may not. */}}
{{- define "lookalike.selector" -}}
app.kubernetes.io/name: lookalike
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "lookalike.labels" -}}
{{ include "lookalike.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | quote }}
{{- end -}}

{{- define "lookalike.image" -}}
{{- printf "%s:%s" .image.repository (default .root.Chart.AppVersion .image.tag) | quote -}}
{{- end -}}

{{/* Where Milvus answers. Its own chart calls itself by its release, too. */}}
{{- define "lookalike.milvusUri" -}}
{{- if .Values.index.uri -}}
{{ .Values.index.uri }}
{{- else if .Values.milvus.enabled -}}
http://{{ if contains "milvus" .Release.Name }}{{ .Release.Name | trunc 63 | trimSuffix "-" }}{{ else }}{{ printf "%s-milvus" .Release.Name | trunc 63 | trimSuffix "-" }}{{ end }}:{{ .Values.index.port }}
{{- else -}}
{{ fail "milvus.enabled is false, so index.uri must say where Milvus is" }}
{{- end -}}
{{- end -}}

{{/* How many photos one gateway has with the models: all Tritons are kept busy by the fewest gateways. Too many wait in
     Triton's queue, where they are counted; too few leave Tritons idle. */}}
{{- define "lookalike.photoPermits" -}}
{{- if .Values.gateway.photoPermits -}}
{{ .Values.gateway.photoPermits }}
{{- else -}}
{{- $tritons := ternary .Values.triton.autoscaling.maxReplicas .Values.triton.replicas .Values.triton.autoscaling.enabled | int -}}
{{- $gateways := ternary .Values.gateway.autoscaling.minReplicas .Values.gateway.replicas .Values.gateway.autoscaling.enabled | int -}}
{{ divf (mul $tritons (int .Values.triton.photosAtOnce)) $gateways | ceil | int }}
{{- end -}}
{{- end -}}

{{/* The settings that are no secret, as a map. gateway.settings comes with them. */}}
{{- define "lookalike.settings" -}}
LOOKALIKE_ADDRESS: 0.0.0.0:50051
LOOKALIKE_HEALTH_ADDRESS: 0.0.0.0:50052
LOOKALIKE_METRICS_ADDRESS: 0.0.0.0:9464
LOOKALIKE_TRITON_ADDRESS: dns:///{{ include "lookalike.fullname" . }}-triton:8001
LOOKALIKE_TRITON_ROUND_ROBIN: "true"
LOOKALIKE_PHOTO_PERMITS: {{ include "lookalike.photoPermits" . | quote }}
LOOKALIKE_MILVUS_URI: {{ include "lookalike.milvusUri" . | quote }}
LOOKALIKE_INDEX_KIND: {{ .Values.index.kind | quote }}
LOOKALIKE_DATABASE_TLS: {{ .Values.database.tls | quote }}
LOOKALIKE_IMAGES_URL: {{ .Values.images.url | quote }}
LOOKALIKE_CATALOGS: {{ join "," .Values.catalogs | quote }}
LOOKALIKE_STARTUP_SECONDS: {{ .Values.gateway.startupSeconds | quote }}
LOOKALIKE_GRACE_SECONDS: {{ .Values.gateway.graceSeconds | quote }}
{{- range $name, $value := merge (dict) .Values.gateway.settings (dict "LOG_FORMAT" "json" "CONNECTION_SECONDS" 300) }}
LOOKALIKE_{{ $name }}: {{ include "lookalike.text" $value }}
{{- end }}
{{- if not (or .Values.access.keysSecret .Values.access.clientCa .Values.gateway.settings.ALLOW_ANONYMOUS) }}
{{- fail "nobody would be asked who he is: set access.keysSecret or access.clientCa, or gateway.settings.ALLOW_ANONYMOUS on a network that strangers do not reach" }}
{{- end }}
{{- if .Values.access.keysSecret }}
LOOKALIKE_KEYS_FILE: /etc/lookalike/keys/keys.toml
{{- end }}
{{- if .Values.access.tlsSecret }}
LOOKALIKE_TLS_CERTIFICATE: /etc/lookalike/tls/tls.crt
LOOKALIKE_TLS_KEY: /etc/lookalike/tls/tls.key
{{- end }}
{{- if .Values.access.clientCa }}
{{- $_ := required "access.clientCa needs access.tlsSecret, whose ca.crt has signed the callers' certificates" .Values.access.tlsSecret }}
LOOKALIKE_TLS_CLIENT_CA: /etc/lookalike/tls/ca.crt
{{- end }}
{{- if hasPrefix "s3://" .Values.images.url }}
{{- with .Values.images.endpoint }}
AWS_ENDPOINT_URL: {{ . | quote }}
{{- end }}
AWS_DEFAULT_REGION: {{ .Values.images.region | quote }}
{{- end }}
{{- end -}}

{{/* A value as an environment variable: 20000000 and not 2e+07. */}}
{{- define "lookalike.text" -}}
{{- kindIs "string" . | ternary . (toJson .) | quote -}}
{{- end -}}

{{- define "lookalike.secretSettings" -}}
{{- $secret := .Values.secret.name -}}
{{- range $name, $key := dict "LOOKALIKE_DATABASE_URL" "database-url" "LOOKALIKE_MILVUS_TOKEN" "milvus-token" "LOOKALIKE_TOKEN_KEYS" "token-keys" "LOOKALIKE_SESSION_KEY" "session-key" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ $key }}}
{{- end }}
{{- if hasPrefix "s3://" .Values.images.url }}
{{- range $name, $key := dict "AWS_ACCESS_KEY_ID" "s3-access-key" "AWS_SECRET_ACCESS_KEY" "s3-secret-key" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ $key }}, optional: true}
{{- end }}
{{- end }}
{{- end -}}

{{/* What the gateway's image sees of files: keys, certificates, and room for what is passing. */}}
{{- define "lookalike.gatewayMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if .Values.access.keysSecret }}
- {name: keys, mountPath: /etc/lookalike/keys, readOnly: true}
{{- end }}
{{- if .Values.access.tlsSecret }}
- {name: tls, mountPath: /etc/lookalike/tls, readOnly: true}
{{- end }}
{{- if .Values.images.existingClaim }}
- {name: images, mountPath: /var/lib/lookalike/images}
{{- end }}
{{- with .Values.gateway.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "lookalike.gatewayVolumes" -}}
- name: tmp
  emptyDir: {}
{{- if .Values.access.keysSecret }}
# Whole Secrets and not files of them: a file mounted alone never changes again.
- name: keys
  secret: {secretName: {{ .Values.access.keysSecret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.access.tlsSecret }}
- name: tls
  secret: {secretName: {{ .Values.access.tlsSecret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.images.existingClaim }}
- name: images
  persistentVolumeClaim: {claimName: {{ .Values.images.existingClaim }}}
{{- end }}
{{- with .Values.gateway.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The users are those of the images. */}}
{{- define "lookalike.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "lookalike.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "lookalike.spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "lookalike.selector" $ | nindent 6 }}
  matchLabelKeys: [pod-template-hash]
{{- end }}
{{- end -}}

{{/* Up at once, down a pod every two minutes: what is taken away too early is missed, and comes back cold. */}}
{{- define "lookalike.scaling" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - {type: Percent, value: 100, periodSeconds: 60}
    - {type: Pods, value: 2, periodSeconds: 60}
scaleDown:
  stabilizationWindowSeconds: 300
  selectPolicy: Max
  policies:
    - {type: Pods, value: 1, periodSeconds: 120}
{{- end -}}

{{/* How long a photo waits on average: for its turn in the gateway, and in the queues of Triton's stages. Both of this
     namespace, so one release per namespace. deploy/helm/prometheus-adapter.yaml has it as lookalike_photo_wait_seconds. */}}
{{- define "lookalike.photoWait" -}}
{{- $here := printf "namespace=%q" .Release.Namespace -}}
(sum(rate(lookalike_phase_seconds_sum{phase="queue",{{ $here }}}[2m])) / clamp_min(sum(rate(lookalike_phase_seconds_count{phase="queue",{{ $here }}}[2m])), 0.001) or vector(0)) + (sum(rate(nv_inference_queue_duration_us{model!~"garments_.*",{{ $here }}}[2m])) / 1e6 / clamp_min(sum(rate(nv_inference_request_success{model="decode",{{ $here }}}[2m])), 0.001) or vector(0))
{{- end -}}

{{/* Names are resolved, and nothing else of the cluster is reached. */}}
{{- define "lookalike.dnsEgress" -}}
- to: {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}

{{- define "lookalike.databaseEgress" -}}
-{{ with .Values.networkPolicy.database }} to: {{- toYaml . | nindent 4 }}
 {{ end }} ports:
    - {protocol: TCP, port: {{ .Values.database.port }}}
{{- end -}}
