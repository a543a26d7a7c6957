#!/bin/bash
# Real programs whose allocator is libweir-malloc.so do what they do without it. Prints TAP.
#
# What is not installed is skipped; with WEIR_TEST_NO_SKIP set that is a failure.
dir=$(mktemp -d) || exit 99
server=
cleanup()
{
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
number=0

if [ -z "$WEIR_MALLOC" ]; then
    echo '1..0 # SKIP no libweir-malloc.so was built: a sanitizer has an allocator of its own, or --disable-shared'
    exit 0
fi

# preloaded SECONDS COMMAND...
preloaded()
{
    local seconds=$1
    shift
    timeout -k 5 "$seconds" env LD_PRELOAD="$WEIR_MALLOC" "$@"
}

# result STATUS NAME: with what was said in $dir/log if it failed.
result()
{
    number=$((number + 1))
    if [ "$1" -eq 0 ]; then
        echo "ok $number - $2"
    else
        echo "not ok $number - $2"
        tail -n 40 "$dir/log" | sed 's/^/# /'
    fi
}

# needs NAME COMMAND...: whether all are here; says so under NAME if not.
needs()
{
    local name=$1 command
    shift
    for command; do
        command -v "$command" >/dev/null 2>&1 && continue
        number=$((number + 1))
        if [ -n "$WEIR_TEST_NO_SKIP" ]; then
            echo "not ok $number - $name: $command is not installed"
        else
            echo "ok $number # SKIP $name: $command is not installed"
        fi
        return 1
    done
}

# Whether the dynamic loader takes it into a program at all.
preloaded 10 grep -q libweir-malloc /proc/self/maps >"$dir/log" 2>&1
result $? 'a program has it loaded'

# --- python3 -----------------------------------------------------------------

# own_tests MODULE [PRELOAD]: python's own, with every object's memory from malloc.
own_tests()
{
    (cd "$dir/python" &&
        LD_PRELOAD=$2 PYTHONMALLOC=malloc timeout -k 5 200 "$python" -m test -q "$1") \
        </dev/null >"$dir/log" 2>&1
}

if needs 'python3' python3; then
    mkdir "$dir/python"
    python=/usr/bin/python3
    [ -x "$python" ] || python=python3
    for module in test_json test_re test_threading; do
        name="python3: its own $module"
        if ! "$python" -c "import test.$module" 2>/dev/null; then
            number=$((number + 1))
            echo "ok $number # SKIP $name is not installed (Debian: libpython3.11-testsuite)"
        elif own_tests "$module" "$WEIR_MALLOC"; then
            result 0 "$name"
        elif cp "$dir/log" "$dir/first" && ! own_tests "$module" ''; then
            number=$((number + 1))
            echo "ok $number # SKIP $name fails here without libweir-malloc.so as well"
        else
            cp "$dir/first" "$dir/log"
            result 1 "$name"
        fi
    done
    timeout 60 "$python" - "$WEIR_MALLOC" >"$dir/log" 2>&1 <<'END'
import ctypes, sys, threading
library = ctypes.CDLL(sys.argv[1])
library.malloc.restype = ctypes.c_void_p
library.malloc_usable_size.restype = ctypes.c_size_t
for name in "malloc", "free", "malloc_usable_size":
    getattr(library, name).argtypes = [ctypes.c_size_t]
blocks = []
def work():
    for size in list(range(1, 3000, 7)) + [100000, 5000000]:
        block = library.malloc(size)
        assert library.malloc_usable_size(block) >= size
        ctypes.memset(block, 1, size)
        blocks.append(block)
threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(set(blocks)) == 8 * (429 + 2), len(set(blocks))
for block in blocks:
    library.free(block)
END
    result $? 'python3: opened by dlopen, beside another malloc'
    # Every object by malloc, in several threads and processes, whether or not those are here.
    PYTHONMALLOC=malloc preloaded 120 "$python" - >"$dir/log" 2>&1 <<'END'
import gc, json, os, random, re, subprocess, sys, threading
assert "libweir-malloc" in open("/proc/self/maps").read()
failed = []
def work(seed):
    rng = random.Random(seed)
    kept = {}
    for turn in range(300):
        value = {f"k{n}": [rng.random(), "x" * rng.randrange(2000), {"n": n}] for n in range(rng.randrange(40))}
        text = json.dumps(value)
        kept[rng.randrange(50)] = json.loads(text)
        if json.loads(text) != value or len(re.findall(r'"k(\d+)"', text)) != len(value):
            failed.append(seed)
        bytearray(rng.randrange(3 << 20))[-1:]
threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
for thread in threads:
    thread.start()
for turn in range(8):
    child = os.fork()
    if child == 0:
        try:
            work(100 + turn)
        finally:
            os._exit(len(failed))
    failed += [turn] * (os.waitpid(child, 0)[1] != 0)
for thread in threads:
    thread.join()
gc.collect()
sys.exit(bool(failed))
END
    result $? 'python3: json, re, threads and forks'
fi

# --- git ---------------------------------------------------------------------

if needs 'git' git; then
    export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
    git init -q --bare "$dir/git" >"$dir/log" 2>&1
    awk 'BEGIN {
        srand(1)
        for (c = 1; c <= 400; c++) {
            message = "commit " c "\n"
            printf "commit refs/heads/main\ncommitter A <a@b> %d +0000\ndata %d\n%s", 1000000000 + c, length(message), message
            for (f = 0; f < 8; f++) {
                text = ""
                for (l = 0; l < 60; l++) text = text "line " int(rand() * 20) " of file " f "\n"
                printf "M 644 inline dir%d/file%d\ndata %d\n%s\n", int(rand() * 20), f, length(text), text
            }
        }
        print "done"
    }' | preloaded 120 git -C "$dir/git" fast-import --quiet --done >>"$dir/log" 2>&1
    result $? 'git fast-import'
    git -C "$dir/git" log --stat main | cksum >"$dir/want"
    preloaded 120 git -C "$dir/git" log --stat main 2>>"$dir/log" | cksum >"$dir/got"
    cmp "$dir/want" "$dir/got" >>"$dir/log" 2>&1
    result $? 'git log says the same'
    preloaded 120 git -C "$dir/git" -c pack.threads=2 -c gc.auto=0 gc --aggressive --quiet --prune=now >>"$dir/log" 2>&1
    result $? 'git gc'
    preloaded 120 git -C "$dir/git" fsck --full --strict >>"$dir/log" 2>&1 &&
        git -C "$dir/git" log --stat main | cksum | cmp - "$dir/want" >>"$dir/log" 2>&1
    result $? 'git fsck, and the log is what it was'
fi

# --- sort --------------------------------------------------------------------

if needs 'sort' sort awk; then
    awk 'BEGIN { srand(2); for (i = 0; i < 800000; i++) printf "%.12f %d %s\n", rand(), i, substr("abcdefghijklmnopqrstuvwxyz", 1, i % 26) }' >"$dir/lines"
    for locale in C C.UTF-8; do
        LC_ALL=$locale timeout 120 sort --parallel=2 -S 24M -T "$dir" "$dir/lines" | cksum >"$dir/want"
        LC_ALL=$locale preloaded 120 sort --parallel=2 -S 24M -T "$dir" "$dir/lines" 2>"$dir/log" | cksum >"$dir/got"
        cmp "$dir/want" "$dir/got" >>"$dir/log" 2>&1
        result $? "sort --parallel=2 of $(($(stat -c %s "$dir/lines") >> 20)) MiB in $locale"
    done
    rm "$dir/lines"
fi

# --- redis -------------------------------------------------------------------

if needs 'redis' redis-server redis-benchmark redis-cli; then
    LD_PRELOAD=$WEIR_MALLOC redis-server --port 0 --unixsocket "$dir/redis.sock" --save '' \
        --appendonly no --dir "$dir" >"$dir/log" 2>&1 &
    server=$!
    for _ in $(seq 500); do
        redis-cli -s "$dir/redis.sock" ping 2>/dev/null | grep -q PONG && break
        sleep 0.02
    done
    grep -q libweir-malloc "/proc/$server/maps" 2>>"$dir/log"
    result $? 'redis-server has it loaded'
    timeout 150 redis-benchmark -s "$dir/redis.sock" -q -n 20000 -c 20 -P 8 -d 300 -r 5000 \
        -t set,get,incr,lpush,lpop,sadd,hset,zadd,mset,lrange_100 >>"$dir/log" 2>&1
    result $? 'redis-benchmark'
    redis-cli -s "$dir/redis.sock" --no-raw set big "$(printf 'x%.0s' $(seq 5000))" >>"$dir/log" 2>&1
    [ "$(redis-cli -s "$dir/redis.sock" strlen big)" = 5000 ] &&
        redis-cli -s "$dir/redis.sock" debug reload >>"$dir/log" 2>&1
    [ "$(redis-cli -s "$dir/redis.sock" bgsave)" = 'Background saving started' ] &&
        for _ in $(seq 300); do
            redis-cli -s "$dir/redis.sock" info persistence | grep -q 'rdb_bgsave_in_progress:0' && break
            sleep 0.05
        done
    redis-cli -s "$dir/redis.sock" info persistence | grep -q 'rdb_last_bgsave_status:ok' &&
        [ -s "$dir/dump.rdb" ]
    result $? 'redis-server saves in a child'
    timeout 20 redis-cli -s "$dir/redis.sock" shutdown nosave >>"$dir/log" 2>&1
    wait "$server"
    result $? 'redis-server ends'
    server=
fi

echo "1..$number"
