#!/bin/sh
# Starts the task runner. Only what is needed to compile it is looked at here; it looks at
# everything else itself, and says what to install.
set -eu
cd "$(dirname "$0")/.."

need() { # program, what for, what to install
    if ! command -v "$1" >/dev/null 2>&1; then
        echo "missing: $1, which $2; install $3" >&2
        exit 1
    fi
}

# rustup puts cargo where a new login finds it, but this shell may be older.
if ! command -v cargo >/dev/null 2>&1 && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
fi
need cargo "builds the core and the bindings" \
    "the Debian/Ubuntu package \`rustup\` (elsewhere: https://rustup.rs)"
need cc "compiles C and links" "the Debian/Ubuntu package \`gcc\` (elsewhere: xcode-select --install)"

version=$(cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
major=${version% *}
minor=${version#* }
if [ -z "$version" ] || [ "$major" -lt 1 ] || { [ "$major" -eq 1 ] && [ "$minor" -lt 88 ]; }; then
    echo "too old: cargo ${major:-?}.${minor:-?}; 1.88 or newer is needed: rustup update" \
        "(Debian/Ubuntu package \`rustup\`, elsewhere: https://rustup.rs)" >&2
    exit 1
fi

binary=${CARGO_TARGET_DIR:-target}/debug/xtask
if [ ! -x "$binary" ]; then
    echo "Building the task runner (once, about half a minute) ..." >&2
fi
# In CI the lock file is what it is; on a developer's machine it may follow an edited manifest.
cargo build --quiet ${CI:+--locked} --package xtask
exec "$binary" "$@"
