#!/usr/bin/env bash
# A Kubernetes control plane, kwok and helm for tests/cluster, built once from Go modules (about 20 minutes on two cores).
#
#   cluster-tools.sh where     print the folder that they are built into
#   cluster-tools.sh build     build what is not there, neither in KUBEBUILDER_ASSETS nor in that folder; print where it is
#
# Exit code 64: Go is missing or too old.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

kwok=v0.8.0
helm=v4.3.1
binaries=(etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok helm)
kubernetes=$(sed -n 's/^\tk8s.io\/kubernetes \(v[0-9.]*\).*/\1/p' go.mod)
needed=$(sed -n 's/^go //p' go.mod)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/deepicd/kubernetes-tools/kubernetes-$kubernetes-kwok-$kwok-helm-$helm

complete() { # FOLDER [PATH]: whether each binary is in the folder, or on the path
  local name
  for name in "${binaries[@]}"; do PATH="$1${2:+:$2}" command -v "$name" >/dev/null || return 1; done
}

fail() {
  echo "error: $*" >&2
  exit 64
}

check_go() {
  command -v go >/dev/null || fail "go is not on the PATH: install Go $needed or newer, or set KUBEBUILDER_ASSETS to a folder with ${binaries[*]}"
  local found
  found=$(go env GOVERSION 2>&1) || fail "go cannot build this: ${found##*$'\n'}: install Go $needed or newer"
  [ "$(printf '%s\n' "$needed" "${found#go}" | sort -V | head -n 1)" = "$needed" ] || fail "$found is too old: install Go $needed or newer"
}

build() { # FOLDER
  local stamp="-s -w" package minor=${kubernetes#v1.}
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    stamp+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
  done
  export CGO_ENABLED=0 GOBIN=$1
  echo "building kwok $kwok" >&2
  go install -trimpath -buildvcs=false -ldflags "-s -w" "sigs.k8s.io/kwok/cmd/kwok@$kwok"
  echo "building helm $helm" >&2
  go install -trimpath -buildvcs=false -ldflags "-s -w" "helm.sh/helm/v4/cmd/helm@$helm"
  echo "building Kubernetes $kubernetes and etcd" >&2
  go install -trimpath -buildvcs=false -ldflags "$stamp" tool
  mv "$1/server" "$1/etcd" # Go names a binary by its folder
}

case ${1:-} in
where)
  echo "$folder"
  ;;
build)
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && complete "$KUBEBUILDER_ASSETS" "$PATH"; then
    echo "$KUBEBUILDER_ASSETS"
    exit
  fi
  if ! complete "$folder"; then
    check_go
    mkdir -p "$(dirname "$folder")"
    unfinished=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$unfinished"' EXIT
    build "$unfinished"
    chmod 755 "$unfinished"
    rm -rf "$folder"
    mv "$unfinished" "$folder"
  fi
  echo "$folder"
  ;;
*)
  fail "usage: cluster-tools.sh where|build"
  ;;
esac
