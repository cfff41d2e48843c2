# What the scripts beside this file share; they source it.

me=$(basename "$0")
root=$(cd "$(dirname "$0")/.." && pwd)

say() { echo "$me: $*" >&2; }

# A command whose output is shown only if it fails.
quietly() {
    if ! output=$("$@" 2>&1); then
        printf '%s\n' "$output" >&2
        say "\`$*\` failed"
        exit 1
    fi
}

# Installs packages of Debian and Ubuntu, or says what to install: install_on_debian WHY PACKAGE...
install_on_debian() {
    why=$1
    shift
    if ! command -v apt-get >/dev/null; then
        say "$why; install what Debian calls $* with your package manager."
        exit 1
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            say "$why; as root, run \`apt-get install $*\`."
            exit 1
        fi
        as_root=sudo
    fi
    say "$why; installing $*"
    quietly $as_root apt-get update
    quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# Makes a virtual environment of Python with these packages, where it is not there: virtual_environment FOLDER PACKAGE...
virtual_environment() {
    venv=$1
    shift
    # What is in it is written down last, so that an interrupted installation is made anew.
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/packages" 2>/dev/null)" = "$*" ]; then
        return
    fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        install_on_debian "Python cannot make virtual environments" python3 python3-venv
    fi
    say "installing $* in $venv"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    quietly python3 -m venv "$venv"
    quietly "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    printf '%s\n' "$*" >"$venv/packages"
}
