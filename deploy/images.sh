#!/usr/bin/env bash
# Builds the images of deploy/Dockerfile: from this checkout, or from programs that are built already.
set -euo pipefail

readonly ALL_IMAGES=(trainer registry scorer standalone cli)

usage() {
  cat <<'TEXT'
usage: deploy/images.sh [option...] [image...]     build the named images (default: trainer registry scorer standalone cli)
       deploy/images.sh --lay-out FOLDER --binaries FOLDER [image...]
                                                   only put the files of the images where deploy/Dockerfile expects them

options:
  --binaries FOLDER   take the programs from here, such as target/release, instead of compiling them in a container; they
                      must be for the architecture and the glibc of the base
  --engine PROGRAM    docker, podman or buildah (default: the first that is installed)
  --compiler IMAGE    what compiles, instead of the one that deploy/Dockerfile names: cargo, and apt for what else it takes
  --base IMAGE        what the programs stand on, instead of the one that deploy/Dockerfile names
  --prefix NAME       what comes before the images' names, such as registry.example.com/decant/ (default: decant-)
  --tag TAG           default: the version in Cargo.toml
  --source URL        where this source is kept, for the label of that name
TEXT
}

# Every failure says what went wrong and what to do.
die() {
  printf 'images: %s\n  what to do: %s\n' "$1" "$2" >&2
  exit 1
}

program_of() { if [[ $1 == cli ]]; then echo decant; else echo "decant-$1"; fi; }

# lay_out FOLDER BINARIES IMAGE...
lay_out() {
  local folder=$1 binaries=$2 image program ORT_DYLIB_PATH environment
  shift 2
  environment=$(deploy/bootstrap.sh env)
  eval "$environment"
  [[ -f $ORT_DYLIB_PATH ]] || die 'ONNX Runtime is not there' 'deploy/bootstrap.sh runtime'
  mkdir -p "$folder"/{licences/onnxruntime,onnxruntime,state/decant/bundles}
  # Each image has `decant` beside its own program.
  for image in cli "$@"; do
    program=$(program_of "$image")
    [[ -x $binaries/$program ]] ||
      die "there is no program $binaries/$program" 'make build, or leave --binaries away'
    if [[ -e $folder/$program ]]; then continue; fi
    # Names of functions are kept, for backtraces; what only a debugger reads is three quarters of the file.
    strip --strip-debug -o "$folder/$program" "$binaries/$program"
    chmod 755 "$folder/$program"
  done
  install --mode=644 "$ORT_DYLIB_PATH" "$folder/onnxruntime/"
  install --mode=644 LICENSE "$folder/licences/"
  install --mode=644 "${ORT_DYLIB_PATH%/*}"/{LICENSE,ThirdPartyNotices.txt} "$folder/licences/onnxruntime/"
}

find_engine() {
  local candidate
  for candidate in docker podman buildah; do
    if command -v "$candidate" >/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die 'neither docker, podman nor buildah is here' 'install one of them, or name yours with --engine'
}

main() {
  local engine='' binaries='' compiler='' base='' prefix=decant- tag='' source='' folder='' images=()
  local version revision context image arguments
  while (($# > 0)); do
    case $1 in
      -h | --help)
        usage
        return
        ;;
      --engine | --binaries | --compiler | --base | --prefix | --tag | --source | --lay-out)
        (($# > 1)) || die "$1 needs a value" 'deploy/images.sh --help'
        case $1 in
          --engine) engine=$2 ;;
          --binaries) binaries=$(realpath -- "$2") ;;
          --compiler) compiler=$2 ;;
          --base) base=$2 ;;
          --prefix) prefix=$2 ;;
          --tag) tag=$2 ;;
          --source) source=$2 ;;
          --lay-out) folder=$(realpath --canonicalize-missing -- "$2") ;;
        esac
        shift
        ;;
      *)
        [[ " ${ALL_IMAGES[*]} " == *" $1 "* ]] || die "there is no image '$1'" "name some of: ${ALL_IMAGES[*]}"
        images+=("$1")
        ;;
    esac
    shift
  done
  ((${#images[@]} > 0)) || images=("${ALL_IMAGES[@]}")

  cd "$(dirname "${BASH_SOURCE[0]}")/.."
  if [[ -n $folder ]]; then
    [[ -n $binaries ]] || die '--lay-out needs --binaries' 'deploy/images.sh --help'
    lay_out "$folder" "$binaries" "${images[@]}"
    return
  fi

  engine=${engine:-$(find_engine)}
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
  # An archive of the source has no history.
  revision=$(git describe --always --abbrev=40 --dirty --exclude='*' 2>/dev/null) || revision=unknown
  arguments=(--build-arg "VERSION=$version" --build-arg "REVISION=$revision")
  if [[ -n $source ]]; then arguments+=(--build-arg "SOURCE=$source"); fi
  if [[ -n $compiler ]]; then arguments+=(--build-arg "RUST=$compiler"); fi
  if [[ -n $base ]]; then arguments+=(--build-arg "BASE=$base"); fi
  context=.
  if [[ -n $binaries ]]; then
    context=$(mktemp --directory)
    # shellcheck disable=SC2064 # the folder as it is called now
    trap "rm -rf '$context'" EXIT
    lay_out "$context" "$binaries" "${images[@]}"
    arguments+=(--build-arg BINARIES=prebuilt)
  else
    # Said again, as buildah does not look for stages in the default of an argument.
    arguments+=(--build-arg BINARIES=build)
    # Of itself it would compile for each image anew.
    if [[ ${engine##*/} == buildah ]]; then arguments+=(--layers); fi
  fi
  for image in "${images[@]}"; do
    "$engine" build --file deploy/Dockerfile --target "$image" --tag "$prefix$image:${tag:-$version}" \
      "${arguments[@]}" "$context"
  done
}

main "$@"
