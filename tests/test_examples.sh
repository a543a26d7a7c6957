#!/bin/bash
# The programs in examples/ do what they say. Prints TAP.
dir=$(mktemp -d) || exit 99
server=
cleanup()
{
    [ -z "$server" ] || kill "$server" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
examples=$WEIR_BUILDDIR/examples
number=0

# expect NAME WANTED GOT
expect()
{
    number=$((number + 1))
    if [ "$2" = "$3" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        printf '%s\n' "wanted: $2" "got:    $3" | sed 's/^/# /'
    fi
}

echo 1..15
got=$("$examples/market_data" 2>&1; echo "status $?")
expect "market_data" "$(printf '%s\n' '118 bytes' 'WEIR at XNYS: 0 for 99.50' 'POOL at XNYS: 100 for 100.50' \
    'RING at XNYS: 200 for 101.50' 'byte 4, price: EPROTO' 'status 0')" "$got"
got=$("$examples/portfolio" 2>&1; echo "status $?")
expect "portfolio" "$(printf '%s\n' 'account 42, open: 2 positions in 104 bytes, worth 943.00' \
    'the last is POOL' 'status 0')" "$got"
got=$("$examples/hello" 2>&1; echo "status $?")
expect "hello" "$(printf '15 bytes\nid 42, name weir\nstatus 0')" "$got"

got=$(echo "a batch keeps the address of each of its items whatever follows behind them" |
    "$examples/batch" 2>&1; echo "status $?")
expect "batch" "$(printf '%s\n' '14 words in 2 batches, room for 24' 'tenth: items' '4 address' \
    '10 whatever' '11 follows' '12 behind' 'status 0')" "$got"

got=$(printf 'plain\n\ncaf\351 "x"\n\303\251' | "$examples/text" 2>&1; echo "status $?")
expect "text" "$(printf '%s\n' '{"valid":5,"borrowed":true,"text":"plain"}' \
    '{"valid":0,"borrowed":true,"text":""}' \
    '{"valid":3,"borrowed":false,"text":"caf'$'\357\277\275'' \"x\""}' \
    '{"valid":2,"borrowed":true,"text":"'$'\303\251''"}' 'status 0')" "$got"

got=$("$examples/arena" 2>&1; echo "status $?")
expect "arena" "$(printf '%s\n' 'move not does out handed was what' \
    '221 bytes used, of the scratch 23%' \
    'more of it: ENOBUFS' 'after a rewind: 61 bytes used' '2 threads took 224000 bytes, 70%' 'status 0')" "$got"

got=$(printf '%s\n' one 'something longer than a block' two '' "$(printf '%90s' '')" |
    "$examples/frames" 2>&1; echo "status $?")
expect "frames" "$(printf '%s\n' '          ...: ENOBUFS' '55 bytes in 1 slice(s)' 'one (in place)' \
    'something longer than a block (gathered)' 'two (gathered)' ' (in place)' 'status 0')" "$got"

got=$("$examples/tree" 2>&1; echo "status $?")
expect "tree" "$(printf '%s\n' '{"id"=>1, "items"=>[[3, 2.250000]]}' '  total 6.75' \
    '{"id"=>2, "items"=>[[3, 2.250000], [4, 2.250000]]}' '  total 15.75' 'status 0')" "$got"

got=$("$examples/pool" 2>&1; echo "status $?")
expect "pool" "$(printf '%s\n' 'buffer' '28 bytes of a buffer of another library are free again' \
    '40 bytes pin 65536, then 128' '1000 blocks; a second pool: ENOBUFS' 'a trim: 2097152 bytes' \
    'a second pool: 0; the first: 1002 allocations, 1 misses, 0 blocks in use' 'status 0')" "$got"

got=$("$examples/threads" 2>&1; echo "status $?")
expect "threads" "$(printf '%s\n' 'dropped elsewhere: 100 in use, 0 releases, 0 of them remote' \
    'taken back: 0 in use, 100 releases, 100 of them remote' \
    '100 blocks; 2097152 bytes went back to the system, as was asked for' \
    'the sum is 100, says a thread that has ended' 'status 0')" "$got"

got=$("$examples/leaks" 2>&1; echo "status $?")
expect "leaks" "$(printf '%s\n' '  3000 bytes, session' '  77 bytes, no tag' '2 blocks are left' \
    'session: 1 with 3000 bytes' 'no tag: 1 with 77 bytes' 'and as MessagePack' 'status 0')" "$got"

"$examples/echo_server" "unix:$dir/sock" >"$dir/out" 2>&1 &
server=$!
for _ in $(seq 500); do
    grep -q listening "$dir/out" && break
    sleep 0.01
done
expect "echo_server listens" "listening on unix:$dir/sock" "$(cat "$dir/out")"

# Whole values of both kinds, copied and linked, come back; then a byte that is none.
got=$(python3 - "$dir/sock" <<'END'
import os, socket, struct, sys
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(30)
sock.connect(sys.argv[1])
data = b"\x93\x01\x02\xa1x" + b"\xc6" + struct.pack(">I", 100000) + os.urandom(100000) + b"\xc0"
sock.sendall(data[:50])
sock.sendall(data[50:])
got = b""
while len(got) < len(data):
    got += sock.recv(65536)
print("the same" if got == data else "something else")
sock.sendall(b"\xc1")
print(len(sock.recv(1)), "bytes more")
END
)
expect "echo_server echoes" "$(printf 'the same\n0 bytes more')" "$got"
for _ in $(seq 500); do
    grep -q closed "$dir/out" && break
    sleep 0.01
done
expect "echo_server says where the fault was" "closed at offset 100011: the reserved byte 0xc1" \
    "$(tail -n 1 "$dir/out")"
kill "$server"
server=
got=$("$examples/echo_server" nowhere 2>&1; echo "status $?")
expect "echo_server knows a wrong address" \
    "$(printf 'usage: echo_server unix:PATH | tcp:HOST:PORT\nstatus 64')" "$got"
