#!/usr/bin/env bash
# Installs what deploy/check.py needs into .tools and .venv: helm, the compose file's schema, Kubernetes' schemas. Does
# nothing, at once, where all is there.
set -euo pipefail
cd "$(dirname "$0")/.."
helm=v3.22.0
compose_go=v2.16.2

command -v go >/dev/null || { echo "Please install Go 1.24 or later, then try again." >&2; exit 1; }
mkdir -p .tools/bin
if [ ! -x .tools/bin/helm ]; then
  GOBIN=$PWD/.tools/bin GOFLAGS=-mod=mod go install helm.sh/helm/v3/cmd/helm@$helm
fi
if [ ! -e .tools/compose-spec.json ]; then
  folder=$(mktemp -d)
  (cd "$folder" && go mod init schema >/dev/null 2>&1)
  module=$(cd "$folder" && go mod download -json github.com/compose-spec/compose-go/v2@$compose_go | sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  install -m 644 "$module/schema/compose-spec.json" .tools/compose-spec.json
  rm -rf "$folder"
fi
if ! .venv/bin/python -c 'import kubernetes_validate, jsonschema, yaml' 2>/dev/null; then
  .venv/bin/pip install --quiet --disable-pip-version-check kubernetes-validate==1.37.0 jsonschema==4.26.0 PyYAML==6.0.3
fi
