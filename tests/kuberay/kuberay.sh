#!/usr/bin/env bash
# KubeRay's operator, built once for each version from its Go module into the user's cache (a few minutes on two cores).
#
#   kuberay.sh where    print the folder: the binary `ray-operator`, and `config` with its manifests
#   kuberay.sh build    build it if it is not there; print the folder
#
# KUBERAY_VERSION names another version. Exit code 64: Go is missing.
set -euo pipefail

module=github.com/ray-project/kuberay/ray-operator
version=${KUBERAY_VERSION:-v1.5.1}
folder=${XDG_CACHE_HOME:-$HOME/.cache}/deepicd/kuberay/$version

if [ "${1:-}" = build ] && [ ! -d "$folder" ]; then
  command -v go >/dev/null || { echo "error: go is not on the PATH: install Go to build KubeRay" >&2; exit 64; }
  mkdir -p "$(dirname "$folder")"
  unfinished=$(mktemp -d "$folder.XXXXXX")
  trap 'chmod -R u+w "$unfinished" && rm -rf "$unfinished"' EXIT
  echo "building KubeRay $version" >&2
  # In a copy of the module, so that its own go.sum says what its dependencies are.
  source=$(cd "$unfinished" && go mod download -json "$module@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
  cp -r "$source" "$unfinished/source"
  chmod -R u+w,a+rX "$unfinished"
  (cd "$unfinished/source" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w" -o ../ray-operator .)
  mv "$unfinished/source/config" "$unfinished/config"
  rm -rf "$unfinished/source"
  mv "$unfinished" "$folder"
  trap - EXIT
fi
echo "$folder"
