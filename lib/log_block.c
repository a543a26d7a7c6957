/* SPDX-License-Identifier: MIT */
#include <assert.h>
#include <errno.h>
#include <string.h>

/* Inlined: nothing is linked, and hashing a short head costs no call. */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <weir/log.h>
#include <weir/wire.h>

/* The first bytes of a head: ext 8, 45 bytes, type 119, 'B'. */
static const uint8_t magic[4] = {WEIR_TAG_EXT8, WEIR_LOG_HEAD_BYTES - 3, WEIR_LOG_EXT_TYPE, 'B'};

#define PAD_KIND 'P'
#define PAD_MIN_BYTES 3u

/* Where the fields of a head lie. */
enum {
    AT_SIZE = 4,
    AT_ID = 8,
    AT_FIRST = 16,
    AT_COUNT = 24,
    AT_PENDING = 28,
    AT_SUM = 32,
    AT_HEAD_SUM = 40
};

struct head {
    uint64_t id;
    uint64_t first;
    uint64_t sum;
    size_t size;
    uint32_t count;
    uint32_t pending;
};

/* --- making blocks ---------------------------------------------------------------------------- */

int weir_log_block_begin(struct weir_log_block *block, struct weir_buf *buf, uint64_t id,
                         uint64_t first)
{
    uint8_t *head;
    assert(id != 0 && first != 0);
    size_t offset = weir_buf_size(buf);
    int rc = weir_buf_reserve(buf, WEIR_LOG_HEAD_BYTES, &head);
    if (rc != 0)
        return rc;
    /* Not to be read before it is finished, and no head until then. */
    memset(head, 0, WEIR_LOG_HEAD_BYTES);
    weir_buf_commit(buf, WEIR_LOG_HEAD_BYTES);
    memset(block, 0, sizeof *block);
    block->buf = buf;
    block->head = head;
    block->offset_bytes = offset;
    block->id = id;
    block->first = first;
    return 0;
}

int weir_log_block_append(struct weir_log_block *block, const struct weir_slice *messages,
                          uint32_t count)
{
    size_t size = messages->view.size;
    if (count == 0 || size < count)
        return -EINVAL;
    if (size > WEIR_LOG_BLOCK_MAX_BYTES - block->size_bytes)
        return -EOVERFLOW;
    int rc = weir_buf_append_slice(block->buf, messages);
    if (rc != 0)
        return rc;
    block->size_bytes += size;
    block->count += count; /* at most one for each byte */
    return 0;
}

/* The checksum of @size bytes at @offset of a buffer, however they lie. */
static uint64_t sum_of(const struct weir_buf *buf, size_t offset, size_t size)
{
    struct iovec iov[32];
    unsigned count = weir_buf_iovecs_part(buf, offset, size, iov, NULL, 32);
    if (count == 1)
        return XXH3_64bits(iov[0].iov_base, size);
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    while (size != 0) {
        assert(count != 0);
        for (unsigned i = 0; i < count; i++) {
            XXH3_64bits_update(&state, iov[i].iov_base, iov[i].iov_len);
            offset += iov[i].iov_len;
            size -= iov[i].iov_len;
        }
        count = weir_buf_iovecs_part(buf, offset, size, iov, NULL, 32);
    }
    return XXH3_64bits_digest(&state);
}

int weir_log_block_finish(struct weir_log_block *block, uint64_t pending, size_t pad_bytes)
{
    uint8_t *head = block->head;
    assert(block->count != 0);
    int rc = weir_log_pad(block->buf, pad_bytes);
    if (rc != 0)
        return rc;
    memcpy(head, magic, sizeof magic);
    weir_wire_store32(head + AT_SIZE, (uint32_t)block->size_bytes);
    weir_wire_store64(head + AT_ID, block->id);
    weir_wire_store64(head + AT_FIRST, block->first);
    weir_wire_store32(head + AT_COUNT, block->count);
    weir_wire_store32(head + AT_PENDING, pending < UINT32_MAX ? (uint32_t)pending : UINT32_MAX);
    size_t messages = block->offset_bytes + WEIR_LOG_HEAD_BYTES;
    weir_wire_store64(head + AT_SUM, sum_of(block->buf, messages, block->size_bytes));
    weir_wire_store64(head + AT_HEAD_SUM, XXH3_64bits(head, AT_HEAD_SUM));
    return 0;
}

size_t weir_log_pad_bytes(uint64_t offset, size_t align_bytes)
{
    assert(align_bytes == 1 || (align_bytes >= 8 && align_bytes <= WEIR_LOG_ALIGN_MAX_BYTES &&
                                (align_bytes & (align_bytes - 1)) == 0));
    size_t over = (size_t)(offset & (align_bytes - 1));
    size_t pad = over == 0 ? 0 : align_bytes - over;
    return pad == 0 || pad >= PAD_MIN_BYTES ? pad : pad + align_bytes;
}

/* Write the head of so much padding, its kind included. Returns the head's size. */
static size_t pad_head(uint8_t *at, size_t pad)
{
    size_t size;
    if (pad == PAD_MIN_BYTES) {
        at[0] = WEIR_TAG_FIXEXT1;
        size = 2;
    } else if (pad - 3 <= UINT8_MAX) {
        at[0] = WEIR_TAG_EXT8;
        at[1] = (uint8_t)(pad - 3);
        size = 3;
    } else if (pad - 4 <= UINT16_MAX) {
        at[0] = WEIR_TAG_EXT16;
        weir_wire_store16(at + 1, (uint16_t)(pad - 4));
        size = 4;
    } else {
        at[0] = WEIR_TAG_EXT32;
        weir_wire_store32(at + 1, (uint32_t)(pad - 6));
        size = 6;
    }
    at[size - 1] = WEIR_LOG_EXT_TYPE;
    at[size] = PAD_KIND;
    return size + 1;
}

int weir_log_pad(struct weir_buf *buf, size_t pad_bytes)
{
    uint8_t *at;
    if (pad_bytes == 0)
        return 0;
    assert(pad_bytes >= PAD_MIN_BYTES && pad_bytes <= 2 * WEIR_LOG_ALIGN_MAX_BYTES);
    int rc = weir_buf_reserve(buf, pad_bytes, &at);
    if (rc != 0)
        return rc;
    size_t head = pad_head(at, pad_bytes);
    memset(at + head, 0, pad_bytes - head);
    weir_buf_commit(buf, pad_bytes);
    return 0;
}

/* --- finding blocks --------------------------------------------------------------------------- */

/* Read a head that its checksum vouches for. */
static bool load_head(struct weir_view at, struct head *ret)
{
    const uint8_t *in = at.data;
    if (at.size < WEIR_LOG_HEAD_BYTES || memcmp(in, magic, sizeof magic) != 0 ||
        weir_wire_load64(in + AT_HEAD_SUM) != XXH3_64bits(in, AT_HEAD_SUM))
        return false;
    ret->size = weir_wire_load32(in + AT_SIZE);
    ret->id = weir_wire_load64(in + AT_ID);
    ret->first = weir_wire_load64(in + AT_FIRST);
    ret->count = weir_wire_load32(in + AT_COUNT);
    ret->pending = weir_wire_load32(in + AT_PENDING);
    ret->sum = weir_wire_load64(in + AT_SUM);
    return ret->size <= WEIR_LOG_BLOCK_MAX_BYTES && ret->count != 0 && ret->count <= ret->size &&
           ret->id != 0 && ret->first != 0 && ret->first <= UINT64_MAX - ret->count;
}

/* Size of the whole padding at the start of @at; 0: there is none. */
static size_t load_pad(struct weir_view at)
{
    uint8_t head[8];
    uint64_t size;
    if (at.size < PAD_MIN_BYTES)
        return 0;
    switch (at.data[0]) {
    case WEIR_TAG_FIXEXT1:
        size = 3;
        break;
    case WEIR_TAG_EXT8:
        size = (uint64_t)at.data[1] + 3;
        break;
    case WEIR_TAG_EXT16:
        size = (uint64_t)weir_wire_load16(at.data + 1) + 4;
        break;
    case WEIR_TAG_EXT32:
        size = at.size < 6 ? 0 : (uint64_t)weir_wire_load32(at.data + 1) + 6;
        break;
    default:
        return 0;
    }
    if (size < PAD_MIN_BYTES || size > at.size || size > 2 * WEIR_LOG_ALIGN_MAX_BYTES)
        return 0;
    /* What does not have the form that we write is damaged, and no other form is believed. */
    size_t head_size = pad_head(head, (size_t)size);
    if (head_size > size || memcmp(at.data, head, head_size) != 0)
        return 0;
    for (size_t i = head_size; i < size; i++)
        if (at.data[i] != 0)
            return 0;
    return (size_t)size;
}

static struct weir_view rest(const struct weir_log_scan *scan, size_t offset)
{
    return weir_view_of(offset == 0 ? scan->input.data : scan->input.data + offset,
                        scan->input.size - offset);
}

/* Whether the head is one of this log, and not behind what was found. */
static bool belongs(const struct weir_log_scan *scan, const struct head *head)
{
    return (scan->id == 0 || head->id == scan->id) && head->first >= scan->next;
}

static bool is_whole(struct weir_view at, const struct head *head)
{
    return at.size - WEIR_LOG_HEAD_BYTES >= head->size &&
           XXH3_64bits(at.data + WEIR_LOG_HEAD_BYTES, head->size) == head->sum;
}

/* Where the next whole block begins, from @offset on; the input's size if there is none. */
static size_t search(const struct weir_log_scan *scan, size_t offset)
{
    struct head head;
    while (offset < scan->input.size) {
        struct weir_view at = rest(scan, offset);
        const uint8_t *found = memmem(at.data, at.size, magic, sizeof magic);
        if (found == NULL)
            break;
        offset = (size_t)(found - scan->input.data);
        at = rest(scan, offset);
        if (!load_head(at, &head) || !belongs(scan, &head)) {
            offset++;
            continue;
        }
        if (is_whole(at, &head))
            return offset;
        /* The head vouches for its size, so its messages are not searched: the work is linear. */
        if (head.size >= at.size - WEIR_LOG_HEAD_BYTES)
            break;
        offset += WEIR_LOG_HEAD_BYTES + head.size;
    }
    return scan->input.size;
}

void weir_log_scan_init(struct weir_log_scan *scan, struct weir_view input)
{
    memset(scan, 0, sizeof *scan);
    scan->input = input;
    scan->gap.reason = "";
    scan->fault.reason = "";
}

void weir_log_scan_seek(struct weir_log_scan *scan, size_t offset, uint64_t next)
{
    assert(offset <= scan->input.size);
    scan->offset = scan->end = offset;
    scan->next = next;
    scan->fault.error = 0;
    scan->fault.offset = 0;
    scan->fault.reason = "";
}

static int set_gap(struct weir_log_scan *scan, size_t size, uint64_t found_first,
                   const char *reason)
{
    scan->gap.offset = scan->offset;
    scan->gap.size_bytes = size;
    scan->gap.first = scan->next;
    scan->gap.count = scan->next != 0 ? found_first - scan->next : 0;
    scan->gap.reason = reason;
    scan->gaps++;
    scan->offset += size;
    scan->next = found_first; /* so that the same numbers are not missed twice */
    return -EBADMSG;
}

static int take(struct weir_log_scan *scan, const struct head *head, struct weir_log_found *ret)
{
    struct weir_view at = rest(scan, scan->offset);
    ret->offset = scan->offset;
    ret->first = head->first;
    ret->count = head->count;
    ret->pending = head->pending;
    ret->messages = weir_view_of(at.data + WEIR_LOG_HEAD_BYTES, head->size);
    uint64_t before = head->first - 1;
    if (before > head->pending && before - head->pending > scan->durable)
        scan->durable = before - head->pending;
    scan->id = head->id;
    scan->next = head->first + head->count;
    scan->offset += WEIR_LOG_HEAD_BYTES + head->size;
    scan->end = scan->offset;
    scan->blocks++;
    return 0;
}

/* What lies at the offset is no whole block: find the next one, or else this is the end. */
static int recover(struct weir_log_scan *scan, size_t from, const char *reason)
{
    struct head head;
    size_t offset = search(scan, from);
    if (offset == scan->input.size) {
        scan->fault.error = -EAGAIN;
        scan->fault.offset = scan->offset;
        scan->fault.reason = reason;
        return -EAGAIN;
    }
    bool loaded = load_head(rest(scan, offset), &head);
    assert(loaded);
    (void)loaded;
    return set_gap(scan, offset - scan->offset, head.first, reason);
}

int weir_log_scan_next(struct weir_log_scan *scan, struct weir_log_found *ret)
{
    struct head head;
    struct weir_view at = rest(scan, scan->offset);
    for (size_t pad; (pad = load_pad(at)) != 0; at = rest(scan, scan->offset))
        scan->end = scan->offset += pad;
    if (at.size == 0)
        return -EAGAIN;
    if (!load_head(at, &head))
        return recover(scan, scan->offset + 1, "no head of a block, nor padding");
    if (!belongs(scan, &head))
        return recover(scan, scan->offset + 1,
                       scan->id != 0 && head.id != scan->id ? "a block of another log"
                                                            : "a block whose number is behind");
    if (head.size > at.size - WEIR_LOG_HEAD_BYTES)
        return recover(scan, scan->input.size, "the block is cut off");
    if (!scan->heads_only && !is_whole(at, &head))
        return recover(scan, scan->offset + WEIR_LOG_HEAD_BYTES + head.size,
                       "the messages of the block are not those of its checksum");
    if (scan->next != 0 && head.first != scan->next)
        return set_gap(scan, 0, head.first, "messages are missing");
    return take(scan, &head, ret);
}

bool weir_log_may_begin(struct weir_view input)
{
    size_t size = input.size < sizeof magic ? input.size : sizeof magic;
    if (size == 0 || memcmp(input.data, magic, size) == 0)
        return true;
    /* Zeros all the way: the first one, and each like the one before it. */
    return input.data[0] == 0 && memcmp(input.data, input.data + 1, input.size - 1) == 0;
}

void weir_log_messages_init(struct weir_log_messages *messages, const struct weir_log_found *found)
{
    weir_unpack_init(&messages->unpacker, found->messages, NULL);
    messages->number = found->first - 1;
    messages->left = found->count;
}

int weir_log_messages_next(struct weir_log_messages *messages, struct weir_view *ret)
{
    if (messages->left == 0)
        return weir_unpack_done(&messages->unpacker) ? -EAGAIN : -EBADMSG;
    if (weir_unpack_raw(&messages->unpacker, ret) != 0)
        return -EBADMSG;
    messages->left--;
    messages->number++;
    return 0;
}

/* --- finding messages by number --------------------------------------------------------------- */

/* NULL if there is none. */
static const struct weir_log_entry *entry_at(const struct weir_log_index *index, size_t i)
{
    return weir_batch_get(&index->entries, i);
}

void weir_log_index_init(struct weir_log_index *index, struct weir_pool *pool, uint64_t every_bytes)
{
    int rc = weir_batch_init(&index->entries, pool, sizeof(struct weir_log_entry),
                             _Alignof(struct weir_log_entry), NULL);
    assert(rc == 0);
    (void)rc;
    index->every_bytes = every_bytes;
}

void weir_log_index_fini(struct weir_log_index *index)
{
    weir_batch_fini(&index->entries);
}

int weir_log_index_add(struct weir_log_index *index, const struct weir_log_entry *entry)
{
    size_t count = weir_batch_count(&index->entries);
    const struct weir_log_entry *last = count == 0 ? NULL : entry_at(index, count - 1);
    if (last != NULL &&
        (entry->first <= last->first ||
         (entry->segment == last->segment &&
          (entry->offset < last->offset || entry->offset - last->offset < index->every_bytes))))
        return 0;
    return weir_batch_append(&index->entries, entry);
}

int weir_log_index_find(const struct weir_log_index *index, uint64_t number,
                        struct weir_log_entry *ret)
{
    size_t low = 0;                                  /* entries before it are not behind @number, */
    size_t high = weir_batch_count(&index->entries); /* those from here on are */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct weir_log_entry *entry = entry_at(index, middle);
        if (entry != NULL && entry->first <= number)
            low = middle + 1;
        else
            high = middle;
    }
    const struct weir_log_entry *found = low == 0 ? NULL : entry_at(index, low - 1);
    if (found == NULL)
        return -ENOENT;
    *ret = *found;
    return 0;
}
