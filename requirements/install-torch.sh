#!/bin/sh
# Installs the pinned torch with the pip given: the CUDA build where there is an NVIDIA device, else
# the CPU build where one can be had, since the CUDA build is gigabytes.
#
# The CPU build is looked for where pip is configured to look. STOCKLLM_TORCH_INDEX=URL names an
# index that carries it (PyTorch's install page gives the address).
set -eu
pip=$1
version=2.13.0

if "$(dirname "$pip")/python" -c "import sys, importlib.metadata as m; sys.exit(m.version('torch').split('+')[0] != '$version')" 2>/dev/null; then
    exit 0
fi
if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
    exec "$pip" install -q "torch==$version"
fi
if [ "$(uname -s)" = Linux ]; then
    if [ -n "${STOCKLLM_TORCH_INDEX:-}" ]; then
        exec "$pip" install -q --index-url "$STOCKLLM_TORCH_INDEX" "torch==$version"
    fi
    # Fails at once where no configured place carries the CPU build.
    "$pip" install -q "torch==$version+cpu" 2>/dev/null && exit 0
    echo "No CPU build of torch $version is at hand; installing the standard one, which is large." >&2
    echo "Set STOCKLLM_TORCH_INDEX to PyTorch's CPU index to avoid that." >&2
fi
exec "$pip" install -q "torch==$version"
