#!/usr/bin/env bash
# Sets a machine up to build, test and run Decant. Safe to run again at any time: what is in place is left alone.
#
# The machine must bring: Linux with glibc on x86-64 or arm64, Rust, and root's apt (or the packages named below,
# installed by other means). What is downloaded lies in one folder outside the checkout, so that every checkout on the
# machine shares it and deleting the folder undoes it.
set -euo pipefail

# Pins. A wheel's name fixes nothing, its sha256 does: change the two together. Debian's packages are not pinned
# here, because Debian deletes old versions from its archive; apt checks their signatures.
readonly ORT_VERSION=1.32.0
declare -rA ORT_SHA256=(
  [x86_64]=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
  [aarch64]=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
)
declare -rA ORT_SIZE=([x86_64]=34824680 [aarch64]=27165936) # of the shared library in it
readonly RECBOLE_VERSION=1.2.1
readonly RECBOLE_SHA256=9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407
readonly ML_100K_FILES=(ml-100k.inter ml-100k.user ml-100k.item)
readonly ML_100K_SIZES=(1979230 22697 66632)

# The peers of the benchmark that tests/peers/ pins, and the newest Python 3 that has wheels for each. The first is for
# every Python that Decant is tested with.
readonly PEERS=(grpcio mlserver kserve pytriton)
declare -rA PEER_NEWEST_PYTHON=([grpcio]=14 [mlserver]=12 [kserve]=13 [pytriton]=12)
declare -rA PEER_PACKAGE=([grpcio]=tritonclient [mlserver]=mlserver [kserve]=kserve [pytriton]=pytriton)

# What a base image must have, as the one that deploy/Dockerfile names has it. The first lays out the folders.
readonly IMAGE_BASE=(base-files libc6 libgcc-s1 libstdc++6 ca-certificates)

readonly ALL_PARTS=(build runtime data etcd s3 pytest prometheus helm images chaos load peers)
readonly DEFAULT_PARTS=(build runtime data etcd)

usage() {
  cat <<'TEXT'
usage: deploy/bootstrap.sh [part...]     set up the named parts (default: build runtime data etcd)
       deploy/bootstrap.sh env           print the variables that say where things are, for eval; changes nothing
       deploy/bootstrap.sh cache         print the cache folder; changes nothing
       deploy/bootstrap.sh verify        compare the cached files with the checksums taken when they were unpacked

parts:
  build       a C compiler, and protoc with its standard .proto files, which etcd-client's build needs (apt)
  runtime     ONNX Runtime's shared library, which every process that scores a model opens
  data        the MovieLens 100K ratings, which the demo and some tests train on
  etcd        etcd and etcdctl, which the coordination tests start for themselves (apt)
  s3          a Python environment with an S3 server, which the tests of the bundle store start for themselves
  pytest      a Python environment with ONNX Runtime and Triton's client, which the tests use as independent peers
  prometheus  Prometheus and promtool, which the tests of alerts, dashboards and metrics start for themselves (apt)
  helm        a Python environment with Helm as a library and the schemas of Kubernetes, which the chart's tests use
  images      buildah and runc, and a base image without a shell made of Debian's packages: the tests build Decant's
              images and run them (apt)
  chaos       ip and iptables, with which a test gives each process of a cluster a network of its own (apt)
  load        h2load, which sends requests as fast as they are answered (apt)
  peers       Python environments with other model servers, which the benchmark compares the scorer with; a server that
              this machine cannot have is named and left out

environment:
  DECANT_CACHE   where downloads are kept (default: ${XDG_CACHE_HOME:-~/.cache}/decant)
  PYTHON         the Python 3 to use (default: python3; `s3`, `pytest`, `helm` and `peers` need 3.11 to 3.14)
TEXT
}

say() { printf 'set-up: %s\n' "$*"; }

# Every failure answers three questions: what went wrong, why it matters, what to do.
die() {
  printf '\nset-up failed: %s\n  why it matters: %s\n  what to do:     %s\n' "$1" "$2" "$3" >&2
  if [[ -n ${4:-} && -s ${4:-} ]]; then
    printf '  last output:\n' >&2
    tail -n 8 "$4" | cut -c 1-200 | sed 's/^/    | /' >&2
  fi
  exit 1
}

cache_folder() {
  local folder=${DECANT_CACHE:-}
  if [[ -z $folder ]]; then
    [[ -n ${XDG_CACHE_HOME:-}${HOME:-} ]] || die 'neither DECANT_CACHE, XDG_CACHE_HOME nor HOME is set' \
      'downloads are kept outside the checkout' 'set DECANT_CACHE to a folder you can write to'
    folder=${XDG_CACHE_HOME:-$HOME/.cache}/decant
  fi
  [[ $folder == /* ]] || folder=$PWD/$folder
  printf '%s\n' "$folder"
}

# ---- Downloads ------------------------------------------------------------------------------------------------------

# Fetches one wheel and checks it; its path is left in $wheel. The tags are explicit, so any Python 3 fetches the same
# file. No pip cache: after a bad download the next try must really download again.
fetch_wheel() {
  local name=$1 version=$2 sha256=$3 why=$4 part=$5
  local log=$stage/pip.log actual
  find_pip
  if ! "$pip_python" -m pip download --quiet --disable-pip-version-check --no-cache-dir --retries 2 \
    --no-deps --only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 \
    --platform "manylinux_2_28_$machine" --dest "$stage/wheel" "$name==$version" >"$log" 2>&1; then
    die "could not download the wheel $name $version from the Python package index" "$why" \
      "see that pip reaches its index (\`$pip_python -m pip config list\`), then: deploy/bootstrap.sh $part" \
      "$log"
  fi
  wheel=$(compgen -G "$stage/wheel/*.whl")
  actual=$(sha256sum <"$wheel")
  actual=${actual%% *}
  if [[ $actual != "$sha256" ]]; then
    die "the wheel $name $version has the wrong checksum: expected sha256 $sha256, got $actual" \
      "$why, and this is not the file that was reviewed; it was thrown away" \
      "try again; if it stays so, your index or proxy serves another file: ask who runs it before changing the pin"
  fi
}

# unpack WHEEL FOLDER MEMBER... : each member's last path component names the file it becomes.
unpack() {
  "$pip_python" - "$@" <<'PY'
import pathlib, shutil, sys, zipfile

wheel, folder, *members = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for member in members:
        target = pathlib.Path(folder) / pathlib.PurePosixPath(member).name
        with archive.open(member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
PY
}

# Moves a finished folder to its place in one step, so that nobody ever sees half of it.
publish() {
  local from=$1 to=$2
  (cd "$from" && sha256sum -- * >"$stage/sums" && mv "$stage/sums" SHA256SUMS)
  chmod 755 "$from"
  mkdir -p "$(dirname "$to")"
  rm -rf "$to"
  mv -T "$from" "$to"
}

find_pip() {
  local candidate
  for candidate in "${PYTHON:-python3}" /usr/bin/python3; do
    if "$candidate" -m pip --version >/dev/null 2>&1; then
      pip_python=$candidate
      return
    fi
  done
  install_packages 'pip downloads the pinned wheels' python3 python3-pip
  pip_python=/usr/bin/python3
}

# ---- Debian packages ------------------------------------------------------------------------------------------------

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# require_apt WHY PACKAGE...
require_apt() {
  local why=$1
  shift
  command -v apt-get >/dev/null || die "these packages are missing, and this machine has no apt: $*" "$why" \
    "install the same programs with this machine's own package manager and run this again"
  ((EUID == 0)) || command -v sudo >/dev/null ||
    die "these packages are missing, and you are neither root nor have sudo: $*" "$why" \
      "have root run this, then try again: apt-get update && apt-get install --no-install-recommends $*"
}

# install_packages WHY PACKAGE...
install_packages() {
  local why=$1 log=$stage/apt.log
  require_apt "$@"
  shift
  say "installing with apt: $*"
  # The lists on the machine may be missing or name versions that are gone: only then are they worth refreshing.
  # The lock's descriptor is closed, or a daemon started by a package would hold our lock for as long as it lives.
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq)
  local packages=(install --yes --no-install-recommends "$@")
  if ! as_root "${install[@]}" "${packages[@]}" >"$log" 2>&1 {lock}>&-; then
    say 'refreshing the package lists'
    as_root "${install[@]}" update >>"$log" 2>&1 {lock}>&- || true # the install that follows has the better message
    as_root "${install[@]}" "${packages[@]}" >>"$log" 2>&1 {lock}>&- ||
      die "apt could not install: $*" "$why" \
        "see that apt reaches its archive (\`apt-get update\` tells) and read its message; then run this again" "$log"
  fi
}

# install_without_service WHY SERVICE PACKAGE...
# Tests start their own servers on ports of their own. The package would start one more as a system service, on the
# default port and for good, so that is refused while it installs. A policy that the machine already has is kept.
install_without_service() {
  local why=$1 service=$2
  shift 2
  require_apt "$why" "$@"
  if [[ ! -e $service_policy ]]; then
    our_policy=1
    # Says whose it is, for the one who finds it after a power cut.
    printf '%s\n' '#!/bin/sh' "# Decant (deploy/bootstrap.sh) is installing $service; delete this if it is not" \
      'exit 101' | as_root tee "$service_policy" >/dev/null
    as_root chmod 755 "$service_policy"
  fi
  install_packages "$why" "$@"
  if [[ -d /run/systemd/system ]]; then
    as_root systemctl disable --quiet "$service.service" ||
      say "could not disable $service.service: it will start at the next boot"
  fi
}

# ---- build ----------------------------------------------------------------------------------------------------------
# Programs are looked for, not packages: a protoc that came by other means is as good as Debian's.

build_ready() { c_compiler_ready && protoc_ready; }

c_compiler_ready() { command -v cc >/dev/null; }

# protoc looks for the standard .proto files in ../include beside itself; Debian ships them in another package.
protoc_ready() {
  local protoc
  protoc=$(command -v "${PROTOC:-protoc}") && [[ -f ${protoc%/*}/../include/google/protobuf/descriptor.proto ]]
}

build_setup() {
  local missing=()
  c_compiler_ready || missing+=(gcc libc6-dev)
  protoc_ready || missing+=(protobuf-compiler libprotobuf-dev)
  install_packages 'Decant does not build without them (linking; the build of etcd-client)' "${missing[@]}"
}

# ---- runtime --------------------------------------------------------------------------------------------------------

# The size stands in for the checksum here: hashing 35 MB each time would make `make` feel slow. `verify` hashes.
runtime_ready() {
  [[ $(stat --format=%s "$runtime/libonnxruntime.so" 2>/dev/null) == "${ORT_SIZE[$machine]}" ]]
}

runtime_setup() {
  say "downloading ONNX Runtime $ORT_VERSION (a wheel of some 27 MB, of which the shared library is kept)"
  fetch_wheel onnxruntime "$ORT_VERSION" "${ORT_SHA256[$machine]}" \
    'every process that scores a model opens ONNX Runtime' runtime
  mkdir "$stage/runtime"
  unpack "$wheel" "$stage/runtime" "onnxruntime/capi/libonnxruntime.so.$ORT_VERSION" \
    onnxruntime/LICENSE onnxruntime/ThirdPartyNotices.txt
  mv "$stage/runtime/libonnxruntime.so.$ORT_VERSION" "$stage/runtime/libonnxruntime.so"
  publish "$stage/runtime" "$runtime"
}

# ---- data -----------------------------------------------------------------------------------------------------------

data_ready() {
  local sizes
  sizes=$(stat --format=%s "${ML_100K_FILES[@]/#/$datasets/ml-100k/}" 2>/dev/null) || return 1
  [[ ${sizes//$'\n'/ } == "${ML_100K_SIZES[*]}" ]]
}

data_setup() {
  say "downloading MovieLens 100K (a wheel of some 2 MB, recbole $RECBOLE_VERSION, which carries it)"
  say 'MovieLens 100K is for research: its licence forbids redistributing it and, unless asked, commercial use'
  fetch_wheel recbole "$RECBOLE_VERSION" "$RECBOLE_SHA256" 'the demo and some tests train on MovieLens 100K' data
  mkdir "$stage/ml-100k"
  unpack "$wheel" "$stage/ml-100k" "${ML_100K_FILES[@]/#/recbole/dataset_example/ml-100k/}"
  cat >"$stage/ml-100k/NOTICE.txt" <<'TEXT'
MovieLens 100K, collected by the GroupLens Research Project at the University of Minnesota.

It is free for research. Its licence forbids redistributing the data without separate permission, and using it for
any commercial or revenue-bearing purpose without first asking a faculty member of the GroupLens Research Project.
Do not commit these files, publish them or put them in an image. Publications that use them cite:

  F. Maxwell Harper and Joseph A. Konstan. 2015. The MovieLens Datasets: History and Context. ACM Transactions on
  Interactive Intelligent Systems (TiiS) 5, 4, Article 19. https://doi.org/10.1145/2827872
TEXT
  publish "$stage/ml-100k" "$datasets/ml-100k"
}

# ---- etcd -----------------------------------------------------------------------------------------------------------

etcd_ready() { command -v etcd >/dev/null && command -v etcdctl >/dev/null; }

etcd_setup() { install_without_service 'the coordination tests run against a real etcd' etcd etcd-server etcd-client; }

# ---- Python environments --------------------------------------------------------------------------------------------

# The stamp is written last, so a half-made environment is never taken for a whole one. The second look catches an
# environment whose Python was upgraded under it: its packages then lie in a folder that nobody reads.
# venv_ready FOLDER PACKAGE
venv_ready() {
  [[ -e $1/.complete ]] || return 1
  local version
  version=$("$1/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
  [[ -d $1/lib/python$version/site-packages/$2 ]]
}

# venv_setup FOLDER REQUIREMENTS WHY PART [NEWEST_PYTHON]
venv_setup() {
  local folder=$1 requirements=$2 why=$3 part=$4 newest=${5:-14} log=$stage/venv.log
  if ! find_venv_python "$newest"; then
    install_packages 'the tests need a Python environment' python3 python3-venv
    find_venv_python "$newest" ||
      die "there is no Python 3.11 to 3.$newest here that can make a virtual environment" "$why" \
        "install one and name it: PYTHON=/path/to/python3 deploy/bootstrap.sh $part"
  fi
  # Not staged and moved, as a virtual environment knows its own path; the stamp does that work.
  rm -rf "$folder"
  "$venv_python" -m venv "$folder" >"$log" 2>&1 ||
    die "$venv_python could not make a virtual environment" "$why" \
      "see its message, then: deploy/bootstrap.sh $part" "$log"
  if ! "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir --retries 2 \
    --no-deps --only-binary=:all: --require-hashes --requirement "$requirements" >"$log" 2>&1; then
    rm -rf "$folder"
    die "pip could not install the pinned packages of ${requirements#"$root/"}" "$why" \
      "see that pip reaches its index and read its message; then: deploy/bootstrap.sh $part" "$log"
  fi
  touch "$folder/.complete"
}

# find_venv_python NEWEST: the first Python from 3.11 to 3.NEWEST, left in $venv_python
find_venv_python() {
  local candidate newest=$1
  for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14 /usr/bin/python3; do
    if "$candidate" -c "import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest))" \
      >/dev/null 2>&1; then
      venv_python=$candidate
      return 0
    fi
  done
  return 1
}

# ---- s3 -------------------------------------------------------------------------------------------------------------

s3_ready() { venv_ready "$s3_venv" moto; }

s3_setup() {
  say 'making the Python environment of the S3 server (wheels of some 35 MB)'
  venv_setup "$s3_venv" "$s3_requirements" 'the tests of the bundle store run against an S3 server' s3
}

# ---- pytest ---------------------------------------------------------------------------------------------------------

pytest_ready() { venv_ready "$venv" onnxruntime; }

pytest_setup() {
  say 'making the Python environment of the tests (wheels of some 60 MB)'
  venv_setup "$venv" "$requirements" 'the tests open our models in plain ONNX Runtime, from Python' pytest
}

# ---- prometheus -----------------------------------------------------------------------------------------------------

prometheus_ready() { command -v prometheus >/dev/null && command -v promtool >/dev/null; }

prometheus_setup() {
  install_without_service 'the tests check alerts and dashboards with promtool, and have Prometheus scrape real processes' \
    prometheus prometheus
}

# ---- helm -----------------------------------------------------------------------------------------------------------

helm_ready() { venv_ready "$(helm_venv)" helm_python; }

helm_venv() {
  local digest
  digest=$(sha256sum <"$root/helm/tests/requirements.txt")
  printf '%s\n' "$cache/helm-${digest:0:12}"
}

helm_setup() {
  say 'making the Python environment of the chart'"'"'s tests (wheels of some 100 MB)'
  venv_setup "$(helm_venv)" "$root/helm/tests/requirements.txt" 'the tests render the Helm chart' helm
}

# ---- images ---------------------------------------------------------------------------------------------------------

images_ready() {
  command -v buildah >/dev/null && command -v runc >/dev/null && [[ -f $image_base/base.tar ]]
}

# No registry is asked: the base is made of Debian's packages of this very release, so its glibc is that of the programs
# that the tests build.
images_setup() {
  local why='the tests build the images of deploy/Dockerfile and run them' log=$stage/images.log packages=() package
  command -v buildah >/dev/null || packages+=(buildah)
  command -v runc >/dev/null || packages+=(runc)
  if ((${#packages[@]} > 0)); then install_packages "$why" "${packages[@]}"; fi
  as_root unshare --mount --pid --ipc --uts --net --fork --mount-proc true >"$log" 2>&1 ||
    die 'this machine runs no containers: it does not let root have namespaces and mounts of its own' "$why" \
      'give it the capability CAP_SYS_ADMIN (a container: --privileged), or test on a machine or a virtual one' "$log"
  say "making a base image of ${IMAGE_BASE[*]}"
  mkdir "$stage/packages" "$stage/root" "$stage/image-base"
  if ! download_packages "$log"; then
    as_root apt-get -o DPkg::Lock::Timeout=300 -qq update >>"$log" 2>&1 || true # the download has the better message
    download_packages "$log" || die "apt could not download: ${IMAGE_BASE[*]}" "$why" \
      "see that apt reaches its archive (\`apt-get update\` tells); then: deploy/bootstrap.sh images" "$log"
  fi
  for package in "${IMAGE_BASE[@]}"; do
    dpkg-deb --extract "$stage/packages/$package"_*.deb "$stage/root"
  done
  # Debian gathers them when the package is configured.
  find "$stage/root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$stage/root/etc/ssl/certs/ca-certificates.crt"
  tar --create --file "$stage/image-base/base.tar" --directory "$stage/root" --owner=0 --group=0 --numeric-owner .
  publish "$stage/image-base" "$image_base"
}

download_packages() {
  (cd "$stage/packages" && apt-get -o APT::Sandbox::User="$(id --user --name)" -qq download "${IMAGE_BASE[@]}") >>"$1" 2>&1
}

# ---- chaos ----------------------------------------------------------------------------------------------------------

# Whoever is not root may not have their folder in the path.
chaos_ready() {
  local PATH=$PATH:/usr/sbin:/sbin
  command -v ip >/dev/null && command -v iptables >/dev/null
}

chaos_setup() {
  install_packages 'a test gives each process of a cluster a network of its own, and cuts it' iproute2 iptables
}

# ---- load -----------------------------------------------------------------------------------------------------------

load_ready() { command -v h2load >/dev/null; }

load_setup() { install_packages 'benchmarks send the same requests to every server with h2load' nghttp2-client; }

# ---- peers ----------------------------------------------------------------------------------------------------------

peers_ready() {
  local peer
  for peer in "${PEERS[@]}"; do
    peer_ready "$peer" || peer_impossible "$peer" || return 1
  done
}

peer_ready() { venv_ready "$(peer_venv "$1")" "${PEER_PACKAGE[$1]}"; }

peer_requirements() { printf '%s\n' "$root/tests/peers/$1.txt"; }

peer_venv() {
  local digest
  digest=$(sha256sum <"$(peer_requirements "$1")")
  printf '%s\n' "$cache/peer-$1-${digest:0:12}"
}

# Says why this machine cannot have a peer; fails if nothing is in the way.
peer_obstacle() {
  local peer=$1 newest=${PEER_NEWEST_PYTHON[$1]} glibc
  if [[ $peer == kserve && $machine != x86_64 ]]; then
    printf 'a package that it needs has no wheel for %s\n' "$machine"
    return 0
  fi
  glibc=$(getconf GNU_LIBC_VERSION) # "glibc 2.36"
  if [[ $peer == pytriton ]] && ((${glibc##*.} < 35)); then
    printf 'its wheels are for glibc 2.35 or newer, and this is %s\n' "$glibc"
    return 0
  fi
  # An absent Python is no obstacle to the first peer: apt brings one, and then the others can be told.
  if [[ $peer != "${PEERS[0]}" ]] && ! find_venv_python "$newest"; then
    printf 'it needs Python 3.11 to 3.%s, and there is none here\n' "$newest"
    return 0
  fi
  return 1
}

# Whether this machine cannot have a peer; it is said once.
peer_impossible() {
  local peer=$1 why
  why=$(peer_obstacle "$peer") || return 1
  [[ -n ${told[$peer]:-} ]] || say "this machine cannot have the peer $peer: $why"
  told[$peer]=1
}

# A peer that fails does not keep the others away.
peers_setup() {
  local peer failed=()
  for peer in "${PEERS[@]}"; do
    if peer_ready "$peer" || peer_impossible "$peer"; then continue; fi
    say "making the Python environment of the peer $peer (some 200 to 500 MB on disk)"
    (
      venv_setup "$(peer_venv "$peer")" "$(peer_requirements "$peer")" \
        'the benchmark compares the scorer with other model servers' peers "${PEER_NEWEST_PYTHON[$peer]}"
    ) || failed+=("$peer")
  done
  ((${#failed[@]} == 0)) || die "these peers could not be set up: ${failed[*]}" \
    'the benchmark would leave them out; the others are in place' 'see above, then: deploy/bootstrap.sh peers'
}

# ---- The commands ---------------------------------------------------------------------------------------------------

print_env() {
  printf 'export ORT_DYLIB_PATH=%q\n' "$runtime/libonnxruntime.so"
  printf 'export DECANT_DATASETS=%q\n' "$datasets"
  if [[ -e $s3_venv/.complete ]]; then printf 'export DECANT_S3_SERVER=%q\n' "$s3_venv/bin/moto_server"; fi
  if [[ -e $venv/.complete ]]; then printf 'export DECANT_PYTHON=%q\n' "$venv/bin/python"; fi
  # An image that is being built from part of the checkout has no chart.
  if [[ -e $root/helm/tests/requirements.txt && -e $(helm_venv)/.complete ]]; then
    printf 'export DECANT_HELM_PYTHON=%q\n' "$(helm_venv)/bin/python"
  fi
  if [[ -e $image_base/base.tar ]]; then printf 'export DECANT_IMAGE_BASE=%q\n' "$image_base/base.tar"; fi
  local peer python
  for peer in "${PEERS[@]}"; do
    python=$(peer_venv "$peer")/bin/python
    if [[ ! -e ${python%/bin/python}/.complete ]]; then continue; fi
    printf 'export DECANT_PEER_%s=%q\n' "${peer^^}" "$python"
    # PyTriton's wheel carries Triton, which is a peer of its own.
    if [[ $peer == pytriton ]]; then printf 'export DECANT_PEER_TRITON=%q\n' "$python"; fi
  done
}

verify() {
  local folder bad=0
  for folder in "$runtime" "$datasets/ml-100k" "$image_base"; do
    if [[ ! -e $folder/SHA256SUMS ]]; then
      say "not set up: $folder"
    elif (cd "$folder" && sha256sum --check --quiet SHA256SUMS); then
      say "intact: $folder"
    else
      say "DAMAGED: $folder (delete it and run deploy/bootstrap.sh)"
      bad=1
    fi
  done
  return "$bad"
}

set_up() {
  local part missing=()
  for part in "$@"; do
    "${part}_ready" || missing+=("$part")
  done
  if ((${#missing[@]} > 0)); then
    take_lock
    for part in "${missing[@]}"; do
      # Another run may have brought it while this one waited for the lock.
      if ! "${part}_ready"; then
        fresh_stage
        "${part}_setup"
        hash -r
        "${part}_ready" || die "the part '$part' was set up and still does not work" 'what follows would fail' \
          "this is a mistake in deploy/bootstrap.sh, or $cache was changed meanwhile: run it again with bash -x"
      fi
      say "$part: done"
    done
  fi
  say "in place: $*  (cache: $cache; variables: eval \"\$(deploy/bootstrap.sh env)\")"
}

# One set-up at a time for each cache. The lock goes with the process, however that ends.
take_lock() {
  if ! mkdir -p "$cache" 2>/dev/null || [[ ! -w $cache ]]; then
    die "cannot write to $cache" 'downloads are kept there' 'set DECANT_CACHE to a folder you can write to'
  fi
  exec {lock}>"$cache/.lock"
  if ! flock --nonblock "$lock"; then
    say 'another set-up is running: waiting for it'
    flock "$lock"
  fi
  # Whoever holds the lock is alone, so these are left over from runs that were killed.
  rm -rf "$cache"/.stage.*
}

fresh_stage() {
  rm -rf "$stage"
  stage=$(mktemp -d "$cache/.stage.XXXXXX")
}

clean_up() {
  if [[ -n $stage ]]; then rm -rf "$stage"; fi
  if ((our_policy)); then as_root rm -f "$service_policy"; fi
}

main() {
  case ${1:-} in
    -h | --help | help)
      usage
      return
      ;;
  esac
  local part
  if (($# != 1)) || [[ $1 != env && $1 != cache && $1 != verify ]]; then
    for part in "$@"; do
      if [[ " ${ALL_PARTS[*]} " != *" $part "* ]]; then
        usage >&2
        die "there is no part '$part'" 'nothing was done' "name parts among: ${ALL_PARTS[*]}"
      fi
    done
  fi
  machine=$(uname -m)
  [[ $OSTYPE == linux-gnu* && -n ${ORT_SHA256[$machine]:-} ]] || die "this is $machine with $OSTYPE" \
    'the pinned ONNX Runtime is built for Linux with glibc on x86-64 and arm64' \
    'use such a machine, a virtual one or a container'

  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  cache=$(cache_folder)
  runtime=$cache/onnxruntime-$ORT_VERSION
  datasets=$cache/datasets
  requirements=$root/tests/python/requirements.txt
  s3_requirements=$root/deploy/s3-requirements.txt
  # Named by what is in it: another checkout with other pins gets another environment.
  local digest
  digest=$(sha256sum <"$requirements")
  venv=$cache/python-${digest:0:12}
  digest=$(sha256sum <"$s3_requirements")
  s3_venv=$cache/s3-${digest:0:12}

  local libc
  libc=$(getconf GNU_LIBC_VERSION) # "glibc 2.36"
  image_base=$cache/image-base-${libc/ /-}

  local -A told=() # the peers that it was said about that this machine cannot have them
  stage='' our_policy=0 service_policy=/usr/sbin/policy-rc.d
  trap clean_up EXIT

  case ${1:-} in
    env) print_env ;;
    cache) printf '%s\n' "$cache" ;;
    verify) verify ;;
    '') set_up "${DEFAULT_PARTS[@]}" ;;
    *) set_up "$@" ;;
  esac
}

main "$@"
