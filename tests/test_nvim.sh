#!/bin/bash
# examples/nvim_api against Neovim, a MessagePack-RPC server that others wrote. Prints TAP.
if ! command -v nvim >/dev/null; then
    echo "1..0 # SKIP neovim is not installed"
    exit 0
fi
dir=$(mktemp -d) || exit 99
nvim=
cleanup()
{
    [ -z "$nvim" ] || kill "$nvim" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
export HOME=$dir XDG_CONFIG_HOME=$dir XDG_DATA_HOME=$dir XDG_STATE_HOME=$dir

nvim --headless --clean -n --listen "$dir/nvim" </dev/null >"$dir/nvim.out" 2>&1 &
nvim=$!
for _ in $(seq 500); do
    [ -S "$dir/nvim" ] && break
    sleep 0.02
done
timeout 60 "$WEIR_BUILDDIR/examples/nvim_api" "unix:$dir/nvim" >"$dir/out" 2>&1
status=$?

number=0
# like NAME PATTERN: a whole line of the output
like()
{
    number=$((number + 1))
    if grep -qxE "$2" "$dir/out"; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        sed 's/^/# /' "$dir/out" "$dir/nvim.out"
    fi
}
echo 1..4
like "nvim_get_api_info lists functions" \
    'nvim_get_api_info: channel [0-9]+, [1-9][0-9]{2} functions, [0-9]{5} bytes'
like "nvim_command is carried out" 'nvim_command: done'
like "nvim_eval sees what the command did" 'nvim_eval: hello 42'
echo "exit status $status" >>"$dir/out"
like "it ends with status 0" 'exit status 0'
