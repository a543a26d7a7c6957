/* SPDX-License-Identifier: MIT */
#include "pieces.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLICES_MAX 300

/* What one read has handed out: numbers, and up to three views. Zeroed before. */
struct result {
    int rc;
    uint64_t number;
    uint64_t other;
    struct weir_view bytes[3];
};

static void note_value(struct result *r, const struct weir_value *v)
{
    r->other = (uint64_t)v->type << 40 | (uint64_t)(uint8_t)v->ext_type << 32 | v->count;
    if (v->type == WEIR_TYPE_STR || v->type == WEIR_TYPE_BIN || v->type == WEIR_TYPE_EXT)
        r->bytes[0] = v->as.bytes;
    else if (v->type == WEIR_TYPE_BOOL)
        r->number = v->as.boolean;
    else if (v->type == WEIR_TYPE_F32)
        memcpy(&r->number, &v->as.f32, sizeof(v->as.f32));
    else if (v->type == WEIR_TYPE_UINT || v->type == WEIR_TYPE_INT || v->type == WEIR_TYPE_F64)
        memcpy(&r->number, &v->as.u64, sizeof(r->number));
}

static int read_integer(struct weir_unpacker *u, unsigned op, struct result *r)
{
    switch (op) {
    case 0:
        return weir_unpack_u8(u, (uint8_t *)&r->number);
    case 1:
        return weir_unpack_u16(u, (uint16_t *)(void *)&r->number);
    case 2:
        return weir_unpack_u32(u, (uint32_t *)(void *)&r->number);
    case 3:
        return weir_unpack_u64(u, &r->number);
    case 4:
        return weir_unpack_i8(u, (int8_t *)&r->number);
    case 5:
        return weir_unpack_i16(u, (int16_t *)(void *)&r->number);
    case 6:
        return weir_unpack_i32(u, (int32_t *)(void *)&r->number);
    default:
        return weir_unpack_i64(u, (int64_t *)&r->number);
    }
}

static int read_scalar(struct weir_unpacker *u, unsigned op, struct result *r)
{
    struct weir_timestamp time = {0, 0};
    enum weir_type type = WEIR_TYPE_NIL;
    int rc;

    switch (op) {
    case 8:
        return weir_unpack_nil(u);
    case 9:
        return weir_unpack_bool(u, (bool *)&r->number);
    case 10:
        return weir_unpack_f32(u, (float *)(void *)&r->number);
    case 11:
        return weir_unpack_f64(u, (double *)(void *)&r->number);
    case 12:
        return weir_unpack_array(u, (uint32_t *)(void *)&r->number);
    case 13:
        return weir_unpack_map(u, (uint32_t *)(void *)&r->number);
    case 14:
        rc = weir_unpack_timestamp(u, &time);
        r->number = (uint64_t)time.seconds;
        r->other = time.nanoseconds;
        return rc;
    case 15:
        rc = weir_unpack_peek(u, &type);
        r->number = (uint64_t)type;
        return rc;
    default:
        return weir_unpack_left_values(u, &r->number);
    }
}

static int read_bytes(struct weir_unpacker *u, unsigned op, struct result *r)
{
    const struct weir_view keys[3] = {
        weir_view_text("a"), weir_view_text("name"), weir_view_text("list")};
    struct weir_value value = {WEIR_TYPE_NIL, 0, 0, {0}};
    int rc;

    switch (op) {
    case 17:
        return weir_unpack_str(u, &r->bytes[0]);
    case 18:
        return weir_unpack_bin(u, &r->bytes[0]);
    case 19:
        return weir_unpack_ext(u, (int8_t *)&r->number, &r->bytes[0]);
    case 20:
        return weir_unpack_raw(u, &r->bytes[0]);
    case 21:
        return weir_unpack_skip(u);
    case 22:
        return weir_unpack_key(u, "name");
    case 23:
        return weir_unpack_find(u, keys[1]);
    case 24:
        return weir_unpack_select(u, keys, 3, r->bytes);
    case 25:
        return weir_unpack_path(u, weir_view_text("/list/1"));
    case 26:
        return weir_unpack_path(u, weir_view_text("/a"));
    default:
        rc = weir_unpack_next(u, &value);
        if (rc == 0)
            note_value(r, &value);
        return rc;
    }
}

static struct result read_one(struct weir_unpacker *u, unsigned op)
{
    struct result r;

    memset(&r, 0, sizeof(r));
    op %= PIECES_OPS;
    r.rc = op < 8    ? read_integer(u, op, &r)
           : op < 17 ? read_scalar(u, op, &r)
                     : read_bytes(u, op, &r);
    return r;
}

static const char *compare(const struct weir_unpacker *flat, const struct weir_unpacker *cut,
                           const struct result *a, const struct result *b)
{
    if (a->rc != b->rc)
        return "what was returned";
    if (a->number != b->number || a->other != b->other)
        return "a number";
    for (unsigned i = 0; i < 3; i++) {
        if (!weir_view_equal(a->bytes[i], b->bytes[i]))
            return "bytes";
    }
    if (weir_unpack_error(flat) != weir_unpack_error(cut))
        return "the error";
    if (weir_unpack_offset(flat) != weir_unpack_offset(cut))
        return "the offset";
    if (weir_unpack_left_bytes(flat) != weir_unpack_left_bytes(cut) ||
        weir_unpack_done(flat) != weir_unpack_done(cut))
        return "what is left";
    return NULL;
}

static const char *compare_cursors(struct weir_unpacker *flat, struct weir_unpacker *cut,
                                   struct weir_view ops, bool gathers)
{
    for (size_t i = 0; i < ops.size; i++) {
        struct weir_unpacker before = *cut;
        struct result wanted = read_one(flat, ops.data[i]);
        struct result got = read_one(cut, ops.data[i]);
        if (got.rc == -EINVAL && !gathers && weir_unpack_error(cut) == -EINVAL) {
            /* Something straddles, which is no other error; a map may have one behind it. */
            return wanted.rc == 0 || ops.data[i] % PIECES_OPS == 24
                       ? NULL
                       : "an error of nothing that straddles";
        }
        const char *differs = compare(flat, cut, &wanted, &got);
        if (differs != NULL)
            return differs;
        /* A copy is a second cursor. */
        struct result again = read_one(&before, ops.data[i]);
        differs = compare(flat, &before, &wanted, &again);
        if (differs != NULL)
            return differs;
    }
    return weir_unpack_end(flat) == weir_unpack_end(cut) ? NULL : "the end";
}

const char *pieces_compare(struct weir_view input, struct weir_view cuts, struct weir_view ops,
                           const struct weir_limits *limits, struct weir_arena *arena)
{
    struct weir_slice slices[SLICES_MAX];
    struct weir_unpack_pieces pieces;
    struct weir_unpacker flat, cut;
    struct weir_view rest = input;
    size_t count = 0;

    while (count < cuts.size && count < SLICES_MAX - 1 && rest.size != 0) {
        size_t size = cuts.data[count] < rest.size ? cuts.data[count] : rest.size;
        uint8_t *copy = malloc(size + 1);
        if (copy == NULL)
            abort();
        /* Its end is the end of the memory. */
        memcpy(copy + 1, rest.data, size);
        slices[count++] = (struct weir_slice){weir_view_of(copy + 1, size), NULL};
        rest = weir_view_of(rest.data + size, rest.size - size);
    }
    slices[count++] = (struct weir_slice){rest, NULL};
    weir_unpack_init(&flat, input, limits);
    weir_unpack_init_slices(&cut, &pieces, slices, count, arena, limits);
    const char *differs = compare_cursors(&flat, &cut, ops, arena != NULL);
    for (size_t i = 0; i + 1 < count; i++)
        free((void *)(uintptr_t)(slices[i].view.data - 1));
    return differs;
}
