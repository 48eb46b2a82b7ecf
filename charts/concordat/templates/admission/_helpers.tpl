{{/* A list of texts, as CEL writes it. The schema keeps quotes and backslashes out. */}}
{{- define "concordat.cel.texts" -}}
[{{ range $index, $text := . }}{{ if $index }}, {{ end }}'{{ $text }}'{{ end }}]
{{- end }}

{{/* Binds a policy to the whole cluster. A refusal is also noted in the audit log. */}}
{{- define "concordat.admission.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ .name }}
  labels:
    {{- include "concordat.labels" .root | nindent 4 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny, Audit]
{{- end }}

{{/* What the caretakers may do: delete, and let go of an owner or a finalizer; never change what an object says. And what
     anybody may do to an object that is being deleted: take off a finalizer, for whoever put it there has to. */}}
{{- define "concordat.admission.caretakers" -}}
- name: caretaker
  expression: request.userInfo.username in {{ include "concordat.cel.texts" .Values.admissionPolicy.caretakers }}
- name: sameContent
  expression: >-
    request.operation == 'UPDATE'
    && object.spec == oldObject.spec
    && object.metadata.?labels.orValue({}) == oldObject.metadata.?labels.orValue({})
    && object.metadata.?annotations.orValue({}) == oldObject.metadata.?annotations.orValue({})
- name: letsGo
  expression: >-
    variables.sameContent
    && has(oldObject.metadata.deletionTimestamp)
    && object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([])
    && object.metadata.?finalizers.orValue([]).all(one, one in oldObject.metadata.?finalizers.orValue([]))
{{- end }}
