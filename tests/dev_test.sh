#!/usr/bin/env bash
# ./dev: every verb tells its usage, and what dev itself reads is refused where it knows no such option; neither builds,
# installs or starts anything. Images are built with what is there, and what fails where they are made ends that. etcd is
# compared with where Go can be installed and where it cannot.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for program in ninja cmake ctest apt-get sudo setsid docker podman buildah debootstrap go; do
  printf '#!/bin/sh\necho "%s $*" >>"%s/ran"\nexit 1\n' "$program" "$work" >"$work/$program"
  chmod +x "$work/$program"
done
export PATH=$work:$PATH

fail() {
  printf 'dev_test: %s\n' "$*" >&2
  exit 1
}

verbs=$(sed -n 's/^verb_\([a-z0-9]*\)() {.*/\1/p' dev | sort)
told=$(./dev help | sed -n 's/^  \([a-z][a-z0-9]*\)\( .*\)*$/\1/p' | sort)
[ "$verbs" = "$told" ] || fail "the list of verbs is not the one of the functions: $told"

for verb in $verbs; do
  for option in --help -h; do
    ./dev "$verb" "$option" >"$work/said" 2>&1 || fail "$verb $option ends with $?: $(cat "$work/said")"
    { grep -q "^usage: ./dev $verb" "$work/said" && grep -q "^  $verb\b" "$work/said"; } ||
      fail "$verb $option does not tell the usage: $(cat "$work/said")"
  done
done

for verb in up down test fuzz lint image chart build install; do
  ! ./dev "$verb" --no-such-option >"$work/said" 2>&1 || fail "$verb takes --no-such-option"
  grep -q "not '--no-such-option'" "$work/said" || fail "$verb does not say what it refuses: $(cat "$work/said")"
done

[ ! -e "$work/ran" ] || fail "something was run: $(cat "$work/ran")"

# No tool works here: what a base image is made with fails, and nothing may be built on what was left.
! TMPDIR=$work ./dev image >"$work/said" 2>&1 || fail "image succeeds without a base image"
! grep -q 'Building image' "$work/said" || fail "image goes on without a base image: $(cat "$work/said")"

# image_with BASE STATUS TOOL...: `./dev image ctl` where no other tool is there; docker's daemon and a registry answer with
# this status, and only BASE is there. Leaves what was run in $work/ran.
image_with() {
  local base=$1 status=$2 tools=$work/tools program
  shift 2
  rm -rf "$tools" "$work/ran"
  mkdir "$tools"
  for program in bash date dirname env git sed; do ! type -P $program >/dev/null || ln -s "$(type -P $program)" "$tools"; done
  for program in "$@"; do
    cat >"$tools/$program" <<STUB
#!/bin/sh
echo "$program \$*" >>"$work/ran"
case \$1 in info | pull) exit $status ;; inspect) [ "\$2" = "$base" ] ;; esac
STUB
    chmod +x "$tools/$program"
  done
  printf '#!/bin/sh\necho installed\n' >"$tools/dpkg-query"
  chmod +x "$tools/dpkg-query"
  BUILDAH_ISOLATION='' PATH=$tools ./dev image ctl >"$work/said" 2>&1 || fail "./dev image with $* ends with $?: $(cat "$work/said")"
}
built_by() { grep -q -- "^$1 --network host --target ctl --build-arg BASE=$2 .* -t raftkv-ctl:[0-9.]* \.$" "$work/ran" || fail "not '$1 ... $2': $(cat "$work/ran")"; }

own=localhost/raftkv-base:trixie
image_with $own 0 docker podman buildah
built_by "docker build" $own
image_with $own 1 docker podman buildah  # without docker's daemon
built_by "podman build --format oci --layers" $own
image_with $own 0 buildah
built_by "buildah build --format oci --layers --isolation chroot --ulimit nofile=[0-9a-z:]* --ulimit nproc=[0-9:]*" $own
image_with none 0 podman
built_by "podman build --format oci --layers" debian:trixie-slim

# bench_where_installs PACKAGE...: `./dev bench` where there is neither Go nor etcd, and apt-get has only these packages.
bench_where_installs() {
  local tools=$work/tools program
  rm -rf "$tools" "$work/ran"
  mkdir "$tools"
  for program in bash cat dirname env head sed; do ln -s "$(type -P $program)" "$tools"; done
  cat >"$tools/apt-get" <<STUB
#!/bin/sh
[ "\$1" = install ] || exit 0
for package; do :; done
echo "apt-get install \$package" >>"$work/ran"
case " $* " in *" \$package "*) exit 0 ;; esac
exit 100
STUB
  printf '#!/bin/sh\ncase $* in *etcd-server) ;; *) echo installed ;; esac\n' >"$tools/dpkg-query"
  printf '#!/bin/sh\necho 0\n' >"$tools/id"
  printf '#!/bin/sh\nexec cat >/dev/null\n' >"$tools/tee"
  printf '#!/bin/sh\necho "compare" >>"%s/ran"\n' "$work" >"$tools/python3"
  chmod +x "$tools"/{apt-get,dpkg-query,id,tee,python3}
  PATH=$tools ./dev bench --no-build >"$work/said" 2>&1
}
did() { [ "$(cat "$work/ran")" = "$(printf '%s\n' "$@")" ] || fail "not '$*': $(cat "$work/ran" "$work/said")"; }

bench_where_installs golang-go || fail "bench ends with $?: $(cat "$work/said")"
did "apt-get install golang-go" compare
bench_where_installs etcd-server || fail "bench without Go ends with $?: $(cat "$work/said")"
did "apt-get install golang-go" "apt-get install etcd-server" compare
! bench_where_installs || fail "bench goes on without anything to compare with"
did "apt-get install golang-go" "apt-get install etcd-server"
echo "dev_test: $(wc -w <<<"$verbs") verbs are in order, images are built and etcd is compared with what is there"
