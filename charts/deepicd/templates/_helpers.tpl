{{- define "deepicd.name" -}}
{{- if contains "deepicd" .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-deepicd" .Release.Name | trunc 52 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "deepicd.selector" -}}
app.kubernetes.io/name: deepicd-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "deepicd.labels" -}}
{{ include "deepicd.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: deepicd
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.extraLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "deepicd.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "deepicd.name" .) }}
{{- end }}

{{- define "deepicd.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- define "deepicd.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "deepicd.hasAdmissionPolicy" -}}
{{- if and .Values.runs.admissionPolicy (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy") }}true{{ end }}
{{- end }}

{{- /* A JSON list. A NetworkPolicy applies to the endpoint's port, which may differ from the Service's. */ -}}
{{- define "deepicd.apiServerPorts" -}}
{{- $ports := .Values.apiServer.ports }}
{{- if not $ports }}
{{- range (lookup "discovery.k8s.io/v1" "EndpointSlice" "default" "kubernetes").ports }}
{{- $ports = append $ports (int .port) }}
{{- end }}
{{- end }}
{{- toJson ($ports | default (list 443 6443) | uniq) }}
{{- end }}
