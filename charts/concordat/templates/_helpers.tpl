{{/* There is one operator in a cluster, so names are fixed: a second release is refused by Helm, not half-installed. */}}
{{- define "concordat.name" -}}
concordat-operator
{{- end }}

{{/* What selects the operator's pods. It never changes: a Deployment's selector cannot. */}}
{{- define "concordat.selector" -}}
app.kubernetes.io/name: concordat
app.kubernetes.io/component: operator
{{- end }}

{{/* `managed-by` is Helm's: `concordat` would claim an object for the operator. */}}
{{- define "concordat.labels" -}}
{{ include "concordat.selector" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: concordat
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The operator as the API server knows it. */}}
{{- define "concordat.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "concordat.name" . }}
{{- end }}

{{- define "concordat.image" -}}
{{- $image := .Values.image -}}
{{- $repository := required "`image.repository` is required: no image is published yet; build one, and name it with `--set image.repository=REGISTRY/NAME`" $image.repository -}}
{{- printf "%s:%s" $repository ($image.tag | default .Chart.AppVersion) -}}
{{- with $image.digest }}{{ printf "@%s" . }}{{ end -}}
{{- end }}
