/* SPDX-License-Identifier: MIT */
/*
 * fuzz_canonical: the canonical form of any bytes is MessagePack, no longer than they were, and its
 * own canonical form; and bytes that have none are no MessagePack, too deep or have equal keys.
 * What weir_check_with() takes for canonical is what is its own canonical form.
 *
 * The first byte chooses the depth, the rest are the values.
 */
#include <errno.h>
#include <stdlib.h>

#include <weir/canonical.h>
#include <weir/check.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static int make_canonical(struct weir_buf *buf, struct weir_view values,
                          const struct weir_limits *limits, struct weir_view *ret, size_t *offset)
{
    struct weir_packer packer;

    weir_pack_begin(&packer, buf, 0);
    weir_pack_raw(&packer, values);
    int rc = weir_pack_end_canonical(&packer, limits, ret);
    if (rc != 0)
        *offset = weir_pack_offset(&packer);
    return rc;
}

/* The number of values in @values; UINT64_MAX if it is not well-formed. */
static uint64_t count_of(struct weir_view values)
{
    struct weir_unpacker u;
    uint64_t count = 0;

    weir_unpack_init(&u, values, NULL);
    while (weir_unpack_error(&u) == 0 && !weir_unpack_done(&u)) {
        weir_unpack_skip(&u);
        count++;
    }
    return weir_unpack_error(&u) == 0 ? count : UINT64_MAX;
}

static bool is_well(struct weir_view values, const struct weir_limits *limits, uint32_t flags)
{
    static uint8_t memory[1 << 22];
    struct weir_check_options options = {.limits = *limits, .flags = flags};
    struct weir_arena arena;

    weir_arena_init_fixed(&arena, memory, sizeof(memory));
    options.arena = &arena;
    int rc = weir_check_with(values, &options, NULL, NULL);
    require(rc != -ENOMEM && rc != -EINVAL);
    return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct weir_limits limits = {0};
    struct weir_view first, second;
    struct weir_pool *pool;
    struct weir_buf buf;
    size_t offset = 0;

    if (size == 0 || size > 8192)
        return 0;
    limits.depth = data[0] % 16u;
    struct weir_view values = weir_view_of(data + 1, size - 1);
    require(weir_pool_default(&pool) == 0);
    require(weir_buf_init(&buf, pool, NULL) == 0);
    int rc = make_canonical(&buf, values, &limits, &first, &offset);
    bool canonical = is_well(values, &limits, WEIR_CHECK_CANONICAL);
    require(canonical == (rc == 0 && weir_view_equal(first, values)));
    if (rc == 0) {
        require(is_well(first, &limits, WEIR_CHECK_CANONICAL));
        require(is_well(values, &limits, WEIR_CHECK_UNIQUE));
        require(first.size <= values.size);
        require(count_of(values) != UINT64_MAX && count_of(first) == count_of(values));
        uint64_t copied = weir_buf_bytes_copied(&buf);
        require(make_canonical(&buf, first, &limits, &second, &offset) == 0);
        require(weir_view_equal(first, second));
        require(weir_buf_bytes_copied(&buf) == copied);
    } else {
        require(rc == -EBADMSG || rc == -ENOBUFS);
        require(offset <= values.size && weir_buf_size(&buf) == 0);
    }
    weir_buf_fini(&buf);
    return 0;
}
